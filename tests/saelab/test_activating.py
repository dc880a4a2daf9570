from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.inference.sae.base import SINK_NORMS, Sae
from services.inference.tokenizer import Tokenizer
from services.saelab import activating
from services.saelab.activating import Activating, ActivatingSettings, find_activating
from services.saelab.annotated import ROLES, AnnotatedText, annotate
from services.saelab.documents import TRAIN, read_documents
from services.saelab.errors import BadActivation, RunMismatch
from services.saelab.examples import STRONG, ExamplePicker, ExampleSettings, Source, strong_tokens
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from services.saelab.vocabulary import Spelling
from tests.saelab.test_evaluate import FEATURES, random_sae
from tests.saelab.tiny_lab import HOOK

SETTINGS = ActivatingSettings(top=6, sample=10, before=4, after=2, batch=5)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> HookedModel:
    return HookedModel.load(tiny_model, HOOK)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer(tiny_model)


@pytest.fixture(scope="module")
def text(tokenizer: Tokenizer, tiny_corpus: Path) -> AnnotatedText:
    return annotate(itertools.islice(read_documents(tiny_corpus / TRAIN), 30), tokenizer, 64, 10**6)


@pytest.fixture(scope="module")
def sae(tiny_shards: ShardFolder) -> Sae:
    norms = torch.cat([shard.norms for shard in tiny_shards])
    return replace(random_sae(), median_norm=float(norms.median()))


@pytest.fixture(scope="module")
def activations(model: HookedModel, sae: Sae, text: AnnotatedText) -> torch.Tensor:
    """[tokens of the text, features], a window at a time; 0 where nothing is encoded."""
    assert sae.median_norm is not None
    rows = []
    for window in text.windows:
        h = model.residuals(torch.tensor([window.tokens]))[0]
        f = sae.weights.encode(h)
        for position in range(len(h)):
            if position < max(1, window.skip) or float(h[position].norm()) > SINK_NORMS * sae.median_norm:
                f[position] = 0.0
        rows.append(f)
    return torch.cat(rows)


def found_in(sae: Sae, text: AnnotatedText, model: HookedModel, folder: Path, run: int = 1) -> Activating:
    path = folder / "a.safetensors"
    return find_activating(sae, text, SETTINGS, lambda: model, path, {"run": run})


def test_the_top_activations_are_the_largest_of_each_document_in_a_batch(
    tmp_path: Path, sae: Sae, text: AnnotatedText, model: HookedModel, activations: torch.Tensor
) -> None:
    found = found_in(sae, text, model, tmp_path)
    assert found.counts.tolist() == (activations > 0).sum(0).tolist()
    for feature in range(FEATURES):
        largest: list[float] = []
        for batch in text.batches(SETTINGS.batch):
            best: dict[int, float] = {}
            for number in batch:
                start = int(text.starts[number])
                for place in range(start, start + len(text.windows[number].tokens)):
                    document, value = int(text.documents[place]), float(activations[place, feature])
                    if value > best.get(document, 0.0):
                        best[document] = value
            largest += best.values()
        expected = sorted(largest, reverse=True)[: SETTINGS.top]
        keys = found.top.keys[feature][found.top.places[feature] >= 0]
        assert keys.tolist() == pytest.approx(expected, rel=1e-4)


def test_contexts_are_the_activations_around_the_place_inside_its_window(
    tmp_path: Path, sae: Sae, text: AnnotatedText, model: HookedModel, activations: torch.Tensor
) -> None:
    found = found_in(sae, text, model, tmp_path)
    checked = 0
    for kept, feature in itertools.product((found.top, found.sample), range(FEATURES)):
        for rank, place in enumerate(kept.places[feature].tolist()):
            if place < 0:
                continue
            start, end = text.bounds(place)
            around = range(place - SETTINGS.before, place + SETTINGS.after + 1)
            expected = [float(activations[p, feature]) if start <= p < end else 0.0 for p in around]
            assert kept.contexts[feature, rank].tolist() == pytest.approx(expected, rel=1e-3, abs=1e-4)
            assert expected[SETTINGS.before] > 0
            checked += 1
    assert checked > 10 * FEATURES


def test_the_sample_is_of_different_activations_fair_and_as_large_as_it_can_be(
    tmp_path: Path, sae: Sae, text: AnnotatedText, model: HookedModel, activations: torch.Tensor
) -> None:
    found = found_in(sae, text, model, tmp_path)
    below = total = 0
    for feature in range(FEATURES):
        places = [place for place in found.sample.places[feature].tolist() if place >= 0]
        count = int(found.counts[feature])
        assert len(places) == len(set(places)) == min(count, SETTINGS.sample)
        if count > 2 * SETTINGS.sample:
            active = activations[:, feature][activations[:, feature] > 0]
            below += int((activations[places, feature] < active.median()).sum())
            total += len(places)
    assert total > 100
    assert 0.35 < below / total < 0.65  # Half of the activations are below their median.


def test_a_killed_pass_goes_on_and_ends_the_same(
    tmp_path: Path, sae: Sae, text: AnnotatedText, model: HookedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    whole = found_in(sae, text, model, tmp_path / "whole")
    monkeypatch.setattr(activating, "SAVE_SECONDS", -1.0)
    passes: list[int] = []
    original = HookedModel.residuals

    def residuals(self: HookedModel, tokens: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        if len(passes) == 4:
            raise KeyboardInterrupt
        return original(self, tokens)

    monkeypatch.setattr(HookedModel, "residuals", residuals)
    with pytest.raises(KeyboardInterrupt):
        found_in(sae, text, model, tmp_path)
    again = found_in(sae, text, model, tmp_path)
    assert len(passes) == 4 + len(text.batches(SETTINGS.batch)) - 3
    assert again.tokens == whole.tokens
    for first, second in ((again.top, whole.top), (again.sample, whole.sample)):
        assert torch.equal(first.keys, second.keys)
        assert torch.equal(first.places, second.places)
        assert torch.equal(first.contexts, second.contexts)

    def never() -> HookedModel:
        raise AssertionError("nothing is left to read")

    find_activating(sae, text, SETTINGS, never, tmp_path / "a.safetensors", {"run": 1})
    with pytest.raises(RunMismatch, match="run"):
        found_in(sae, text, model, tmp_path, run=2)


def test_nan_is_told(tmp_path: Path, sae: Sae, text: AnnotatedText, tiny_model: Path) -> None:
    broken = HookedModel.load(tiny_model, HOOK)
    next(broken.model.parameters()).data[:] = float("nan")
    with pytest.raises(BadActivation, match="NaN"):
        found_in(sae, text, broken, tmp_path)


@pytest.fixture(scope="module")
def source(
    tmp_path_factory: pytest.TempPathFactory, sae: Sae, text: AnnotatedText, model: HookedModel
) -> Source:
    return Source(text, found_in(sae, text, model, tmp_path_factory.mktemp("picked")), SETTINGS.before)


@pytest.fixture(scope="module")
def picker(source: Source, tokenizer: Tokenizer) -> ExamplePicker:
    return ExamplePicker(source, SETTINGS.after, tokenizer, ExampleSettings(3, 2, 2))


def test_examples_are_what_the_text_and_the_feature_say(
    picker: ExamplePicker, text: AnnotatedText, tokenizer: Tokenizer, activations: torch.Tensor
) -> None:
    documents = {name: number for number, name in enumerate(text.ids)}
    shown = 0
    for feature in range(FEATURES):
        examples = picker.examples(feature)
        shown += len(examples)
        assert len({example.document for example in examples}) == len(examples)
        kinds = [example.kind for example in examples]
        assert kinds == sorted(kinds, reverse=True)  # "top" before "quantile".
        assert kinds.count("top") <= 3
        assert kinds.count("quantile") <= 4
        for kind in ("top", "quantile"):
            peaks = [e.activations[e.peak] for e in examples if e.kind == kind]
            assert peaks == sorted(peaks, reverse=True)
        if examples:
            assert examples[0].activations[examples[0].peak] == pytest.approx(
                float(activations[:, feature].max()), rel=0.01
            )
            assert examples[0].quantile == 1.0
        for example in examples:
            assert len(example.tokens) == len(example.activations) <= SETTINGS.context
            mine = [p for p, d in enumerate(text.documents) if d == documents[example.document]]
            assert example.text in tokenizer.plain.decode(text.tokens[mine].tolist())
            peak = max(
                mine, key=lambda p: -abs(float(activations[p, feature]) - example.activations[example.peak])
            )
            assert float(activations[peak, feature]) == pytest.approx(
                example.activations[example.peak], rel=0.01
            )
            assert example.role in ROLES
            assert 0.0 < example.quantile <= 1.0
    assert shown > 4 * FEATURES


def test_strong_tokens_are_those_of_at_least_half_the_largest_activation_in_all_texts(
    source: Source, tokenizer: Tokenizer, activations: torch.Tensor
) -> None:
    spelling = Spelling.of(tokenizer)
    for feature in range(FEATURES):
        tokens = strong_tokens([source], spelling, feature)
        largest = float(activations[:, feature].max())
        assert all(token.activation >= STRONG * largest * 0.999 for token in tokens)
        assert bool(tokens) == (largest > 0)
        assert all(token.text.strip() in token.word for token in tokens)
        assert strong_tokens([source, source], spelling, feature) == tokens * 2
    assert strong_tokens([], spelling, 0) == []
