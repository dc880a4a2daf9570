"""The edits that auto-steer is compared with: the top hit of a search, and Ember's rule.

Ember never published how it made edits of a sentence; most likely there was no search in it, but this rule: chats that
show the behaviour and chats that do not are drafted, `Contrast` names the features that tell them apart, `Rerank`
orders those by the behaviour's words, and each of the first is nudged by the share of the positive answers' tokens on
which it is active, times 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from services.autosteer.clients.messages import prompt_message
from services.autosteer.clients.retrying import tried
from services.autosteer.drafting import draft_pairs
from services.autosteer.judges.registry import Encode
from services.autosteer.spec import Prompt, Spec
from services.autosteer.together import together
from services.autosteer.upstream import Entry, FeatureCatalogue, Inference, Served
from services.autosteer.wording import instruction_of
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation

TOP_HIT_NUDGE = 0.5
RULE_FACTOR = 1.1
PAIRS = 24
"""Chats of each kind that are drafted: as many as in auto-steer's `default` tier, with the same seeds."""
CONTRASTED = 30
"""Features that the contrast names, of which the words choose."""


async def top_hit(spec: Spec, served: Served, catalogue: FeatureCatalogue) -> list[tuple[Edit, str]]:
    """The first hit of a search for the behaviour, nudged, with its label."""
    hits = await catalogue.search(served.sae, spec.behavior, 1)
    return [(_nudge(served, hit.index, TOP_HIT_NUDGE), hit.label) for hit in hits]


async def rule(
    spec: Spec,
    served: Served,
    inference: Inference,
    catalogue: FeatureCatalogue,
    encode: Encode,
    channel: grpc.aio.Channel,
) -> list[tuple[Edit, str]]:
    """Ember's rule: as many edits as auto-steer may make, with their labels."""
    pairs = await draft_pairs(
        spec.behavior,
        instruction_of(spec),
        PAIRS,
        inference,
        encode,
        seed=spec.seed,
        has_chat_template=served.has_chat_template,
        temperature=spec.temperature,
    )
    positive = [pair.positive for pair in pairs]
    found = await inference.contrast(positive, [pair.negative for pair in pairs], CONTRASTED)
    telling = [each.index for each in found if each.effect_size > 0][:CONTRASTED]
    likeness = await catalogue.rerank(served.sae, spec.behavior, telling)
    first = in_order(telling, likeness)[: spec.max_features]
    shares = await active_shares(served, positive, first, channel)
    known = {entry.index: entry for entry in await catalogue.entries(served.sae, first)}
    return [
        (_nudge(served, index, RULE_FACTOR * shares[index]), _label(known.get(index)))
        for index in first
        if shares[index] > 0
    ]


def in_order(features: Sequence[int], likeness: Mapping[int, float]) -> list[int]:
    """By the likeness of their labels to the words; those without a label last, as the contrast has them."""
    return sorted(features, key=lambda index: -likeness.get(index, -1.0))


async def active_shares(
    served: Served, chats: Sequence[Prompt], features: Sequence[int], channel: grpc.aio.Channel
) -> dict[int, float]:
    """Of the tokens of the assistant's words (all tokens of texts that are no chats), on how many each is active."""
    stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
    counts = dict.fromkeys(features, 0)
    tokens = 0

    async def inspected(chat: Prompt) -> list[pb.InspectResponse]:
        request = pb.InspectRequest(
            model=served.model, sae=served.sae, prompt=prompt_message(chat), feature_indices=features
        )

        async def read() -> list[pb.InspectResponse]:
            return [run async for run in stub.Inspect(request)]

        return await tried("inference", read)

    for runs in await together(map(inspected, chats)) if features else []:
        first, last = answered(runs)
        for run in runs:
            for row, (start, end) in enumerate(
                zip(run.activations.starts, run.activations.starts[1:], strict=False)
            ):
                if first <= run.offset + row < last:
                    tokens += 1
                    for index in run.activations.indices[start:end]:
                        counts[index] += 1
    return {index: count / max(1, tokens) for index, count in counts.items()}


def answered(runs: Sequence[pb.InspectResponse]) -> tuple[int, int]:
    """Where the words of a chat's last message lie; all of a text that is no chat."""
    spans = runs[0].spans
    return (spans[-1].content_start, spans[-1].content_end) if spans else (0, runs[0].prompt_tokens)


def _nudge(served: Served, index: int, strength: float) -> Edit:
    return Edit(FeatureKey(served.sae, index), Operation.NUDGE, round(strength, 3))


def _label(entry: Entry | None) -> str:
    return "" if entry is None else entry.label
