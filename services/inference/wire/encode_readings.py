"""Answers of the reading methods into messages."""

from __future__ import annotations

import math

import torch

from hearth.v1 import inference_service_pb2 as pb
from services.inference.attribution import Attribution
from services.inference.contrast import Contrast, FeatureContrast
from services.inference.host import ModelHost
from services.inference.inspection import SparseRows
from services.inference.readings import InspectedRun, Logits, PooledBatch
from services.inference.requests import ScoreCall
from services.inference.sampling import entropy
from services.inference.wire.encode import spans, token


def rows(sparse: SparseRows) -> pb.SparseRows:
    """Sparse rows."""
    return pb.SparseRows(starts=sparse.starts, indices=sparse.indices, values=sparse.values)


def logits(host: ModelHost, answer: Logits) -> pb.ComputeLogitsResponse:
    """Next-token logits."""
    logs = torch.log_softmax(answer.row, -1)

    def one(number: int) -> pb.TokenLogit:
        return pb.TokenLogit(
            token=token(host.tokenizer, number), logit=float(answer.row[number]), logprob=float(logs[number])
        )

    best = answer.row.topk(min(answer.top_k, len(answer.row))).indices.tolist() if answer.top_k else []
    return pb.ComputeLogitsResponse(
        position=answer.position,
        top=[one(n) for n in best],
        named=[one(n) for n in answer.named],
        entropy=float(entropy(answer.row[None])[0]),
    )


def scores(call: ScoreCall, answer: list[list[float]]) -> pb.ScoreTextsResponse:
    """How likely texts are."""
    return pb.ScoreTextsResponse(
        scores=[
            pb.ContinuationScore(
                tokens=len(each), logprob=math.fsum(each), token_logprobs=each if call.token_logprobs else ()
            )
            for each in answer
        ]
    )


def run(host: ModelHost, answer: InspectedRun) -> pb.InspectResponse:
    """A run of tokens."""
    return pb.InspectResponse(
        offset=answer.offset,
        tokens=[token(host.tokenizer, i) for i in answer.ids],
        activations=rows(answer.rows),
        spans=spans(answer.spans),
        prompt_tokens=answer.prompt_tokens,
        sinks=answer.sinks,
    )


def pooled(answer: PooledBatch) -> pb.BatchInspectResponse:
    """Pooled activations."""
    return pb.BatchInspectResponse(activations=rows(answer.rows), token_counts=answer.token_counts)


def contrast(answer: Contrast) -> pb.ContrastResponse:
    """What tells two sets apart."""
    return pb.ContrastResponse(
        positive=[_contrast(c) for c in answer.positive],
        negative=[_contrast(c) for c in answer.negative],
        tested_features=answer.tested_features,
    )


def _contrast(feature: FeatureContrast) -> pb.FeatureContrast:
    return pb.FeatureContrast(
        index=feature.index,
        mean_positive=feature.mean_positive,
        mean_negative=feature.mean_negative,
        auroc=feature.auroc,
        effect_size=feature.effect_size,
        p_value=feature.p_value,
        q_value=feature.q_value,
    )


def attribution(host: ModelHost, answer: Attribution) -> pb.AttributeResponse:
    """Which features made a token likely."""
    return pb.AttributeResponse(
        target=token(host.tokenizer, answer.target),
        position=answer.position,
        logit=answer.logit,
        features=[
            pb.FeatureEffect(
                index=f.index,
                effect=f.effect,
                positions=[
                    pb.PositionEffect(position=p.position, activation=p.activation, effect=p.effect)
                    for p in f.positions
                ],
            )
            for f in answer.features
        ],
        error_effect=answer.error_effect,
        bias_effect=answer.bias_effect,
        feature_effect=answer.feature_effect,
    )
