"""The SAE that ships with Hearth: whole, small, and with a card that says what was measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.inference.sae.formats import load_sae
from services.saelab import feature_table, label_table
from services.saelab.card import CARD, write_card

FOLDER = Path(__file__).parents[2] / "models" / "smollm2-135m-instruct"


def test_it_loads_with_units_for_every_feature() -> None:
    sae = load_sae(FOLDER)
    assert sae.id == "smollm2-135m-instruct-l15-4k"
    assert sae.hook_point == "model.layers.15"
    assert sae.card["model"] == EMBEDDED_MODEL_ID
    assert sae.median_norm is not None
    assert sae.median_norm > 0
    assert sae.scales is not None
    assert sae.scales.shape == (sae.weights.d_sae,) == (4096,)
    assert bool(torch.isfinite(sae.scales).all())
    assert float(sae.scales.min()) > 0
    torch.testing.assert_close(sae.weights.W_dec.norm(dim=1), torch.ones(4096), rtol=1e-3, atol=1e-3)


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 25_000_000


def test_its_card_is_what_the_command_writes(tmp_path: Path) -> None:
    copy = tmp_path / FOLDER.name
    shutil.copytree(FOLDER, copy)
    (copy / CARD).unlink()
    assert write_card(copy).read_text("utf-8") == (FOLDER / CARD).read_text("utf-8")


def test_the_numbers_that_the_doctor_compares_are_those_of_the_evaluation() -> None:
    metrics = json.loads((FOLDER / "metrics.json").read_text("utf-8"))
    card = load_sae(FOLDER).card
    assert card["variance_explained"] == pytest.approx(metrics["plain"]["variance_explained"])
    assert card["l0"] == pytest.approx(metrics["plain"]["l0"])


def test_every_feature_has_its_data_and_most_live_ones_a_label_that_beats_the_null() -> None:
    sae, table, labels = load_sae(FOLDER), feature_table.read(FOLDER), label_table.read(FOLDER)
    assert table.info.weights_digest == labels.info.weights_digest == sae.weights_digest
    rows = list(table.rows(columns=("examples", "promoted")))
    assert [row.index for row in rows] == [label.index for label in labels] == list(range(4096))
    live = [row for row in rows if row.is_live]
    assert len(live) >= 0.98 * len(rows)
    assert all(row.examples and row.promoted for row in live[:100])
    kept = {label.index for label in labels if label.is_labelled and label.score is not None}
    assert sum(row.index in kept for row in live) >= 0.6 * len(live)
