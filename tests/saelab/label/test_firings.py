"""Where features fire in texts, against a plain pass of the model over each window."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.inference.tokenizer import Tokenizer
from services.saelab.annotated import annotate
from services.saelab.documents import TRAIN, Document, write_documents
from services.saelab.errors import CorpusError, CorruptShard, RunMismatch
from services.saelab.label import firings as module
from services.saelab.label.firings import FiringsSettings, collect_firings
from services.saelab.label.texts import draw_documents, for_labels
from services.saelab.residual import HookedModel
from tests.saelab.test_evaluate import random_sae
from tests.saelab.tiny_lab import HOOK

SAE = replace(random_sae(), median_norm=4.0)


@pytest.fixture
def settings(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> FiringsSettings:
    monkeypatch.setattr(module, "PART_WINDOWS", 10)
    return FiringsSettings((tiny_corpus / TRAIN,), tmp_path / "firings", str(tiny_model), 3000, 64, 4)


def test_activations_are_those_of_a_plain_pass(settings: FiringsSettings, tiny_model: Path) -> None:
    found = collect_firings(settings, SAE)
    text = annotate(draw_documents(settings.files), Tokenizer(tiny_model), 64, 3000)
    model = HookedModel.load(tiny_model, HOOK)
    assert len(found.pieces) == len(text.tokens)
    assert found.features == SAE.weights.d_sae
    dense = np.zeros((len(found.pieces), found.features), np.float32)
    for feature in range(found.features):
        tokens, values = found.of(feature)
        dense[tokens, feature] = values
    for (start, end), window in list(zip(found.window_bounds(), text.windows, strict=True))[:12]:
        hidden = model.residuals(torch.tensor([window.tokens]))[0]
        expected = SAE.weights.encode(hidden).detach().numpy()
        used = found.used[start:end]
        assert not used[0]
        np.testing.assert_allclose(dense[start:end][used], expected[used], rtol=1e-3, atol=1e-3)
        assert not dense[start:end][~used].any()
        assert "".join(found.pieces[start:end]) == Tokenizer(tiny_model).plain.decode(window.tokens)


def test_a_document_is_learnt_from_or_tested_on_never_both(settings: FiringsSettings) -> None:
    found = collect_firings(settings, SAE)
    for document in np.unique(found.documents):
        assert len(set(found.for_labels[found.documents == document].tolist())) == 1
    assert 0.2 < found.for_labels.mean() < 0.8
    assert {for_labels(f"document {n}") for n in range(20)} == {True, False}


def test_a_killed_run_goes_on_with_what_is_missing(
    settings: FiringsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = collect_firings(settings, SAE)
    parts = sorted(settings.out.glob("*.safetensors"))
    assert len(parts) > 3
    parts[1].unlink()
    read: list[int] = []
    plain = module._read_part
    monkeypatch.setattr(module, "_read_part", lambda *a: read.append(1) or plain(*a))
    again = collect_firings(settings, SAE)
    assert len(read) == 1
    np.testing.assert_array_equal(again.tokens, whole.tokens)
    np.testing.assert_array_equal(again.values, whole.values)


def test_a_corrupt_part_and_another_runs_folder_are_named(settings: FiringsSettings) -> None:
    collect_firings(settings, SAE)
    part = settings.out / "firings-00002.safetensors"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(CorruptShard, match=r"firings-00002\.safetensors cannot be read .* delete it"):
        collect_firings(settings, SAE)
    with pytest.raises(RunMismatch, match="different: reads"):
        collect_firings(replace(settings, tokens=2000), SAE)
    with pytest.raises(CorpusError, match="cannot be read"):
        collect_firings(replace(settings, files=(settings.out / "none.jsonl",)), SAE)


def test_sources_take_turns_whatever_their_size(tmp_path: Path) -> None:
    many = [Document(f"m{n}", "many", "word " * 20) for n in range(50)]
    few = [Document(f"f{n}", "few", "word " * 20) for n in range(5)]
    write_documents(tmp_path / "a.jsonl", many)
    write_documents(tmp_path / "b.jsonl", few)
    drawn = list(draw_documents([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]))
    assert len(drawn) == 55
    assert sum(document.source == "few" for document in drawn[:10]) == 5
    assert [d.id for d in drawn] == [
        d.id for d in draw_documents([tmp_path / "b.jsonl", tmp_path / "a.jsonl"])
    ]
