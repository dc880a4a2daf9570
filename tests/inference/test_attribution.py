"""A feature's effect on a logit is exact to first order: by finite differences, by ablation where the rest of the model
is linear or the step is small, and because all effects add up."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma2Config, GPT2Config, PreTrainedModel, Qwen2Config

from services.errors import InvalidField
from services.inference import attribution as module
from services.inference.attribution import Attribution, attribute
from services.inference.inspection import live_tokens
from services.inference.layers import decoder_layers
from services.inference.model import LanguageModel, load_language_model
from services.inference.sae.base import Architecture, Sae, SaeWeights
from tests.inference import reference
from tests.inference.finite_differences import in_double, slopes, stream_of, values_at
from tests.inference.tiny import LOUD, Tiny, llama_config, random_sae, tiny, twins

IDS = [12, 201, 7, 90, 33, LOUD, 150, 61, 5, 244]
SINKS = [0, 5]
TARGET, BASELINE = 42, 17
EVERYTHING = 1000


@cache
def exact() -> PreTrainedModel:
    return in_double(tiny().plain)


def double_weights(sae: Sae) -> Any:
    """The SAE's weights in double precision."""
    weights = copy.deepcopy(sae.weights)
    for name in weights.__slots__:
        value = getattr(weights, name)
        if isinstance(value, Tensor):
            object.__setattr__(weights, name, value.double())
    return weights


def activations(sae: Sae, h: Tensor, sinks: list[int]) -> Tensor:
    """[tokens, d_sae], one token at a time; none at sinks."""
    exact_sae = copy.copy(sae)
    object.__setattr__(exact_sae, "weights", double_weights(sae))
    rows = [reference.encode(exact_sae, row) for row in h.double()]
    return torch.stack([row * (n not in sinks) for n, row in enumerate(rows)])


def effects_of(answer: Attribution) -> dict[tuple[int, int], float]:
    """By feature and position."""
    return {(f.index, p.position): p.effect for f in answer.features for p in f.positions}


@pytest.mark.parametrize("name", ["relu", "topk", "gated", "jump"])
@pytest.mark.parametrize("baseline", [None, BASELINE])
def test_an_effect_is_the_activation_times_the_slope_of_the_logit_along_the_decoder_direction(
    name: str, baseline: int | None
) -> None:
    sae = tiny().saes[name]
    answer = attribute(tiny().model, sae, IDS, None, TARGET, baseline, EVERYTHING)
    f = activations(sae, stream_of(exact(), IDS, sae.layer), SINKS)
    firing = [(int(p), int(i)) for p, i in f.nonzero()]
    along = slopes(
        exact(), IDS, sae.layer, [(p, sae.weights.W_dec[i].double()) for p, i in firing], TARGET, baseline
    )
    expected = {(i, p): float(f[p, i] * slope) for (p, i), slope in zip(firing, along, strict=True)}
    found = effects_of(answer)
    assert found.keys() == expected.keys()
    assert len(found) > 40
    for key, effect in expected.items():
        assert found[key] == pytest.approx(effect, rel=1e-4, abs=1e-5)
    for feature in answer.features:
        total = sum(effect for (index, _), effect in expected.items() if index == feature.index)
        assert feature.effect == pytest.approx(total, rel=1e-4, abs=2e-5)
        for place in feature.positions:
            assert place.activation == pytest.approx(
                float(f[place.position, feature.index]), rel=1e-4, abs=1e-5
            )
    assert answer.logit == pytest.approx(
        float(values_at(exact(), IDS, sae.layer, lambda h: h[None], TARGET, baseline)[0]), abs=1e-4
    )


@pytest.mark.parametrize("name", ["relu", "topk"])
def test_features_bias_and_error_add_up_to_the_gradient_times_the_stream(name: str) -> None:
    sae = tiny().saes[name]
    answer = attribute(tiny().model, sae, IDS, None, TARGET)
    h = stream_of(exact(), IDS, sae.layer)
    axes = [(p, axis) for p in range(len(IDS)) for axis in torch.eye(h.shape[1], dtype=torch.float64)]
    gradient = slopes(exact(), IDS, sae.layer, axes, TARGET).view(h.shape)
    weights, f = double_weights(sae), activations(sae, h, SINKS)
    live = [p for p in range(len(IDS)) if p not in SINKS]
    error = sum(float(gradient[p] @ (h[p] - f[p] @ weights.W_dec - weights.b_dec)) for p in live)
    error += sum(float(gradient[p] @ h[p]) for p in SINKS)
    bias = sum(float(gradient[p] @ weights.b_dec) for p in live)
    features = sum(float(gradient[p] @ (f[p] @ weights.W_dec)) for p in live)
    assert answer.error_effect == pytest.approx(error, abs=2e-4)
    assert answer.bias_effect == pytest.approx(bias, abs=2e-4)
    assert answer.feature_effect == pytest.approx(features, abs=2e-4)
    whole = answer.error_effect + answer.bias_effect + answer.feature_effect
    assert whole == pytest.approx(float((gradient * h).sum()), abs=2e-4)


def linear_above(layer: int) -> Tiny:
    """A model that is linear above a block: attention gives all earlier tokens equal weight, there are no norms."""
    _, plain = twins(llama_config())
    for block in decoder_layers(plain)[layer + 1 :]:
        attention, mlp = block.self_attn, block.mlp
        for projection in (attention.q_proj, attention.k_proj, mlp.down_proj):
            projection.weight.data.zero_()
        block.input_layernorm = nn.Identity()
    plain.model.norm = nn.Identity()
    model = LanguageModel(copy.deepcopy(plain), torch.float32, torch.device("cpu"))
    median = float(stream_of(plain, IDS, layer)[1:].norm(dim=-1).median())
    return Tiny(
        model, plain, {"s": random_sae("s", layer, Architecture.RELU, median, seed=0)}, {layer: median}
    )


@pytest.mark.parametrize("layer", [1, 3])
def test_where_the_rest_of_the_model_is_linear_an_effect_is_the_change_by_ablation(layer: int) -> None:
    """Also after the last block, where nothing but the unembedding is left."""
    linear = linear_above(layer)
    sae = linear.saes["s"]
    answer = attribute(linear.model, sae, IDS, None, TARGET, None, EVERYTHING)
    assert answer.feature_effect + answer.bias_effect + answer.error_effect == pytest.approx(
        answer.logit, rel=1e-4
    )
    double = in_double(linear.plain)
    f = activations(sae, stream_of(double, IDS, layer), [0])

    def ablated(h: Tensor) -> Tensor:
        parts = [torch.outer(f[:, a.index], sae.weights.W_dec[a.index].double()) for a in answer.features]
        return torch.stack([h, *(h - part for part in parts)])

    values = values_at(double, IDS, layer, ablated, TARGET)
    for feature, without in zip(answer.features, values[1:], strict=True):
        assert feature.effect == pytest.approx(float(values[0] - without), rel=1e-4, abs=1e-5)
    reached = {p.position for f in answer.features for p in f.positions if abs(p.effect) > 1e-6}
    assert reached == (set(range(1, len(IDS))) if layer == 1 else {len(IDS) - 1})


@pytest.mark.parametrize("name", ["relu", "gated"])
def test_effects_predict_what_taking_a_feature_out_of_the_stream_does(name: str) -> None:
    """The model is not linear: where a part is under a tenth of the stream, its effect is near the true change."""
    sae = tiny().saes[name]
    answer = attribute(tiny().model, sae, IDS, None, TARGET, BASELINE, EVERYTHING)
    h = stream_of(exact(), IDS, sae.layer)
    decoder = sae.weights.W_dec.double()
    found = [
        (p.effect, p.position, p.activation * decoder[f.index]) for f in answer.features for p in f.positions
    ]
    small = [(e, at, part) for e, at, part in found if float(part.norm() / h[at].norm()) < 0.1]
    assert len(small) > 20

    def ablated(stream: Tensor) -> Tensor:
        variants = stream.repeat(len(small) + 1, 1, 1)
        for n, (_, at, part) in enumerate(small):
            variants[n, at] -= part
        return variants

    values = values_at(exact(), IDS, sae.layer, ablated, TARGET, BASELINE)
    agreement(torch.tensor([e for e, _, _ in small]), values[-1] - values[:-1], correlation=0.99, signs=0.95)


def agreement(effects: Tensor, changes: Tensor, correlation: float, signs: float) -> None:
    """Correlation, and equal signs among effects above a tenth of the largest."""
    table = torch.stack([effects.double(), changes.double()])
    assert float(torch.corrcoef(table)[0, 1]) > correlation
    large = effects.abs() > effects.abs().max() / 10
    assert float((effects[large].sign() == changes[large].sign()).float().mean()) >= signs


def test_attention_sinks_have_no_features_and_later_tokens_no_effect() -> None:
    sae = tiny().saes["relu"]
    answer = attribute(tiny().model, sae, IDS, 7, TARGET, None, EVERYTHING)
    assert {p.position for f in answer.features for p in f.positions} == {1, 2, 3, 4, 6, 7}
    shorter = attribute(tiny().model, sae, IDS[:8], None, TARGET, None, EVERYTHING)
    assert answer == shorter
    assert answer.position == 7


def test_the_likeliest_token_is_explained_unless_another_is_named() -> None:
    sae = tiny().saes["relu"]
    with torch.no_grad():
        likeliest = int(tiny().plain(torch.tensor([IDS[:4]])).logits[0, -1].argmax())
    answer = attribute(tiny().model, sae, IDS, 3)
    assert answer.target == likeliest
    assert answer == attribute(tiny().model, sae, IDS, 3, likeliest)


def test_features_and_positions_come_by_absolute_effect_and_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sae = tiny().saes["relu"]
    whole = attribute(tiny().model, sae, IDS, None, TARGET, None, EVERYTHING)
    sizes = [abs(f.effect) for f in whole.features]
    assert sizes == sorted(sizes, reverse=True)
    for feature in whole.features:
        sizes = [abs(p.effect) for p in feature.positions]
        assert sizes == sorted(sizes, reverse=True)
    assert attribute(tiny().model, sae, IDS, None, TARGET, None, 3).features == whole.features[:3]
    assert attribute(tiny().model, sae, IDS, None, TARGET).features == whole.features[:50]
    monkeypatch.setattr(module, "MAX_POSITIONS", 2)
    limited = attribute(tiny().model, sae, IDS, None, TARGET, None, EVERYTHING)
    assert [f.positions for f in limited.features] == [f.positions[:2] for f in whole.features]
    assert [f.effect for f in limited.features] == [f.effect for f in whole.features]


def test_a_prompt_of_one_token_is_all_error() -> None:
    answer = attribute(tiny().model, tiny().saes["relu"], IDS[:1])
    assert (answer.features, answer.feature_effect, answer.bias_effect) == ((), 0.0, 0.0)


SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
}
HEADS: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.2}


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, **HEADS, head_dim=8, sliding_window=4, attn_logit_softcapping=2.0),
        Qwen2Config(**SMALL, **HEADS, use_sliding_window=True, sliding_window=3, max_window_layers=2),
        GPT2Config(vocab_size=300, n_embd=32, n_layer=4, n_head=4, n_positions=64, initializer_range=0.2),
    ],
    ids=lambda config: config.model_type,
)
def test_effects_follow_transformers_own_gradient_in_every_family(config: Any) -> None:
    model, plain = twins(config)
    layer = 1
    h = stream_of(plain, IDS, layer)
    sae = random_sae("s", layer, Architecture.RELU, float(h[1:].norm(dim=-1).median()), seed=0)
    assert sae.median_norm is not None
    leaf = h.clone().requires_grad_()

    def enter(_block: nn.Module, _inputs: Any, out: Any) -> Any:
        return (leaf[None], *out[1:]) if isinstance(out, tuple) else leaf[None]

    hook = decoder_layers(plain)[layer].register_forward_hook(enter)
    (gradient,) = torch.autograd.grad(plain(torch.tensor([IDS]), use_cache=False).logits[0, -1, TARGET], leaf)
    hook.remove()
    f = sae.weights.encode(h) * live_tokens(h, sae.median_norm)[:, None]
    effects = (f * (gradient @ sae.weights.W_dec.T)).sum(0)
    answer = attribute(model, sae, IDS, None, TARGET, None, EVERYTHING)
    assert len(answer.features) > 20
    for feature in answer.features:
        assert feature.effect == pytest.approx(float(effects[feature.index]), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": 10}, "position: 10 is not in the prompt; allowed: 0 to 9"),
        ({"position": -1}, "position: -1 is not in the prompt"),
        ({"target": 300}, "target_token: 300 is no token; allowed: 0 to 299"),
        ({"baseline": 300}, "baseline_token: 300 is no token"),
        ({"target": 5, "baseline": 5}, "baseline_token: 5 is the target token itself"),
    ],
)
def test_what_cannot_be_explained_is_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidField, match=message):
        attribute(tiny().model, tiny().saes["relu"], IDS, **arguments)


@pytest.mark.model
def test_on_the_embedded_model_effects_predict_ablation(embedded_model: Path) -> None:
    """On a dictionary of the model's own: directions from its median stream to that at other prompts' tokens."""
    model = load_language_model(embedded_model, torch.float32, torch.device("cpu"))
    layer = 15
    ids, others = torch.randint(1000, 40_000, (2, 48), generator=torch.Generator().manual_seed(0))
    ids = torch.cat([others[:12], ids[:12]])
    seen = model.plain_residual(others, layer)[1:]
    centre = seen.median(0).values
    directions = torch.nn.functional.normalize(seen - centre, dim=-1)
    weights = SaeWeights(Architecture.RELU, directions, -directions @ centre - 1.0, directions, centre)
    sae = Sae("own", weights, "model.layers.15", layer, weights.digest(), float(seen.norm(dim=-1).median()))
    answer = attribute(model, sae, ids.tolist(), top_k=EVERYTHING)
    h = model.plain_residual(ids, layer)
    places = [(f.index, p) for f in answer.features for p in f.positions]
    small = [(i, p) for i, p in places if p.activation < 0.2 * float(h[p.position].norm())]
    chosen = sorted(small, key=lambda place: -abs(place[1].effect))[:12]
    changes = []
    for index, place in chosen:
        without = h.clone()
        without[place.position] -= place.activation * directions[index]
        changes.append(answer.logit - model.plain_logits(ids, layer, without)[0, answer.target].item())
    agreement(torch.tensor([p.effect for _, p in chosen]), torch.tensor(changes), correlation=0.95, signs=0.9)
