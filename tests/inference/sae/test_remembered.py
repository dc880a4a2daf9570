"""An SAE that passed the doctor is not examined again until anything that counts has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.doctor import Check, Diagnosis, Status
from services.inference.sae.errors import SaeMismatch
from services.inference.sae.remembered import Finding, examine_once

ON = ("weights", "tokenizer", "float32")


def _sae() -> Sae:
    zero = torch.zeros(2, 3)
    weights = SaeWeights(Architecture.RELU, zero, torch.zeros(2), zero, torch.zeros(3))
    return Sae("tiny", weights, "model.layers.1", 1, "digest")


class Doctor:
    """Counts examinations and ends each as it is told."""

    def __init__(self, status: Status = Status.WARN) -> None:
        self.calls = 0
        self.status = status

    def __call__(self, sae: Sae) -> Diagnosis:
        self.calls += 1
        check = Check("scales", self.status, None, None, "No scales.")
        return Diagnosis(replace(sae, median_norm=7.5), (check,), allow_mismatch=False)


def _once(sae: Sae, folder: Path, doctor: Doctor, on: tuple[str, ...] = ON, allow: bool = False) -> Finding:
    return examine_once(sae, on, folder, doctor, allow_mismatch=allow)


def test_the_second_start_takes_the_first_ones_finding(tmp_path: Path) -> None:
    doctor = Doctor()
    first, second = (_once(_sae(), tmp_path, doctor) for _ in range(2))
    assert doctor.calls == 1
    assert (
        (second.sae.median_norm, second.warnings)
        == (7.5, ("No scales.",))
        == (first.sae.median_norm, first.warnings)
    )


def test_other_weights_card_layer_or_model_are_examined_anew(tmp_path: Path) -> None:
    doctor, sae = Doctor(), _sae()
    _once(sae, tmp_path, doctor)
    for other in (replace(sae, weights_digest="x"), replace(sae, card={"l0": 3}), replace(sae, layer=2)):
        before = doctor.calls
        _once(other, tmp_path, doctor)
        assert doctor.calls == before + 1
    _once(sae, tmp_path, doctor, on=("other weights", *ON[1:]))
    assert doctor.calls == 5


def test_a_refusal_or_a_pass_by_override_or_a_broken_file_is_not_remembered(tmp_path: Path) -> None:
    failing = Doctor(Status.FAIL)
    for _ in range(2):
        with pytest.raises(SaeMismatch):
            _once(_sae(), tmp_path, failing)
    assert failing.calls == 2
    passing = Doctor()
    _once(_sae(), tmp_path, passing, allow=True)
    _once(_sae(), tmp_path, passing)
    assert passing.calls == 2
    (kept,) = tmp_path.glob("*.json")
    kept.write_text("{")
    _once(_sae(), tmp_path, passing)
    assert passing.calls == 3


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    doctor = Doctor()
    for _ in range(2):
        assert _once(_sae(), blocked, doctor).sae.median_norm == 7.5
    assert doctor.calls == 2
