"""vLLM brought up for Hearth: what is set, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference.engine_thread import EngineLimits

REQUIRED = (0, 32)
"""The version of vLLM whose runner worker.py knows. Of others the self-test at the start decides."""

ENVIRONMENT = {
    # the scheduler runs in this process: requests are ended, and news of them fetched, between two steps
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # worker.py reads the first runner's batch, and the second one takes no logits processors
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "VLLM_NO_USAGE_STATS": "1",
    # its log goes where this process's does
    "VLLM_CONFIGURE_LOGGING": "0",
}


@dataclass(frozen=True, slots=True)
class Runtime:
    """One model on vLLM."""

    folder: Path
    context_length: int
    """Tokens of a prompt and its answer."""
    dtype: str
    tensor_parallel: int = 1
    """Workers that share each block."""
    pipeline_parallel: int = 1
    """Stages of consecutive blocks."""
    memory_share: float | None = None
    """Share of each GPU's memory that vLLM may fill; None leaves it to vLLM."""
    kv_bytes: int | None = None
    """Memory of the key-value cache on each worker; None takes what the share leaves."""
    kv_blocks: int | None = None
    """Blocks of the key-value cache, whatever the memory; for tests of preemption."""
    batch_tokens: int | None = None
    """Tokens of a step; None leaves it to vLLM."""
    executor: str | None = None
    """How workers run: `uni`, `mp` or `ray`; None leaves it to vLLM."""


def start_runtime(runtime: Runtime, limits: EngineLimits) -> Any:
    """An LLMEngine of vLLM. Raises ImportError where vLLM is not installed, and what vLLM raises."""
    os.environ.update(ENVIRONMENT)
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    given: dict[str, Any] = {
        "gpu_memory_utilization": runtime.memory_share,
        "kv_cache_memory_bytes": runtime.kv_bytes,
        "num_gpu_blocks_override": runtime.kv_blocks,
        "max_num_batched_tokens": runtime.batch_tokens,
        "distributed_executor_backend": runtime.executor,
    }
    arguments = EngineArgs(
        model=str(runtime.folder),
        skip_tokenizer_init=True,
        trust_remote_code=False,
        load_format="safetensors",
        dtype=runtime.dtype,
        # one more than is served: the last token of an answer runs through the model where scopes may act on it
        max_model_len=runtime.context_length + 1,
        max_num_seqs=limits.max_running,
        tensor_parallel_size=runtime.tensor_parallel,
        pipeline_parallel_size=runtime.pipeline_parallel,
        # compiled and captured code would skip the hooks
        enforce_eager=True,
        enable_prefix_caching=True,
        # a request must be known to have ended before its next step is planned
        async_scheduling=False,
        worker_extension_cls="services.inference.vllm.worker.SteeringWorker",
        logits_processors=["services.inference.vllm.drawing:Draw"],
        logprobs_mode="raw_logprobs",
        generation_config="vllm",
        disable_log_stats=True,
        **{name: value for name, value in given.items() if value is not None},
    )
    return LLMEngine.from_engine_args(arguments)
