"""What the model does while it reads: activations, contrasts, attributions, logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hearth_client.answers import (
    Attribution,
    ChatMessage,
    Contrast,
    FeatureActivation,
    FeatureAttribution,
    Inspection,
    Prompt,
    Token,
)
from hearth_client.features import Feature, FeatureGroup
from hearth_client.operations.features import known
from hearth_client.operations.methods import ATTRIBUTE, COMPUTE_LOGITS, CONTRAST, INSPECT, TOKENIZE
from hearth_client.operations.models import Session, as_variant
from hearth_client.operations.steps import Operation
from hearth_client.v1 import inference_service_pb2 as pb
from hearth_client.v1 import prompt_pb2
from hearth_client.variant import Variant
from hearth_client.wire.generation import prompt
from hearth_client.wire.steering import steering


def inspect(
    session: Session,
    messages: Prompt,
    model: str | Variant,
    features: Iterable[Feature],
    top_k: int,
) -> Operation[Inspection]:
    """Which features are active at each token, in the stream as the variant edits it."""
    target = yield from session.target(model)
    request = pb.InspectRequest(
        model=target.model,
        sae=target.sae,
        prompt=prompt(messages),
        steering=steering(as_variant(model), events=False),
        feature_indices=[each.index_in_sae for each in features],
        top_k=top_k,
    )
    runs = yield from session.patience.collect(INSPECT, request)
    by_index = yield from known(session, target, {i for run in runs for i in run.activations.indices})
    return Inspection(
        tuple(
            Token(_text(token), token.id, _active(run.activations, row, by_index))
            for run in runs
            for row, token in enumerate(run.tokens)
        )
    )


def contrast(
    session: Session,
    dataset_1: Sequence[Sequence[ChatMessage]],
    dataset_2: Sequence[Sequence[ChatMessage]],
    model: str | Variant,
    top_k: int,
) -> Operation[Contrast]:
    """What tells the second set from the first: by what the assistant says where it speaks in all, else by all."""
    target = yield from session.target(model)
    answered = all(any(said["role"] == "assistant" for said in chat) for chat in (*dataset_1, *dataset_2))
    request = pb.ContrastRequest(
        model=target.model,
        sae=target.sae,
        positive=map(prompt, dataset_2),
        negative=map(prompt, dataset_1),
        pooling=pb.POOLING_MEAN,
        role=prompt_pb2.ROLE_ASSISTANT if answered else prompt_pb2.ROLE_UNSPECIFIED,
        top_k=top_k,
    )
    answer = yield from session.patience.ask(CONTRAST, request)
    both = (*answer.negative, *answer.positive)
    by_index = yield from known(session, target, (each.index for each in both))
    first, second = (
        FeatureGroup(by_index[each.index] for each in side) for side in (answer.negative, answer.positive)
    )
    return Contrast(first, second, {by_index[each.index]: each for each in both})


def attribute(
    session: Session, messages: Prompt, index: int, model: str | Variant, top_k: int
) -> Operation[Attribution]:
    """Which features made the token at `index` likely; one past the end is the token that would come next."""
    target = yield from session.target(model)
    tokenized = yield from session.patience.ask(
        TOKENIZE, pb.TokenizeRequest(model=target.model, prompt=prompt(messages))
    )
    ids = [token.id for token in tokenized.tokens]
    place = index + len(ids) if index < 0 else index
    if not 1 <= place <= len(ids):
        raise IndexError(f"index is {index}, but there are {len(ids)} tokens; allowed: 1 to {len(ids)}")
    request = pb.AttributeRequest(
        model=target.model,
        sae=target.sae,
        prompt=prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=ids[:place])),
        target_token=ids[place] if place < len(ids) else None,
        top_k=top_k,
    )
    answer = yield from session.patience.ask(ATTRIBUTE, request)
    by_index = yield from known(session, target, (each.index for each in answer.features))
    return Attribution(
        _text(answer.target),
        answer.logit,
        tuple(_effect(each, by_index[each.index]) for each in answer.features),
    )


def logits(
    session: Session, messages: Prompt, model: str | Variant, top_k: int
) -> Operation[dict[str, float]]:
    """The largest next-token logits, by token; of two tokens that read alike, the larger."""
    variant = as_variant(model)
    request = pb.ComputeLogitsRequest(
        model=variant.base_model,
        prompt=prompt(messages),
        steering=steering(variant, events=False),
        top_k=top_k,
    )
    answer = yield from session.patience.ask(COMPUTE_LOGITS, request)
    found: dict[str, float] = {}
    for each in answer.top:
        found.setdefault(_text(each.token), each.logit)
    return found


def _active(rows: pb.SparseRows, row: int, by_index: Mapping[int, Feature]) -> tuple[FeatureActivation, ...]:
    start, end = rows.starts[row : row + 2]
    fired = zip(rows.indices[start:end], rows.values[start:end], strict=True)
    found = (FeatureActivation(by_index[index], value / by_index[index].scale) for index, value in fired)
    return tuple(sorted(found, key=lambda each: -each.activation_strength))


def _effect(effect: pb.FeatureEffect, feature: Feature) -> FeatureAttribution:
    return FeatureAttribution(
        feature,
        effect.effect,
        tuple((each.position, each.activation / feature.scale, each.effect) for each in effect.positions),
    )


def _text(token: prompt_pb2.Token) -> str:
    return token.piece.decode("utf-8", "replace")
