"""The doctor without a server: SAEs of some settings, each examined on the model of those settings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers.utils import logging as transformers_logging

from services.inference.dtype import choose_dtype
from services.inference.load import model_folder, sae_paths
from services.inference.model import load_language_model
from services.inference.sae.calibration import calibrate, calibration_sequences
from services.inference.sae.doctor import Diagnosis, diagnose
from services.inference.sae.formats import load_sae
from services.inference.settings import InferenceSettings
from services.inference.tokenizer import Tokenizer


def examine_all(settings: InferenceSettings) -> Iterator[Diagnosis]:
    """One diagnosis for each SAE that the settings would serve; refusals are told, not raised.

    Raises SetupError or SaeError where the model or an SAE cannot be read at all.
    """
    paths = sae_paths(settings)
    if not paths:
        return
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    name = settings.device
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    folder = model_folder(settings.model)
    model = load_language_model(folder, choose_dtype(settings.dtype, device), device, settings.max_context)
    tokenizer = Tokenizer(folder)
    calibration = calibrate(
        model.module, calibration_sequences(tokenizer.plain), tokenizer.plain.bos_token_id
    )
    for path in paths:
        yield diagnose(load_sae(path), calibration, allow_mismatch=settings.allow_mismatch)
