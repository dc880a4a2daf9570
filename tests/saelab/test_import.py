"""`hearth sae import` converts an SAE of any format, has it examined, and writes a whole folder or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from typer.testing import CliRunner, Result

from services.inference.sae.formats import load_sae
from services.saelab import label_table
from services.saelab.cli import sae_app
from services.saelab.importing.staging import staged
from tests.saelab.fitting_sae import FEATURES, FOLDERS, LAYER, goodfire, room_of, saelens, tensors_of


def run(model: Path, source: Path, out: Path, *arguments: object) -> Result:
    fixed = ["import", source, "--out", out, "--model", model, "--device", "cpu", "--threads", 1]
    return CliRunner().invoke(sae_app, [str(each) for each in (*fixed, *arguments)])


def text(result: Result) -> str:
    return " ".join(result.output.split())


def left_over(out: Path) -> list[str]:
    return sorted(each.name for each in out.parent.iterdir() if each.name.startswith("."))


@pytest.mark.parametrize("name", FOLDERS)
def test_every_format_becomes_a_folder_that_computes_the_same(
    tmp_path: Path, tiny_model: Path, name: str
) -> None:
    source, out = FOLDERS[name](tiny_model, tmp_path / "source"), tmp_path / "out"
    result = run(tiny_model, source, out)
    assert result.exit_code == 0, result.output
    before, after = load_sae(source), load_sae(out)
    h = room_of(tiny_model).calibration.residuals([LAYER])[LAYER]
    assert torch.equal(after.weights.encode(h), before.weights.encode(h))
    f = after.weights.encode(h)
    assert torch.equal(after.weights.decode(f), before.weights.decode(f))
    reference = torch.relu(h @ tensors_of(tiny_model)["W_enc"] + tensors_of(tiny_model)["b_enc"])
    torch.testing.assert_close(f, reference, rtol=1e-4, atol=1e-4)
    assert (after.hook_point, after.layer, after.id) == ("model.layers.1", LAYER, before.id)
    assert after.median_norm is not None  # the doctor's measurement
    assert after.card["imported"]["format"] == name
    assert json.loads((out / "cfg.json").read_text())["metadata"]["hook_name"] == "blocks.1.hook_resid_post"
    assert left_over(out) == []


def test_the_output_tells_what_was_found_what_the_doctor_says_and_what_to_do_next(
    tmp_path: Path, tiny_model: Path
) -> None:
    result = run(tiny_model, saelens(tiny_model, tmp_path / "source"), tmp_path / "out")
    said = text(result)
    for part in (
        "saelens",
        f"{FEATURES}",
        "variance explained",
        "✓ ok",
        "hearth up --model",
        "hearth sae label",
    ):
        assert part in said, part


def test_a_wrong_block_is_refused_and_leaves_nothing_unless_it_is_allowed(
    tmp_path: Path, tiny_model: Path
) -> None:
    source, out = goodfire(tiny_model, tmp_path / "source"), tmp_path / "out"
    refused = run(tiny_model, source, out, "--hook-point", "model.layers.3")
    assert refused.exit_code == 1
    assert "is refused" in text(refused)
    assert "✗ bad" in text(refused)
    assert not out.exists()
    assert left_over(out) == []
    allowed = run(tiny_model, source, out, "--hook-point", "blocks.3.hook_resid_post", "--allow-mismatch")
    assert allowed.exit_code == 0, allowed.output
    assert "Allowed, though it does not fit" in text(allowed)
    assert load_sae(out).hook_point == "model.layers.3"


def test_options_name_the_sae_round_it_and_name_its_format(tmp_path: Path, tiny_model: Path) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    options = ("--id", "mine", "--weights", "float16", "--format", "saelens")
    assert run(tiny_model, source, out, *options).exit_code == 0
    stored = load_sae(out)
    assert stored.id == "mine"
    assert torch.equal(stored.weights.W_dec, tensors_of(tiny_model)["W_dec"].half().float())
    wrong = run(tiny_model, source, tmp_path / "b", "--format", "npz")
    assert "no SAE format 'npz'; known formats: gemma_scope" in text(wrong)


def test_a_folder_that_holds_something_is_not_overwritten_by_accident(
    tmp_path: Path, tiny_model: Path
) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert "is not empty: name another folder" in text(run(tiny_model, source, out))
    assert (out / "notes.txt").read_text() == "mine"
    assert run(tiny_model, source, out, "--replace").exit_code == 0
    assert not (out / "notes.txt").exists()
    assert left_over(out) == []


def test_what_a_refused_import_would_have_replaced_stays(tmp_path: Path, tiny_model: Path) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert run(tiny_model, source, out, "--replace", "--hook-point", "model.layers.3").exit_code == 1
    assert [each.name for each in out.iterdir()] == ["notes.txt"]


def test_a_killed_import_leaves_nothing_behind_after_the_next(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("old")
    dead = _dead_process()
    (tmp_path / f".out.partial-{dead}").mkdir()
    out.rename(tmp_path / f".out.old-{dead}")  # killed between the two renames
    with staged(out) as folder:
        (folder / "new.txt").write_text("new")
        assert (out / "old.txt").read_text() == "old"
    assert [each.name for each in out.iterdir()] == ["new.txt"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def _dead_process() -> int:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    full = OSError(28, "No space left on device")
    with patch("services.inference.sae.write_saelens.write_safetensors", side_effect=full):
        result = run(tiny_model, source, out)
    assert result.exit_code == 1
    assert "No space left on device" in text(result)
    assert "free some space" in text(result)
    assert not out.exists()
    assert left_over(out) == []


def test_what_cannot_be_read_is_named(tmp_path: Path, tiny_model: Path) -> None:
    out = tmp_path / "out"
    assert "holds no SAE of a known format" in text(run(tiny_model, tmp_path, out))
    source = saelens(tiny_model, tmp_path / "source")
    assert "no block's output" in text(run(tiny_model, source, out, "--hook-point", "blocks.1.hook_mlp_out"))
    missing = run(tiny_model, source, out, "--labels", tmp_path / "none.csv")
    assert "none.csv: expected a file or folder of labels, found no such file" in text(missing)
    (source / "sae_weights.safetensors").write_bytes(b"short")
    assert "sae_weights.safetensors: expected a safetensors file" in text(run(tiny_model, source, out))
    assert not out.exists()


def test_the_model_must_be_named_where_the_files_do_not(tmp_path: Path, tiny_model: Path) -> None:
    source, out = goodfire(tiny_model, tmp_path / "source"), tmp_path / "out"
    result = CliRunner().invoke(sae_app, ["import", str(source), "--out", str(out)])
    assert result.exit_code == 1
    assert "with --model" in text(result)
    wrong = run(tmp_path / "no-model", source, out)
    assert "the model cannot be loaded" in text(wrong)
    assert not out.exists()


def test_labels_are_added_to_a_folder_in_place_and_old_ones_stay(tmp_path: Path, tiny_model: Path) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("index,label\n3,the sea\n5,war\n")
    second.write_text("index,label\n5,battles and armies\n7,bread\n")
    assert run(tiny_model, source, out, "--labels", first).exit_code == 0
    weights = (out / "sae_weights.safetensors").read_bytes()
    before = load_sae(out)
    result = run(tiny_model, out, out, "--labels", second)
    assert result.exit_code == 0, result.output
    labels = {label.index: label for label in label_table.read(out)}
    assert {at: label.label for at, label in labels.items()} == {
        3: "the sea",
        5: "battles and armies",
        7: "bread",
    }
    assert (labels[3].source, labels[7].source) == ("file:first.csv", "file:second.csv")
    assert labels[7].created.year > 2000
    assert (out / "sae_weights.safetensors").read_bytes() == weights
    assert load_sae(out).weights_digest == before.weights_digest == label_table.read(out).info.weights_digest
    refused = run(tiny_model, out, out, "--labels", second, "--id", "other")
    assert "adds labels to a SAELens folder and changes nothing else" in text(refused)


def test_broken_labels_leave_nothing(tmp_path: Path, tiny_model: Path) -> None:
    source, out = saelens(tiny_model, tmp_path / "source"), tmp_path / "out"
    labels = tmp_path / "labels.csv"
    labels.write_text(f"index,label\n3,the sea\n{FEATURES},war\n")
    result = run(tiny_model, source, out, "--labels", labels)
    assert result.exit_code == 1
    assert "labels.csv, line 3: index: expected the index of a feature of this SAE" in text(result)
    assert not out.exists()
    assert left_over(out) == []
