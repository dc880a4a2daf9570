"""The doctor passes an SAE where it belongs, and refuses it at another block, width, or scale, by measurement."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from services.inference.sae.base import SINK_NORMS, Architecture, Sae, SaeWeights
from services.inference.sae.calibration import Calibration, calibrate, served_tokens
from services.inference.sae.doctor import Check, Status, diagnose
from services.inference.sae.errors import SaeMismatch

LAYER, LAYERS, D_MODEL, BOS = 2, 5, 32, 1


@cache
def a_model() -> LlamaForCausalLM:
    """A tiny Llama whose blocks change the residual stream much, as random weights of the usual size do not."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=D_MODEL,
            intermediate_size=64,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=2,
            initializer_range=0.15,
        )
    ).eval()


@cache
def a_calibration() -> Calibration:
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(2, 64, (length,), generator=generator) for length in (9, 30, 17, 40, 25, 33)]
    return calibrate(a_model(), [torch.cat([torch.tensor([BOS]), text]) for text in texts], bos=BOS)


def fitted(calibration: Calibration, layer: int = LAYER, components: int = 12) -> SaeWeights:
    """Both signs of the leading principal components of the stream after a block: the best linear code there is.

    ReLU of +u and -u together carry the whole coordinate, so L0 is the number of components.
    """
    stream = calibration.residuals([layer])[layer]
    kept, _ = served_tokens(stream, calibration.positions, SINK_NORMS)
    mean = stream[kept].mean(0)
    directions = torch.linalg.svd(stream[kept] - mean, full_matrices=False).Vh[:components]
    signed = torch.cat([directions, -directions]).contiguous()
    return SaeWeights(Architecture.RELU, signed, -signed @ mean, signed, mean)


@cache
def a_fitting_sae() -> Sae:
    """With a card, a median norm and scales that are true."""
    weights = fitted(a_calibration())
    sae = Sae("tiny", weights, f"model.layers.{LAYER}", LAYER, weights.digest(), scales=torch.ones(24))
    seen = diagnose(sae, a_calibration())
    card = {
        "variance_explained": float(measured(seen.check("variance_explained"))),
        "l0": 12.0,
        "prepend_bos": True,
    }
    return replace(seen.sae, card=card)


def measured(check: Check) -> float:
    assert isinstance(check.measured, (int, float))
    return check.measured


def scaled(calibration: Calibration, factor: float) -> Calibration:
    return replace(
        calibration,
        residuals=lambda layers: {at: h * factor for at, h in calibration.residuals(layers).items()},
    )


def test_every_check_passes_where_the_sae_belongs() -> None:
    diagnosis = diagnose(a_fitting_sae(), a_calibration())
    assert {check.name: check.status for check in diagnosis.checks} == dict.fromkeys(
        (
            "weights", "width", "layer", "sinks", "bos", "median_norm", "variance_explained", "l0", "hook", "scales",
        ),
        Status.OK,
    )  # fmt: skip
    assert not diagnosis.refused
    diagnosis.raise_if_refused()
    assert all(check.message.endswith(".") for check in diagnosis.checks)


def test_the_figures_are_those_of_a_plain_computation() -> None:
    calibration, sae = a_calibration(), a_fitting_sae()
    h = calibration.residuals([LAYER])[LAYER]
    norms = [float(row.norm()) for row in h]
    inner = sorted(norm for norm, at in zip(norms, calibration.positions, strict=True) if at > 0)
    median = inner[(len(inner) - 1) // 2]
    rows = [
        row
        for row, norm, at in zip(h, norms, calibration.positions, strict=True)
        if at > 0 and norm <= 4 * median
    ]
    mean = torch.stack(rows).mean(0)
    error = variance = active = 0.0
    for row in rows:
        f = (sae.weights.W_enc @ row + sae.weights.b_enc).clamp_min(0)
        error += float(((row - f @ sae.weights.W_dec - sae.weights.b_dec) ** 2).sum())
        variance += float(((row - mean) ** 2).sum())
        active += float((f > 0).sum())
    diagnosis = diagnose(sae, calibration)
    assert measured(diagnosis.check("variance_explained")) == pytest.approx(1 - error / variance, abs=1e-4)
    assert measured(diagnosis.check("l0")) == pytest.approx(active / len(rows))
    assert measured(diagnosis.check("median_norm")) == pytest.approx(median)
    assert 0.3 < 1 - error / variance < 0.95  # neither trivial nor perfect


@pytest.mark.parametrize("layer", [LAYER - 2, LAYER - 1, LAYER + 1, LAYER + 2])
def test_another_block_is_refused_and_the_right_one_named(layer: int) -> None:
    sae = replace(a_fitting_sae(), layer=layer, median_norm=None, card={})
    diagnosis = diagnose(sae, a_calibration())
    check = diagnosis.check("hook")
    assert (check.status, check.measured, check.expected) == (Status.FAIL, LAYER, layer)
    with pytest.raises(
        SaeMismatch, match=f"fits block {LAYER} clearly better than block {layer}: the hook point"
    ):
        diagnosis.raise_if_refused()


def test_the_override_serves_a_mismatch_and_still_reports_it() -> None:
    sae = replace(a_fitting_sae(), layer=LAYER + 1)
    diagnosis = diagnose(sae, a_calibration(), allow_mismatch=True)
    assert not diagnosis.refused
    diagnosis.raise_if_refused()
    assert diagnosis.check("hook").status is Status.FAIL


@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_the_outermost_blocks_have_one_neighbour(layer: int) -> None:
    weights = fitted(a_calibration(), layer)
    diagnosis = diagnose(
        Sae("edge", weights, f"model.layers.{layer}", layer, weights.digest()), a_calibration()
    )
    assert not diagnosis.refused
    assert diagnosis.check("hook").status is Status.OK


@pytest.mark.parametrize("layer", [-1, LAYERS])
def test_a_block_that_does_not_exist_is_refused_whatever_the_override(layer: int) -> None:
    diagnosis = diagnose(replace(a_fitting_sae(), layer=layer), a_calibration(), allow_mismatch=True)
    assert diagnosis.refused
    with pytest.raises(SaeMismatch, match=f"belongs after block {layer}, but the model's blocks are 0 to 4"):
        diagnosis.raise_if_refused()


def test_another_width_is_refused_whatever_the_override() -> None:
    weights = SaeWeights(
        Architecture.RELU, torch.randn(8, 16), torch.zeros(8), torch.randn(8, 16), torch.zeros(16)
    )
    diagnosis = diagnose(
        Sae("narrow", weights, "model.layers.2", 2, "0"), a_calibration(), allow_mismatch=True
    )
    assert diagnosis.refused
    with pytest.raises(SaeMismatch, match="16 wide, but the model's is 32 wide") as caught:
        diagnosis.raise_if_refused()
    assert "Allow" not in str(caught.value)


@pytest.mark.parametrize("tensor", ["W_enc", "b_dec"])
def test_weights_that_are_not_numbers_are_refused_whatever_the_override(tensor: str) -> None:
    sae = a_fitting_sae()
    broken = getattr(sae.weights, tensor).clone()
    broken.view(-1)[3] = float("nan")
    diagnosis = diagnose(
        replace(sae, weights=replace(sae.weights, **{tensor: broken})), a_calibration(), allow_mismatch=True
    )
    assert diagnosis.refused
    assert diagnosis.check("weights").measured == tensor


def test_a_model_that_yields_nan_is_refused_whatever_the_override() -> None:
    diagnosis = diagnose(a_fitting_sae(), scaled(a_calibration(), float("nan")), allow_mismatch=True)
    assert diagnosis.refused
    assert diagnosis.check("residuals").fatal


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_scaled_activations_are_refused_by_norm_and_reconstruction(factor: float) -> None:
    diagnosis = diagnose(a_fitting_sae(), scaled(a_calibration(), factor))
    assert diagnosis.refused
    assert diagnosis.check("median_norm").status is Status.FAIL
    with pytest.raises(SaeMismatch, match="scaled otherwise"):
        diagnosis.raise_if_refused()


def test_a_jumprelu_whose_stream_is_too_small_never_fires_and_is_refused() -> None:
    sae = a_fitting_sae()
    weights = replace(sae.weights, architecture=Architecture.JUMPRELU, threshold=torch.full((24,), 1e4))
    diagnosis = diagnose(replace(sae, weights=weights, card={}, median_norm=None), a_calibration())
    assert diagnosis.check("l0").status is Status.FAIL
    assert diagnosis.check("variance_explained").status is Status.FAIL


def test_a_missing_median_norm_is_measured_and_a_present_one_kept() -> None:
    sae = a_fitting_sae()
    filled = diagnose(replace(sae, median_norm=None), a_calibration()).sae
    assert filled.median_norm == pytest.approx(sae.median_norm)
    stored = 1.1 * (sae.median_norm or 0.0)
    diagnosis = diagnose(replace(sae, median_norm=stored), a_calibration())
    assert diagnosis.sae.median_norm == stored
    assert diagnosis.check("median_norm").status is Status.OK


@pytest.mark.parametrize(
    ("card", "name", "status"),
    [
        ({"variance_explained": +0.05}, "variance_explained", Status.OK),
        ({"variance_explained": +0.15}, "variance_explained", Status.WARN),
        ({"variance_explained": +0.30}, "variance_explained", Status.FAIL),
        ({"variance_explained": -0.30}, "variance_explained", Status.OK),
        ({"l0": 7.0}, "l0", Status.OK),
        ({"l0": 40.0}, "l0", Status.WARN),
        ({"l0": 4.0}, "l0", Status.WARN),
        ({"l0": 60.0}, "l0", Status.FAIL),
        ({"l0": 2.0}, "l0", Status.FAIL),
        ({"prepend_bos": False}, "bos", Status.WARN),
        ({"prepend_bos": None}, "bos", Status.OK),
    ],
)
def test_the_card_is_compared_within_the_stated_tolerances(
    card: dict[str, float | bool | None], name: str, status: Status
) -> None:
    sae = a_fitting_sae()
    if "variance_explained" in card:
        card = {"variance_explained": sae.card["variance_explained"] + card["variance_explained"]}
    diagnosis = diagnose(replace(sae, card={**sae.card, **card}), a_calibration())
    assert diagnosis.check(name).status is status
    assert diagnosis.refused is (status is Status.FAIL)


def test_missing_scales_are_a_warning() -> None:
    diagnosis = diagnose(replace(a_fitting_sae(), scales=None), a_calibration())
    assert diagnosis.check("scales").status is Status.WARN
    assert not diagnosis.refused


def with_sinks(calibration: Calibration, tokens: torch.Tensor) -> Calibration:
    def residuals(layers: object) -> dict[int, torch.Tensor]:
        streams = calibration.residuals(layers)  # type: ignore[arg-type]
        return {at: torch.where(tokens[:, None], h * 100.0, h) for at, h in streams.items()}

    return replace(calibration, residuals=residuals)


def test_exploding_first_tokens_and_sinks_do_not_count() -> None:
    calibration = a_calibration()
    sinks = calibration.positions == 0
    sinks[5] = True
    plain = diagnose(a_fitting_sae(), calibration)
    diagnosis = diagnose(a_fitting_sae(), with_sinks(calibration, sinks))
    assert not diagnosis.refused
    assert measured(diagnosis.check("variance_explained")) == pytest.approx(
        measured(plain.check("variance_explained")), abs=0.02
    )
    check = diagnosis.check("sinks")
    assert check.status is Status.OK
    assert 0 < measured(check) < 0.02
    first = float(check.message.split("norm is ")[1].split()[0])
    assert first > 50


@pytest.mark.parametrize(("every", "status"), [(10, Status.WARN), (3, Status.FAIL)])
def test_too_many_sinks_make_the_norm_a_doubtful_unit(every: int, status: Status) -> None:
    calibration = a_calibration()
    sinks = torch.arange(len(calibration.positions)) % every == 1
    check = diagnose(a_fitting_sae(), with_sinks(calibration, sinks)).check("sinks")
    assert check.status is status
    assert "doubtful" in check.message
