"""The doctor: whether an SAE fits the model it is about to be served on, by measurement and not by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.sae.base import SINK_NORMS, Sae, SaeWeights
from services.inference.sae.calibration import Calibration, served_tokens
from services.inference.sae.errors import SaeMismatch

VARIANCE_SLACK = (0.10, 0.25)
"""How far variance explained may lie under the card's before the doctor warns, and before it refuses: the card's text
is not the doctor's."""
VARIANCE_WITHOUT_CARD = (0.50, 0.20)
"""The same where the card says nothing: least values for no warning, and for no refusal."""
L0_RATIO = (2.0, 4.0)
"""By what factor L0 may differ from the card's, either way."""
NORM_RATIO = (1.25, 2.0)
"""By what factor the median norm may differ from the stored one, either way."""
NEIGHBOUR_RATIO = 0.9
"""The hook is wrong where another block leaves less than this share of the variance that is left unexplained here.
Measured: a poor SAE (0.50 explained at its own block) leaves 1.16 times as much one block to either side."""
SINK_SHARE = (0.02, 0.20)
"""Share of tokens that may be attention sinks beside the first of each sequence."""
ENCODE_ROWS = 256
"""Tokens encoded at once: bounds memory at this many rows of d_sae floats."""


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    status: Status
    measured: float | str | None
    expected: float | str | None
    """What the card or the model says; None where nothing does."""
    message: str
    """The finding as a sentence for people."""
    fatal: bool = False
    """A failure that no override lifts: the SAE could not run at all."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings on one SAE."""

    sae: Sae
    """The SAE, with the measured median norm where its files had none."""
    checks: tuple[Check, ...]
    allow_mismatch: bool

    @property
    def refused(self) -> bool:
        """Whether the SAE must not be served."""
        return any(
            check.status is Status.FAIL and (check.fatal or not self.allow_mismatch) for check in self.checks
        )

    def raise_if_refused(self) -> None:
        """Raises SaeMismatch with every failure in words, and how to override where that is possible."""
        if not self.refused:
            return
        failed = [check for check in self.checks if check.status is Status.FAIL]
        advice = (
            "" if any(check.fatal for check in failed) else " Allow the mismatch to serve it all the same."
        )
        raise SaeMismatch(
            f"SAE {self.sae.id} is refused. {' '.join(check.message for check in failed)}{advice}"
        )

    def check(self, name: str) -> Check:
        """The finding of that name."""
        return next(check for check in self.checks if check.name == name)


def diagnose(sae: Sae, calibration: Calibration, *, allow_mismatch: bool = False) -> Diagnosis:
    """Examines an SAE on a model: a forward pass over the calibration texts up to one block above the SAE's.

    Where a neighbouring block fits better, further passes follow it to the block that fits best.
    Sinks are left out of every figure, as they are when steering. `allow_mismatch` turns no check off: it only lets
    failures pass that still leave an SAE which runs.
    """
    possible = [_weights(sae.weights), _width(sae, calibration), _layer(sae, calibration)]
    if any(check.status is Status.FAIL for check in possible):
        return Diagnosis(sae, tuple(possible), allow_mismatch)
    neighbours = [at for at in (sae.layer - 1, sae.layer + 1) if 0 <= at < calibration.layer_count]
    residuals = calibration.residuals([sae.layer, *neighbours])
    if not torch.isfinite(residuals[sae.layer]).all():
        problem = f"The model's residual stream after block {sae.layer} holds NaN or infinite numbers."
        possible.append(Check("residuals", Status.FAIL, "NaN", "finite", problem, fatal=True))
        return Diagnosis(sae, tuple(possible), allow_mismatch)
    kept, median = served_tokens(residuals[sae.layer], calibration.positions, SINK_NORMS)
    unexplained, l0 = _reconstruction(sae.weights, residuals[sae.layer][kept])
    beside = {at: _unexplained(sae, residuals[at], calibration) for at in neighbours}
    checks = (
        *possible,
        _sinks(residuals[sae.layer], calibration, median),
        _bos(sae, calibration),
        _median_norm(sae, median),
        _variance(sae, 1.0 - unexplained),
        _l0(sae, l0),
        _hook(sae, _climb(sae, {sae.layer: unexplained, **beside}, calibration)),
        _scales(sae),
    )
    examined = replace(sae, median_norm=median) if sae.median_norm is None else sae
    return Diagnosis(examined, checks, allow_mismatch)


def _weights(weights: SaeWeights) -> Check:
    tensors = {
        name: getattr(weights, name)
        for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold", "gate_scale", "gate_bias")
    }
    broken = [
        name for name, tensor in tensors.items() if tensor is not None and not torch.isfinite(tensor).all()
    ]
    if broken:
        message = f"{', '.join(broken)} of the SAE hold NaN or infinite numbers."
        return Check("weights", Status.FAIL, ", ".join(broken), "finite", message, fatal=True)
    return Check("weights", Status.OK, "finite", "finite", "All weights are finite numbers.")


def _width(sae: Sae, calibration: Calibration) -> Check:
    have, want = sae.weights.d_model, calibration.d_model
    if have != want:
        message = f"The SAE reads a residual stream {have} wide, but the model's is {want} wide: it is another model's."
        return Check("width", Status.FAIL, have, want, message, fatal=True)
    return Check("width", Status.OK, have, want, f"Width {have}, as the model's residual stream.")


def _layer(sae: Sae, calibration: Calibration) -> Check:
    last = calibration.layer_count - 1
    expected = f"0 to {last}"
    if not 0 <= sae.layer <= last:
        message = f"The SAE belongs after block {sae.layer}, but the model's blocks are {expected}."
        return Check("layer", Status.FAIL, sae.layer, expected, message, fatal=True)
    return Check("layer", Status.OK, sae.layer, expected, f"Block {sae.layer} of {expected} exists.")


def _sinks(residuals: Float[Tensor, "tokens d_model"], calibration: Calibration, median: float) -> Check:
    norms = residuals.norm(dim=-1)
    first = float(norms[calibration.positions == 0].median()) / median
    share = float((norms[calibration.positions > 0] > SINK_NORMS * median).float().mean())
    status = _upper(share, SINK_SHARE)
    message = (
        f"The first token's norm is {first:.1f} medians and {share:.2%} of the other tokens exceed {SINK_NORMS:g}: "
        "they are left out, as attention sinks."
    )
    if status is not Status.OK:
        message += f" More than {SINK_SHARE[0]:.0%} is unusual: norms at this block are a doubtful unit."
    return Check("sinks", status, share, f"at most {SINK_SHARE[0]}", message)


def _bos(sae: Sae, calibration: Calibration) -> Check:
    card = sae.card.get("prepend_bos")
    measured = calibration.starts_with_bos
    if card is None or measured is None:
        known = "the SAE's card does not say how it handles BOS" if card is None else "the model has no BOS"
        return Check("bos", Status.OK, str(measured), str(card), f"Nothing to compare: {known}.")
    if bool(card) != measured:
        message = (
            f"The SAE was trained {'with' if card else 'without'} BOS, but the model's tokenizer "
            f"{'puts one' if measured else 'puts none'} first: early tokens will read differently."
        )
        return Check("bos", Status.WARN, str(measured), str(card), message)
    return Check("bos", Status.OK, str(measured), str(card), "BOS is handled as in the SAE's training.")


def _median_norm(sae: Sae, median: float) -> Check:
    stored = sae.median_norm
    if stored is None:
        message = f"Median residual norm measured as {median:.4g}; the files name none, so this is used."
        return Check("median_norm", Status.OK, median, None, message)
    status = _upper(max(median / stored, stored / median), NORM_RATIO)
    message = f"Median residual norm {median:.4g}, stored {stored:.4g}."
    if status is not Status.OK:
        message += " The model's activations are scaled otherwise than the SAE's: wrong model, layer or type."
    return Check("median_norm", status, median, stored, message)


def _variance(sae: Sae, explained: float) -> Check:
    card = _number(sae, "variance_explained")
    warn, refuse = (
        VARIANCE_WITHOUT_CARD if card is None else (card - VARIANCE_SLACK[0], card - VARIANCE_SLACK[1])
    )
    status = Status.OK if explained >= warn else Status.WARN if explained >= refuse else Status.FAIL
    says = "the card names none" if card is None else f"the card says {card:.3f}"
    message = f"Explains {explained:.3f} of the variance after block {sae.layer}; {says}."
    if status is not Status.OK:
        message += f" At least {warn:.3f} was expected, and under {refuse:.3f} it is refused."
    return Check("variance_explained", status, explained, card, message)


def _l0(sae: Sae, l0: float) -> Check:
    card = _number(sae, "l0")
    if not card:
        status = Status.FAIL if l0 == 0.0 else Status.OK
        return Check(
            "l0", status, l0, None, f"On average {l0:.1f} features fire on a token; the card names none."
        )
    status = Status.FAIL if l0 == 0.0 else _upper(max(l0 / card, card / l0), L0_RATIO)
    message = f"On average {l0:.1f} features fire on a token; the card says {card:.1f}."
    if status is not Status.OK:
        message += f" They should agree within a factor of {L0_RATIO[0]:g}."
    return Check("l0", status, l0, card, message)


def _hook(sae: Sae, around: dict[int, float]) -> Check:
    own = around[sae.layer]
    best = min(around, key=lambda layer: around[layer])
    figures = ", ".join(f"{1.0 - around[layer]:.3f} after block {layer}" for layer in sorted(around))
    message = f"Of the variance it explains {figures}."
    if around[best] >= NEIGHBOUR_RATIO * own:
        return Check("hook", Status.OK, sae.layer, sae.layer, message)
    message += f" It fits block {best} clearly better than block {sae.layer}: the hook point is wrong."
    return Check("hook", Status.FAIL, best, sae.layer, message)


def _climb(sae: Sae, around: dict[int, float], calibration: Calibration) -> dict[int, float]:
    """Unexplained variance by block: that at the SAE's block and its neighbours, and on from a better neighbour."""
    around = dict(around)
    while (best := min(around, key=lambda layer: around[layer])) != sae.layer:
        beyond = best + (1 if best > sae.layer else -1)
        if beyond in around or not 0 <= beyond < calibration.layer_count:
            break
        around[beyond] = _unexplained(sae, calibration.residuals([beyond])[beyond], calibration)
    return around


def _unexplained(sae: Sae, residuals: Float[Tensor, "tokens d_model"], calibration: Calibration) -> float:
    kept, _ = served_tokens(residuals, calibration.positions, SINK_NORMS)
    unexplained, _ = _reconstruction(sae.weights, residuals[kept])
    return unexplained if math.isfinite(unexplained) else math.inf


def _scales(sae: Sae) -> Check:
    if sae.scales is None:
        message = "No activation scales: 1.0 raw stands for one unit of activation in pins and conditions."
        return Check("scales", Status.WARN, None, sae.weights.d_sae, message)
    count = int((torch.isfinite(sae.scales) & (sae.scales > 0)).sum())
    message = f"{count} of {sae.weights.d_sae} features have an activation scale."
    return Check("scales", Status.OK if count else Status.WARN, count, sae.weights.d_sae, message)


def _reconstruction(weights: SaeWeights, h: Float[Tensor, "tokens d_model"]) -> tuple[float, float]:
    """The fraction of variance unexplained around the mean of these tokens, and L0."""
    errors, active = 0.0, 0
    for start in range(0, len(h), ENCODE_ROWS):
        rows = h[start : start + ENCODE_ROWS].to(weights.W_enc.device)
        activations = weights.encode(rows)
        errors += float((rows - weights.decode(activations)).double().square().sum())
        active += int((activations > 0).sum())
    variance = float((h - h.mean(0)).double().square().sum())
    return errors / variance, active / len(h)


def _upper(value: float, limits: tuple[float, float]) -> Status:
    return Status.OK if value <= limits[0] else Status.WARN if value <= limits[1] else Status.FAIL


def _number(sae: Sae, key: str) -> float | None:
    value = sae.card.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
