"""A condition that tells text which shows something from matched text that does not: features, a threshold, and how
well that works on texts that it was not fitted to.

The value of a set of features at a text is the largest activation among them over its tokens, in units of each
feature's scale: what a `Comparison` sees at the token where it is largest. Features are added one by one as long as
they raise the AUROC; the threshold is the lowest at which at most MAX_FALSE of the negative texts fire. Fitted on one
half of the texts, measured on the other, told apart by hash.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from services.autosteer.candidates import NEVER
from services.autosteer.drafting import Pair, draft_pairs, pairs_of, template_pairs
from services.autosteer.judges.registry import Encode
from services.autosteer.spec import Prompt, Spec
from services.autosteer.upstream import Entry, FeatureCatalogue, Inference
from services.autosteer.wording import behavior_of, instruction_of, said_in
from services.errors import InvalidField
from services.steering.conditions import Comparison, FeatureKey, Operator

MAX_FALSE = 0.05
"""Share of negative texts at which a condition may hold, on the texts that it is fitted to."""
CONSIDERED = 48
"""Features that the contrast names."""
LEAST_GAIN = 0.005
"""AUROC that another feature must add."""
DRAFTED = 32
"""Pairs that are drafted where there are no examples."""
DRAFTING_SHARE = 0.4
"""Of the time that there is: what the model has not drafted by then comes from templates, as a quick job's pairs do."""
LEAST_TEXTS = 8
"""Of each kind: with fewer, nothing can be fitted and measured."""

Values = Float[NDArray[np.float64], "texts features"]
Shows = Bool[NDArray[np.bool_], " texts"]


@dataclass(frozen=True, slots=True)
class SuggestedCondition:
    """A condition with what it does on held-out texts."""

    condition: Comparison
    labels: tuple[str, ...]
    """Of its features, in order."""
    auroc: float
    """Of the value of its features on held-out texts."""
    false_positive_rate: float
    """Share of held-out negative texts at which it holds."""
    true_positive_rate: float
    """Share of held-out positive texts at which it holds."""
    positives: int
    """Held-out texts of each kind."""
    negatives: int


async def suggest_condition(
    spec: Spec,
    inference: Inference,
    catalogue: FeatureCatalogue,
    encode: Encode,
    seconds: float | None = None,
) -> SuggestedCondition:
    """A condition for the spec's behaviour, or for what its positive texts show; at most `max_features` features.

    `seconds` is the time that there is, None without a limit.

    Raises InvalidField where too few texts are given, DependencyUnavailable.
    """
    served = await inference.served(spec.model, spec.sae)
    pairs = await _pairs(spec, inference, encode, served.has_chat_template, seconds)
    positive = list(dict.fromkeys(pair.positive for pair in pairs))
    negative = list(dict.fromkeys(pair.negative for pair in pairs))
    if min(len(positive), len(negative)) < LEAST_TEXTS:
        raise InvalidField(
            "spec.positive",
            f"{len(positive)} and {len(negative)} different texts; allowed: at least {LEAST_TEXTS}",
        )
    fit_positive, fit_negative = ([t for t in each if not _is_held_out(t)] for each in (positive, negative))
    found = await inference.contrast(fit_positive or positive, fit_negative or negative, CONSIDERED)
    telling = [each.index for each in found if each.auroc > 0.5]
    entries = [e for e in await catalogue.entries(served.sae, telling) if e.kind not in NEVER and e.scale > 0]
    if not entries:
        raise InvalidField("spec.positive", "no feature of the catalogue tells them from the negative texts")
    texts = [*positive, *negative]
    values = _values(await inference.activations(texts, [e.index for e in entries]), entries)
    shows = np.array([True] * len(positive) + [False] * len(negative))
    held_out = np.array([_is_held_out(text) for text in texts])
    return fitted(values, shows, held_out, entries, served.sae, spec.max_features)


def fitted(
    values: Values, shows: Shows, held_out: Shows, entries: Sequence[Entry], sae: str, most: int
) -> SuggestedCondition:
    """Fits on the texts that are not held out, measures on those that are."""
    fit, measure = ~held_out, held_out
    chosen = _chosen(values[fit], shows[fit], most)
    best = values[:, chosen].max(1)
    threshold = _threshold(best[fit], shows[fit])
    holds = best[measure] > threshold
    seen = shows[measure]
    return SuggestedCondition(
        Comparison(
            tuple(FeatureKey(sae, entries[n].index) for n in chosen),
            Operator.GREATER,
            round(threshold, 4),
        ),
        tuple(entries[n].label for n in chosen),
        auroc(best[measure], seen),
        float(holds[~seen].mean()) if (~seen).any() else 0.0,
        float(holds[seen].mean()) if seen.any() else 0.0,
        int(seen.sum()),
        int((~seen).sum()),
    )


def auroc(values: Float[NDArray[np.float64], " texts"], shows: Shows) -> float:
    """The probability that a positive text has the larger value, ties counted half; 0.5 where a kind is missing."""
    positive, negative = values[shows], values[~shows]
    if not len(positive) or not len(negative):
        return 0.5
    larger = (positive[:, None] > negative[None]).mean() + 0.5 * (positive[:, None] == negative[None]).mean()
    return float(larger)


def _chosen(values: Values, shows: Shows, most: int) -> list[int]:
    """Features one by one, each the one that raises the AUROC of the largest of all most."""
    chosen: list[int] = []
    reached = 0.0
    while len(chosen) < most:
        left = [n for n in range(values.shape[1]) if n not in chosen]
        if not left:
            break
        scores = [auroc(values[:, [*chosen, n]].max(1), shows) for n in left]
        best = int(np.argmax(scores))
        if chosen and scores[best] < reached + LEAST_GAIN:
            break
        reached = scores[best]
        chosen.append(left[best])
    return chosen


def _threshold(values: Float[NDArray[np.float64], " texts"], shows: Shows) -> float:
    """The lowest at which at most MAX_FALSE of the negative texts lie above, in the middle of the gap above it."""
    negative = np.sort(values[~shows])[::-1]
    allowed = int(MAX_FALSE * len(negative))
    floor = float(negative[allowed]) if allowed < len(negative) else 0.0
    above = values[values > floor]
    return (floor + float(above.min())) / 2 if len(above) else floor


def _values(rows: Sequence[dict[int, float]], entries: Sequence[Entry]) -> Values:
    return np.array([[row.get(e.index, 0.0) / e.scale for e in entries] for row in rows], np.float64)


async def _pairs(
    spec: Spec, inference: Inference, encode: Encode, chats: bool, seconds: float | None
) -> list[Pair]:
    if spec.positive:
        return await pairs_of(spec, inference, has_chat_template=chats)
    behavior = behavior_of(spec)
    try:
        async with asyncio.timeout(None if seconds is None else DRAFTING_SHARE * seconds):
            return await draft_pairs(
                behavior,
                instruction_of(spec),
                DRAFTED,
                inference,
                encode,
                seed=spec.seed,
                has_chat_template=chats,
                temperature=spec.temperature,
            )
    except TimeoutError:
        return template_pairs(behavior, DRAFTED, has_chat_template=chats)


def _is_held_out(prompt: Prompt) -> bool:
    return hashlib.sha256(said_in(prompt).encode("utf-8", "surrogatepass")).digest()[0] % 2 == 1
