"""The doctor without a server: SAEs of some settings, each examined on the model of those settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers.utils import logging as transformers_logging

from services.inference.dtype import choose_dtype
from services.inference.load import model_folder, sae_paths
from services.inference.model import LanguageModel, load_language_model
from services.inference.sae.base import Sae
from services.inference.sae.calibration import Calibration, calibrate, calibration_sequences
from services.inference.sae.doctor import Diagnosis, diagnose
from services.inference.sae.formats import load_sae
from services.inference.settings import InferenceSettings
from services.inference.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class ExaminingRoom:
    """A model on its calibration texts, for one SAE after the other."""

    model: LanguageModel
    tokenizer: Tokenizer
    calibration: Calibration

    def examine(self, sae: Sae, *, allow_mismatch: bool) -> Diagnosis:
        """What the doctor finds; a refusal is told, not raised."""
        return diagnose(sae, self.calibration, allow_mismatch=allow_mismatch)


def examining_room(settings: InferenceSettings) -> ExaminingRoom:
    """Loads the model of the settings. Raises SetupError, ValueError or OSError where that fails."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    name = settings.device
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    folder = model_folder(settings.model)
    model = load_language_model(folder, choose_dtype(settings.dtype, device), device, settings.max_context)
    tokenizer = Tokenizer(folder)
    sequences = calibration_sequences(tokenizer.plain)
    return ExaminingRoom(model, tokenizer, calibrate(model.module, sequences, tokenizer.plain.bos_token_id))


def examine_all(settings: InferenceSettings) -> Iterator[Diagnosis]:
    """One diagnosis for each SAE that the settings would serve; refusals are told, not raised.

    Raises SetupError or SaeError where the model or an SAE cannot be read at all.
    """
    paths = sae_paths(settings)
    if not paths:
        return
    room = examining_room(settings)
    for path in paths:
        yield room.examine(load_sae(path), allow_mismatch=settings.allow_mismatch)
