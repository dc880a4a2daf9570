from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from services.inference.sae.base import SINK_NORMS, Sae
from services.inference.sae.write_saelens import write_saelens
from services.inference.tokenizer import Message, Tokenizer
from services.saelab import lab_engine, steerability
from services.saelab.feature_rows import Dose
from services.saelab.reference import feature_statistics
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from services.saelab.steerability import (
    SteerabilitySettings,
    Steered,
    is_fluent,
    measure_steerability,
)
from services.saelab.steered_texts import Opening
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, distinct_runs
from tests.saelab.test_evaluate import random_sae
from tests.saelab.tiny_lab import HOOK

SETTINGS = SteerabilitySettings(
    (Opening("ship star?", is_chat=True), Opening("the sea", is_chat=False)), (0.5, 1.0), 6, 8
)
END = 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_shards: ShardFolder) -> Path:
    path = tmp_path_factory.mktemp("sae")
    plain = random_sae(threshold=0.2)
    statistics = feature_statistics(plain, tiny_shards, 10**9)
    write_saelens(
        path, replace(plain, scales=statistics.scales, median_norm=statistics.median_norm), weights="float32"
    )
    return path


@pytest.fixture(scope="module")
def sae(folder: Path) -> Sae:
    from services.inference.sae.formats import load_sae

    return load_sae(folder)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))


def measured(folder: Path, sae: Sae, model: Path, path: Path, features: list[int]) -> dict[int, Steered]:
    return measure_steerability(
        sae,
        folder,
        str(model),
        features,
        SETTINGS,
        lambda: HookedModel.load(model, HOOK),
        path,
        {"run": 1},
        threads=1,
        device="cpu",
    )


class Reference:
    """One text at a time, the whole sequence through transformers for every token."""

    def __init__(self, folder: Path, sae: Sae) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.block = self.model.get_submodule(HOOK)
        self.sae = sae
        tokenizer = Tokenizer(folder)
        self.decode = tokenizer.plain.decode
        self.prompts = [
            tokenizer.encode_chat([Message("user", "ship star?")], open_turn=True).ids,
            tokenizer.encode_text("the sea"),
        ]

    def text(self, prompt: list[int], feature: int, strength: float) -> list[int]:
        """Greedy, nudged at all tokens but the first and sinks; the end token, where it comes, included."""
        assert self.sae.median_norm is not None
        direction = self.sae.weights.W_dec[feature] / self.sae.weights.W_dec[feature].norm()
        delta = strength * self.sae.strength_constant * self.sae.median_norm * direction
        limit = SINK_NORMS * self.sae.median_norm

        def hook(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
            edited = output.clone()
            for position in range(1, output.shape[1]):
                if float(output[0, position].norm()) <= limit:
                    edited[0, position] += delta
            return edited

        handle = self.block.register_forward_hook(hook)
        tokens = list(prompt)
        with torch.inference_mode():
            while len(tokens) < len(prompt) + SETTINGS.new_tokens:
                tokens.append(int(self.model(torch.tensor([tokens])).logits[0, -1].argmax()))
                if tokens[-1] == END:
                    break
        handle.remove()
        return tokens[len(prompt) :]

    def read(self, prompt: list[int], text: list[int], feature: int) -> tuple[float, float]:
        """Mean activation in units of the scale, and mean log-likelihood a token."""
        assert self.sae.scales is not None
        assert self.sae.median_norm is not None
        with torch.inference_mode():
            out = self.model(torch.tensor([prompt + text]), output_hidden_states=True)
        h = out.hidden_states[2][0, len(prompt) :]
        f = self.sae.weights.encode(h)[:, feature]
        f = torch.where(h.norm(dim=-1) <= SINK_NORMS * self.sae.median_norm, f, 0.0)
        written = [token for token in text if token != END]
        activation = float(f[: len(written)].sum()) / max(1, len(written)) / float(self.sae.scales[feature])
        logs = out.logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        return activation, sum(float(logs[n, token]) for n, token in enumerate(text)) / len(text)


def test_gain_loss_and_distinctness_are_those_of_an_obvious_reference(
    tmp_path: Path, folder: Path, sae: Sae, tiny_model: Path
) -> None:
    features = [3, 17, 29, 8, 31]
    found = measured(folder, sae, tiny_model, tmp_path / "s.jsonl", features)
    reference = Reference(tiny_model, sae)
    assert set(found) == set(features)
    different = 0
    for feature in features:
        assert [dose.strength for dose in found[feature].doses] == [0.5, 1.0]
        for dose, texts in zip(found[feature].doses, found[feature].texts, strict=True):
            gains, losses, distinct = [], [], []
            for prompt, text in zip(reference.prompts, texts, strict=True):
                plain = reference.text(prompt, feature, 0.0)
                steered = reference.text(prompt, feature, dose.strength)
                decoded = reference.decode([t for t in steered if t != END], skip_special_tokens=True).strip()
                assert text == decoded
                different += steered != plain
                own, mine = reference.read(prompt, plain, feature), reference.read(prompt, steered, feature)
                gains.append(mine[0] - own[0])
                losses.append(own[1] - mine[1])
                distinct.append(distinct_runs(decoded))
            assert dose.gain == pytest.approx(sum(gains) / 2, abs=1e-3)
            assert dose.loss == pytest.approx(sum(losses) / 2, abs=1e-3)
            assert dose.distinct == pytest.approx(sum(distinct) / 2)
    assert different > len(features)


def test_a_killed_run_loses_one_round_and_ends_the_same(
    tmp_path: Path, folder: Path, sae: Sae, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = [1, 2, 3, 4, 5]
    whole = measured(folder, sae, tiny_model, tmp_path / "whole.jsonl", features)
    rounds: list[int] = []
    original = lab_engine.tell_all

    def telling(*arguments: object) -> object:
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(steerability, "tell_all", telling)
    path = tmp_path / "s.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measured(folder, sae, tiny_model, path, features)
    there = [json.loads(line)["feature"] for line in path.read_text("utf-8").splitlines()[1:]]
    assert there == [1, 2]  # Eight rows: two features with two strengths in two openings.
    assert measured(folder, sae, tiny_model, path, features) == whole
    rounds.clear()
    assert measured(folder, sae, tiny_model, path, features) == whole
    assert rounds == []
    assert set(measured(folder, sae, tiny_model, path, [*features, 9])) == {*features, 9}


def test_steerability_is_the_best_gain_among_fluent_doses() -> None:
    weak = Dose(0.4, 0.2, FLUENT_LOSS, FLUENT_DISTINCT)
    unlikely = Dose(0.6, 0.9, FLUENT_LOSS + 0.01, 1.0)
    looping = Dose(0.6, 0.9, 0.0, FLUENT_DISTINCT - 0.01)
    wrong = Dose(0.4, -0.5, 0.0, 1.0)
    assert is_fluent(weak)
    assert not is_fluent(unlikely)
    assert not is_fluent(looping)
    assert Steered((weak, unlikely), ()).steerability == 0.2
    assert Steered((weak, replace(unlikely, loss=0.5)), ()).steerability == 0.9
    assert Steered((wrong, looping), ()).steerability == 0.0
