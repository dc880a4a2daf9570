from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.inference.sae.base import SINK_NORMS, Sae
from services.saelab import output_effects
from services.saelab.errors import BadActivation, RunMismatch
from services.saelab.output_effects import EffectSettings, OutputEffects, measure_effects
from services.saelab.residual import HookedModel
from services.saelab.vocabulary import Vocabulary
from tests.saelab.test_evaluate import FEATURES, random_sae
from tests.saelab.tiny_lab import HOOK

OPENINGS = [[20, 31, 42, 53], [24, 35, 46], [27, 38, 49, 60, 71], [101, 55, 21]]
WORDS = Vocabulary(np.arange(10, 90, 2), tuple(f" {n}" for n in range(40)), np.arange(40) // 2 * 2)
SETTINGS = EffectSettings(count=4, baseline=16, rows=12)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HookedModel:
    return HookedModel.load(tiny_model, HOOK)


@pytest.fixture(scope="module")
def sae(model: HookedModel) -> Sae:
    norms = model.residuals(torch.tensor([OPENINGS[0]]))[0, 1:].norm(dim=-1)
    return replace(random_sae(), median_norm=float(norms.median()))


def measured(model: HookedModel, sae: Sae, path: Path) -> OutputEffects:
    return measure_effects(sae, WORDS, OPENINGS, SETTINGS, lambda: model, path / "e.safetensors", {"a": 1})


def plain_changes(model: HookedModel, sae: Sae) -> torch.Tensor:
    """[openings, features, words], one feature and one opening at a time."""
    assert sae.median_norm is not None
    changes = torch.zeros(len(OPENINGS), FEATURES, len(WORDS.ids))
    for number, ids in enumerate(OPENINGS):
        tokens = torch.tensor([ids])
        base = model.logits(tokens)[0, -1]
        for feature in range(FEATURES):
            nudge = 0.5 * sae.strength_constant * sae.median_norm * sae.weights.W_dec[feature]

            def edit(h: torch.Tensor, nudge: torch.Tensor = nudge) -> torch.Tensor:
                edited = h.clone()
                for position in range(1, h.shape[1]):
                    if float(h[0, position].norm()) <= SINK_NORMS * (sae.median_norm or 0.0):
                        edited[0, position] += nudge
                return edited

            changes[number, feature] = (model.logits(tokens, edit)[0, -1] - base)[WORDS.ids]
    return changes


def test_promoted_and_suppressed_words_are_those_whose_logits_a_nudge_changes_most(
    tmp_path: Path, model: HookedModel, sae: Sae
) -> None:
    found = measured(model, sae, tmp_path)
    halves = torch.stack([plain_changes(model, sae)[half::2].mean(0) for half in (0, 1)])
    drawn = torch.randperm(FEATURES, generator=torch.Generator().manual_seed(0))[:16]
    own = (halves - halves[:, drawn].mean(1, keepdim=True)).mean(0)
    for feature in range(FEATURES):
        for promoted, words, weights in (
            (True, found.promoted, found.promoted_weights),
            (False, found.suppressed, found.suppressed_weights),
        ):
            order = own[feature].argsort(descending=promoted).tolist()
            expected: list[int] = []
            for word in order:
                if word // 2 not in [other // 2 for other in expected]:
                    expected.append(word)
            assert words[feature].tolist() == expected[:4]
            torch.testing.assert_close(weights[feature], own[feature, expected[:4]], atol=1e-4, rtol=1e-3)


def test_the_output_score_is_the_rise_in_contexts_that_did_not_choose(
    tmp_path: Path, model: HookedModel, sae: Sae
) -> None:
    found = measured(model, sae, tmp_path)
    halves = torch.stack([plain_changes(model, sae)[half::2].mean(0) for half in (0, 1)])
    drawn = torch.randperm(FEATURES, generator=torch.Generator().manual_seed(0))[:16]
    halves -= halves[:, drawn].mean(1, keepdim=True)
    for feature in range(FEATURES):
        scores = []
        for chooses, tests in ((0, 1), (1, 0)):
            expected: list[int] = []
            for word in halves[chooses, feature].argsort(descending=True).tolist():
                if word // 2 not in [other // 2 for other in expected]:
                    expected.append(word)
            raised = halves[tests, feature, expected[:4]].mean()
            scores.append(float(raised - halves[tests, feature].mean()))
        assert float(found.scores[feature]) == pytest.approx(sum(scores) / 2, abs=1e-4)


def test_a_killed_run_goes_on_and_ends_the_same(
    tmp_path: Path, model: HookedModel, sae: Sae, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    whole = measured(model, sae, tmp_path / "whole")
    monkeypatch.setattr(output_effects, "SAVE_SECONDS", -1.0)
    passes: list[int] = []
    original = HookedModel.next_logits

    def logits(self: HookedModel, *arguments: object) -> torch.Tensor:
        passes.append(1)
        if len(passes) == 18:
            raise KeyboardInterrupt
        return original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(HookedModel, "next_logits", logits)
    with pytest.raises(KeyboardInterrupt):
        measured(model, sae, tmp_path)
    passes.clear()
    again = measured(model, sae, tmp_path)
    assert len(passes) < 4 * (
        1 + 2 + 4
    )  # Unsteered, baseline, all features: what was done is not done again.
    for name in ("promoted", "promoted_weights", "suppressed", "suppressed_weights", "scores"):
        assert torch.equal(getattr(again, name), getattr(whole, name))
    passes.clear()
    measured(model, sae, tmp_path)
    assert passes == []


def test_other_settings_and_nan_are_told(tmp_path: Path, model: HookedModel, sae: Sae) -> None:
    measured(model, sae, tmp_path)
    with pytest.raises(RunMismatch, match="different: a"):
        measure_effects(sae, WORDS, OPENINGS, SETTINGS, lambda: model, tmp_path / "e.safetensors", {"a": 2})
    broken = replace(sae, median_norm=float("inf"))
    (tmp_path / "nan").mkdir()
    with pytest.raises(BadActivation, match="NaN"):
        measured(model, broken, tmp_path / "nan")
