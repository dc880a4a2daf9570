from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.inference.sae.write_saelens import write_saelens
from services.inference.tokenizer import Tokenizer
from services.saelab import heldout, reference
from services.saelab.annotated import TEMPLATE, annotate
from services.saelab.documents import HELDOUT, TRAIN, read_documents
from services.saelab.errors import BadActivation
from services.saelab.evaluate import EvaluateSettings, evaluate
from services.saelab.heldout import POSITIONS, HeldoutPass, HeldoutSettings, HeldoutSums
from services.saelab.passages import Passages, probe_results
from services.saelab.places import LEAST, place_metrics
from services.saelab.probing import Kind, Probe
from services.saelab.reference import FeatureStatistics, feature_statistics
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from tests.saelab.test_evaluate import random_sae, settings_of
from tests.saelab.tiny_lab import D_MODEL, HOOK


def read(tmp_path: Path, corpus: Path, model: Path, statistics: FeatureStatistics, chat: bool) -> HeldoutSums:
    documents = [d for d in read_documents(corpus / HELDOUT) if d.is_chat == chat]
    text = annotate(documents, Tokenizer(model), 64, 10**9)
    passages = list(range(0, len(text.windows), 2))
    reading = HeldoutPass(HeldoutSettings(3, 100), random_sae(0.2).weights, statistics, text, passages)
    hooked = HookedModel.load(model, HOOK)
    return reading.run(hooked, tmp_path / "state", {"run": 1}, lambda done, total: None)


@pytest.fixture(scope="module")
def statistics(tiny_shards: ShardFolder) -> FeatureStatistics:
    return feature_statistics(random_sae(0.2), tiny_shards, 10**9)


@pytest.mark.parametrize("chat", [False, True])
def test_sums_by_place_and_passage_equal_obvious_ones(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, statistics: FeatureStatistics, chat: bool
) -> None:
    sums = read(tmp_path, tiny_corpus, tiny_model, statistics, chat)
    documents = [d for d in read_documents(tiny_corpus / HELDOUT) if d.is_chat == chat]
    text = annotate(documents, Tokenizer(tiny_model), 64, 10**9)
    model, weights = HookedModel.load(tiny_model, HOOK), random_sae(0.2).weights
    streams, positions, roles, turns, pooled = [], [], [], [], []
    for start, window in zip(text.starts, text.windows, strict=True):
        h = model.residuals(torch.tensor([window.tokens]))[0]
        kept = torch.arange(len(h)) >= max(1, window.skip)
        kept &= h.norm(dim=-1) <= 4 * statistics.median_norm
        place = slice(start, start + len(h))
        role, turn = torch.from_numpy(text.roles[place]), torch.from_numpy(text.turn_positions[place])
        streams.append(h[kept])
        positions.append(torch.arange(len(h))[kept])
        roles.append(role[kept])
        turns.append(turn[kept])
        pooled.append(weights.encode(h[kept & (role != TEMPLATE)]).mean(0))
    h, position = torch.cat(streams), torch.cat(positions)
    role, turn = torch.cat(roles), torch.cat(turns)
    f = weights.encode(h)
    torch.testing.assert_close(sums.counts, (f > 0).sum(0))
    torch.testing.assert_close(sums.activation, f.double().sum(0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(sums.on_template, f[role == TEMPLATE].double().sum(0), rtol=1e-4, atol=1e-3)
    first = f[(role != TEMPLATE) & (turn < 3)].double().sum(0)
    torch.testing.assert_close(sums.on_first, first, rtol=1e-4, atol=1e-3)
    assert bool((sums.on_template > 0).any()) == chat
    torch.testing.assert_close(sums.pooled, torch.stack(pooled[::2]), rtol=1e-4, atol=1e-4)

    mean = h.mean(0)
    for number, start in enumerate(POSITIONS):
        end = (*POSITIONS, 10**9)[number + 1]
        some = (position >= start) & (position < end)
        assert int(sums.tokens[number]) == int(some.sum())
        if some.any():
            error = (h[some] - weights.decode(f[some])).square().sum() / (h[some] - mean).square().sum()
            found = sums.variance_explained(slice(number, number + 1))
            assert found == pytest.approx(1 - float(error), abs=1e-4)
            expected = float((f[some] > 0).sum(1).float().mean())
            assert sums.l0(slice(number, number + 1)) == pytest.approx(expected, rel=1e-4)


def kill_model_at(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = HookedModel.residuals, []

    def residuals(self: HookedModel, tokens: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return original(self, tokens)

    monkeypatch.setattr(HookedModel, "residuals", residuals)


def test_a_killed_evaluation_goes_on_and_finds_the_same(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    tiny_shards: ShardFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings: dict[str, EvaluateSettings] = {}
    for name in ("whole", "killed"):
        write_saelens(tmp_path / name, random_sae(0.2))
        settings[name] = settings_of(tmp_path / name, tiny_corpus, tiny_shards, tiny_model)
    whole = evaluate(settings["whole"])
    monkeypatch.setattr(heldout, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(reference, "SAVE_SECONDS", -1.0)
    shards, original = [], ShardFolder.read

    def read(self: ShardFolder, index: int) -> object:
        shards.append(index)
        if len(shards) == 3:
            raise KeyboardInterrupt
        return original(self, index)

    with monkeypatch.context() as killing:
        killing.setattr(ShardFolder, "read", read)
        with pytest.raises(KeyboardInterrupt):
            evaluate(settings["killed"])
    for at in (3, 4):
        with monkeypatch.context() as killing:
            kill_model_at(at, killing)
            with pytest.raises(KeyboardInterrupt):
                evaluate(settings["killed"])
    assert len(list(settings["killed"].work.glob("*.safetensors"))) >= 2
    shards.clear()
    monkeypatch.setattr(
        ShardFolder, "read", lambda self, index: (shards.append(index), original(self, index))[1]
    )
    assert evaluate(settings["killed"]) == whole
    assert shards.count(1) == 1  # For co-activation alone: statistics were there.
    assert list(settings["killed"].work.iterdir()) == []
    names = ("metrics.json", "evaluation.md", "evaluation.png")
    assert all((tmp_path / "killed" / name).exists() for name in names)
    assert json.loads((tmp_path / "killed" / "metrics.json").read_text()) == json.loads(json.dumps(whole))


def test_the_reference_does_not_depend_on_when_the_largest_were_chosen(
    tmp_path: Path, tiny_shards: ShardFolder, statistics: FeatureStatistics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "_PENDING", 10)
    found = feature_statistics(random_sae(0.2), tiny_shards, 10**9)
    torch.testing.assert_close(found.scales, statistics.scales, rtol=0, atol=0)
    torch.testing.assert_close(found.maxima, statistics.maxima, rtol=0, atol=0)


def test_nan_in_held_out_text_is_an_error_that_names_the_hook(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    statistics: FeatureStatistics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = HookedModel.residuals
    monkeypatch.setattr(HookedModel, "residuals", lambda self, tokens: original(self, tokens) * torch.nan)
    with pytest.raises(BadActivation, match=HOOK):
        read(tmp_path, tiny_corpus, tiny_model, statistics, False)


def test_features_that_know_nothing_but_a_place_are_counted_by_the_stated_shares() -> None:
    counts = torch.tensor([100, 100, 100, LEAST - 1, 100])
    activation = torch.full((5,), 10.0)
    on_template = torch.tensor([9.0, 5.0, 8.9, 10.0, 0.0])
    on_first = torch.tensor([0.0, 4.1, 0.0, 0.0, 1.0])
    found = place_metrics(1000, counts, activation, on_template, on_first)
    assert found.judged == 4
    assert found.template_features == (0,)
    assert found.position_features == (1,)
    assert found.template_only == found.position_only == 0.25


def test_a_feature_of_the_end_token_is_found_to_know_the_template_alone(
    tmp_path: Path,
    tiny_corpus: Path,
    tiny_model: Path,
    statistics: FeatureStatistics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = Tokenizer(tiny_model)
    stream = torch.randn(tokenizer.size, D_MODEL, generator=torch.Generator().manual_seed(0))
    stream = 10 * torch.nn.functional.normalize(stream, dim=1)  # A model whose stream says which token it is.
    monkeypatch.setattr(HookedModel, "residuals", lambda self, tokens: stream[tokens])
    weights = random_sae().weights
    assert weights.threshold is not None
    [end] = tokenizer.encode_text("<|end|>")
    sea = tokenizer.encode_text(" sea")[0]
    for feature, tokens, bias in (
        (5, [end], -90.0),
        (6, [end, sea], -60.0),
    ):  # The second knows a word of the text too.
        weights.W_enc[feature], weights.b_enc[feature] = stream[tokens].sum(0), bias
        weights.threshold[feature] = 0.0
    documents = [d for d in read_documents(tiny_corpus / TRAIN) if d.is_chat]
    text = annotate(documents, tokenizer, 64, 10**9)
    reading = HeldoutPass(HeldoutSettings(), weights, replace(statistics, median_norm=10.0), text, [])
    sums = reading.run(HookedModel.load(tiny_model, HOOK), tmp_path / "state", {}, lambda done, total: None)
    found = place_metrics(1, sums.counts, sums.activation, sums.on_template, sums.on_first)
    ends = sum(window.tokens[max(1, window.skip) :].count(end) for window in text.windows)
    assert int(sums.counts[5]) == ends >= LEAST
    assert 5 in found.template_features
    assert int(sums.counts[6]) > ends
    assert 6 not in found.template_features


def test_probes_join_held_out_passages_and_sentences_of_their_own(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, statistics: FeatureStatistics
) -> None:
    sae = random_sae(0.2)
    sea = tuple(
        f"ship wave sea {word}" for word in "a b c d e f g h i j k l m n o p q r s t u v w x y z".split() * 2
    )
    food = tuple(
        f"{word} bread salt law" for word in "a b c d e f g h i j k l m n o p q r s t u v w x y z".split()
    )
    sea = sea[: len(food)]
    probes = [Probe("sea", Kind(sentences=sea), Kind(sentences=food))]
    model, tokenizer = HookedModel.load(tiny_model, HOOK), Tokenizer(tiny_model).plain
    own = Passages.of_sentences(probes, sae, model, tokenizer, statistics.median_norm)
    sums = read(tmp_path, tiny_corpus, tiny_model, statistics, False)
    documents = [d for d in read_documents(tiny_corpus / HELDOUT) if not d.is_chat]
    text = annotate(documents, Tokenizer(tiny_model), 64, 10**9)
    owners = [documents[text.documents[text.starts[number]]] for number in range(0, len(text.windows), 2)]
    both = Passages.together([Passages.of_documents(owners, sums), own])
    [result] = probe_results(probes, both)
    assert (result.positive, result.negative) == (26, 26)
    assert result.stream > 0.9
    h = model.residuals(torch.tensor([tokenizer(sea[3]).input_ids]))[0, 1:]
    torch.testing.assert_close(own.features[3], sae.weights.encode(h).mean(0), rtol=1e-4, atol=1e-4)
    crossed = [replace(probes[0], positive=Kind(("texts",)), negative=Kind(sentences=food))]
    passages = both.of_kind(crossed[0].positive)
    assert passages[: len(owners)].all()
    assert not passages[len(owners) :].any()
