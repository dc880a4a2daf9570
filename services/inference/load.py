"""Bringing a model up: weights, tokenizer, SAEs past the doctor, engine, and the proof that steering works."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers.utils import logging as transformers_logging

from services.fetched.cache import CacheSettings
from services.inference.dtype import choose_dtype
from services.inference.embedded import EMBEDDED_MODEL_ID, resolve_model
from services.inference.engine import ON_GPU, EngineLimits
from services.inference.host import Identity, ModelHost
from services.inference.model import load_language_model
from services.inference.sae.base import Sae
from services.inference.sae.calibration import Calibration, calibrate, calibration_sequences
from services.inference.sae.doctor import Diagnosis, diagnose
from services.inference.sae.formats import load_sae
from services.inference.sae.remembered import examine_once
from services.inference.selftest import prove_steering
from services.inference.settings import MODELS_DIR, InferenceSettings
from services.inference.tokenizer import Tokenizer
from services.rpc.logs import structured

log = logging.getLogger(__name__)


def load_host(settings: InferenceSettings) -> ModelHost:
    """Loads everything and starts the engine of the settings. Raises SetupError, SaeMismatch, SaeFormatError in words
    for people."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if settings.engine == "vllm":
        from services.inference.vllm.load import load_vllm_host

        return load_vllm_host(settings)
    return _load_torch_host(settings)


def _load_torch_host(settings: InferenceSettings) -> ModelHost:
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    device = torch.device(_device(settings.device))
    dtype = choose_dtype(settings.dtype, device)
    folder = model_folder(settings.model)
    model = load_language_model(folder, dtype, device, settings.max_context)
    tokenizer = Tokenizer(folder)
    identity = identity_of(settings, folder, tokenizer, _platform(device))
    on = (identity.weights_digest, identity.tokenizer_digest, identity.template_digest, str(dtype))

    def calibration() -> Calibration:
        return calibrate(model.module, calibration_sequences(tokenizer.plain), tokenizer.plain.bos_token_id)

    fitting = Doctor(calibration, on)
    saes = [fitting(load_sae(path), settings.allow_mismatch) for path in sae_paths(settings)]
    saes = [replace(sae, weights=sae.weights.to(device)) for sae in saes]
    refuse_twins(saes)
    limits = engine_limits(settings, ON_GPU if device.type == "cuda" else EngineLimits())
    host = ModelHost(identity, model, tokenizer, saes, limits, end_tokens(folder, tokenizer))
    host.engine.start()
    prove_steering(host)
    log.info("model ready", extra=structured(model=identity.id, saes=list(host.saes), dtype=str(dtype)))
    return host


def model_folder(name: str) -> Path:
    """The folder of a model: the embedded one's, a local one, or a snapshot from the hub."""
    found = resolve_model(name)
    if isinstance(found, Path):
        return found
    return Path(snapshot_download(found, allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.model"]))


def sae_paths(settings: InferenceSettings) -> list[Path]:
    """The SAEs to load."""
    if settings.saes is not None:
        return [Path(path) for path in settings.saes]
    if settings.model != EMBEDDED_MODEL_ID:
        return []
    return sorted(path.parent for path in MODELS_DIR.glob("smollm2-135m-instruct/**/cfg.json"))


def identity_of(settings: InferenceSettings, folder: Path, tokenizer: Tokenizer, where: str) -> Identity:
    """The identity of a model's files; `where` they run is the platform."""
    return Identity(
        _model_id(settings.model),
        weights_digest(folder),
        tokenizer.digest,
        where,
        tokenizer.template_digest,
        config_digest(folder),
    )


class Doctor:
    """Puts SAEs past the doctor on one model; what passed once is remembered."""

    def __init__(self, calibration: Callable[[], Calibration], on: tuple[str, ...]) -> None:
        self._calibration, self._on = calibration, on

    def __call__(self, sae: Sae, allow_mismatch: bool) -> Sae:
        """The SAE with its median norm filled in. Raises SaeMismatch."""

        def examine(sae: Sae) -> Diagnosis:
            return diagnose(sae, self._calibration(), allow_mismatch=allow_mismatch)

        folder = CacheSettings.at().examinations
        finding = examine_once(sae, self._on, folder, examine, allow_mismatch=allow_mismatch)
        for warning in finding.warnings:
            log.warning("doctor on %s: %s", sae.id, warning)
        return finding.sae


def end_tokens(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Tokens that end an answer, from the model's generation config and its tokenizer."""
    ends: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        if path.exists():
            value = json.loads(path.read_text()).get("eos_token_id")
            ends |= set(value if isinstance(value, list) else [] if value is None else [value])
    if tokenizer.plain.eos_token_id is not None:
        ends.add(int(tokenizer.plain.eos_token_id))
    return frozenset(ends)


def weights_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of a model's safetensors files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def config_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of a model's configuration files."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", folder / "generation_config.json"):
        if path.exists():
            digest.update(path.name.encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def engine_limits(settings: InferenceSettings, usual: EngineLimits) -> EngineLimits:
    """What the settings say, and the usual where they say nothing."""
    return EngineLimits(
        settings.max_running or usual.max_running,
        settings.max_waiting,
        settings.kv_tokens,
        settings.prefix_bytes,
        settings.prefill_busy or usual.prefill_busy,
        settings.prefill_idle or usual.prefill_idle,
    )


def _model_id(name: str) -> str:
    return name.rstrip("/")


def _device(name: str) -> str:
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _platform(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda/{torch.cuda.get_device_name(device)}/torch {torch.__version__}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"cpu/{platform.machine()}/{capability}/torch {torch.__version__}"


def refuse_twins(saes: list[Sae]) -> None:
    """Raises ValueError where several SAEs have one id."""
    ids = [sae.id for sae in saes]
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise ValueError(f"several SAEs have the id {', '.join(sorted(twice))}; give each its own")
