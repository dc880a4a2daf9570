"""Whether an export is of this SAE, by running its own examples through the model and the SAE.

Names of files prove little, and an export says nothing of the weights: but where it says that a feature fires, it must
fire here, as strongly. Exports may state activations in other units (of a normalised stream): a factor that is the same
for all features is found, and what is imported is brought to the SAE's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles

import torch

from services.inference.examination import ExaminingRoom
from services.inference.sae.base import Sae
from services.inference.sae.calibration import residuals_of
from services.inference.sae.doctor import Check, Status
from services.saelab.importing.neuronpedia_features import ExportedExample
from services.saelab.importing.token_names import TokenNames

FEWEST = 8
"""Examples without which nothing is concluded."""
FIRING = (0.8, 0.5)
"""Least share of the examples that fire at their peak: for no warning, and for no refusal. A feature of another SAE
fires there about as often as anywhere, on well under a tenth of all tokens."""
SPELLED = 0.5
"""Least share of the examples whose tokens are all in the model's vocabulary."""
SAME_UNITS = 1.1
"""Up to this factor, either way, activations count as being in the same units: precision and cut contexts differ."""
CONSISTENT = 1.5
"""Largest ratio of the upper and lower quartile of the factors of different features that is still one factor."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What the examples said."""

    check: Check
    factor: float = 1.0
    """Exported activations are to be multiplied by this."""


def replay(
    examples: Mapping[int, ExportedExample], sae: Sae, room: ExaminingRoom, names: TokenNames
) -> Replay:
    """Compares exported activations at the peaks of examples, by feature, with those measured here."""
    spelled = {
        index: (example, ids)
        for index, example in examples.items()
        if None not in (ids := [names.id_of(token) for token in example.tokens])
    }
    if len(examples) >= FEWEST and len(spelled) < SPELLED * len(examples):
        message = (
            f"Only {len(spelled)} of {len(examples)} exported examples are made of this model's tokens: the export is "
            "of another model."
        )
        return Replay(_check(Status.FAIL, f"{len(spelled)}/{len(examples)}", message))
    ratios, silent = [], 0
    for index, (example, ids) in spelled.items():
        measured = _measured(index, example, [token for token in ids if token is not None], sae, room)
        if measured > 0.0:
            ratios.append(measured / example.maximum)
        else:
            silent += 1
    return _concluded(ratios, silent)


def _measured(index: int, example: ExportedExample, ids: list[int], sae: Sae, room: ExaminingRoom) -> float:
    """The feature's activation at the example's peak, raw."""
    bos = room.tokenizer.plain.bos_token_id
    # Exports leave the first token out where it is the beginning of the sequence.
    begins = bool(sae.card.get("prepend_bos", room.calibration.starts_with_bos)) and bos is not None
    first = [bos] if begins and ids[0] != bos else []
    end = len(first) + example.peak + 1  # What comes after the peak cannot change it.
    tokens = torch.tensor([*first, *ids][:end][-room.model.context_length :])
    h = residuals_of(room.model.module, [tokens], [sae.layer])[sae.layer][-1:]
    feature = torch.tensor([index])
    return float(sae.weights.encode_pairs(h.to(sae.weights.W_enc.device), feature)[0])


def _concluded(ratios: list[float], silent: int) -> Replay:
    total = len(ratios) + silent
    share = f"{len(ratios)}/{total}"
    if total < FEWEST:
        message = (
            f"Only {total} exported examples could be replayed: too few to tell whether they are this SAE's."
        )
        return Replay(_check(Status.WARN, share, message))
    fires = len(ratios) / total
    said = f"Of {total} exported examples, replayed through the model, {len(ratios)} fire here as well"
    if fires < FIRING[1]:
        return Replay(_check(Status.FAIL, share, f"{said}: the export is of another SAE."))
    middle = median(ratios)
    low, _, high = quantiles(ratios, n=4)
    if 1 / SAME_UNITS <= middle <= SAME_UNITS:
        units, factor = f"at {middle:.2f} times the exported strength", 1.0
    elif high <= CONSISTENT * low:
        units = f"at {middle:.3g} times the exported strength: it is in other units, and is converted"
        factor = middle
    else:
        message = f"{said}, but at {low:.2g} to {high:.2g} times the exported strength: doubtful."
        return Replay(_check(Status.WARN, share, message))
    status = Status.OK if fires >= FIRING[0] else Status.WARN
    return Replay(_check(status, share, f"{said}, {units}."), factor)


def _check(status: Status, measured: str, message: str) -> Check:
    return Check("labels", status, measured, None, message)
