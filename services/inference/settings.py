"""The settings of the inference process; nothing else in it reads the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.keys.settings import AccessSettings
from services.rpc.tls import TlsSettings

MODELS_DIR = Path(__file__).parents[2] / "models"
"""Where the repository keeps the embedded model's SAE and feature data."""


class InferenceSettings(BaseSettings):
    """Each field is an environment variable: HEARTH_INFERENCE_PORT, HEARTH_INFERENCE_MODEL ..."""

    model_config = SettingsConfigDict(env_prefix="HEARTH_INFERENCE_", frozen=True)

    host: str = "127.0.0.1"
    """The interface to listen on; 0.0.0.0 for all."""
    port: int = Field(default=50051, ge=0, le=65535)
    """The port; 0 takes a free one."""
    model: str = EMBEDDED_MODEL_ID
    """A Hugging Face model id or a folder."""
    saes: list[str] | None = None
    """Paths of SAEs (JSON list); unset takes those under models/ for the embedded model, none for others."""
    allow_mismatch: bool = False
    """Serve SAEs that the doctor refuses."""
    engine: str = Field(default="torch", pattern="^(torch|vllm)$")
    """torch runs the model in this process; vllm on vLLM, for models beyond one GPU (docs/engines.md)."""
    tensor_parallel: int = Field(default=1, ge=1)
    """On vLLM: workers that share each block."""
    pipeline_parallel: int = Field(default=1, ge=1)
    """On vLLM: stages of consecutive blocks."""
    memory_share: float | None = Field(default=None, gt=0, le=1)
    """On vLLM: the share of each GPU's memory that it may fill; unset leaves it to vLLM (0.9)."""
    device: str = "auto"
    """cpu, cuda or cuda:N; auto takes cuda where there is one."""
    dtype: str = Field(default="auto", pattern="^(auto|float32|bfloat16|float16)$")
    """Type of computation; auto takes bfloat16 where the hardware multiplies it, else float32."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch on a CPU; unset takes one for each core."""
    max_context: int | None = Field(default=None, ge=1)
    """Serve at most so many tokens of context; unset takes the model's own."""
    max_running: int | None = Field(default=None, ge=1)
    """Sequences that run together; more wait. Unset takes 32 on a CPU, 256 on a GPU."""
    max_waiting: int = Field(default=512, ge=0)
    """Requests that wait; more are refused with RESOURCE_EXHAUSTED."""
    kv_tokens: int = Field(default=65_536, ge=128)
    """Tokens of KV cache that running sequences may hold."""
    prefix_bytes: int = Field(default=512 << 20, ge=0)
    """Memory of the prefix cache."""
    prefill_busy: int | None = Field(default=None, ge=1)
    """Prompt tokens a step while others decode: more shortens the wait for the first token, fewer the stalls. Unset
    takes 64 on a CPU, 1,024 on a GPU."""
    prefill_idle: int | None = Field(default=None, ge=1)
    """Prompt tokens a step while nobody decodes. Unset takes 256 on a CPU, 4,096 on a GPU."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """How long streams may go on after SIGTERM."""
    max_call_seconds: float = Field(default=600.0, gt=0)
    """The longest that a call may take, whatever deadline it asks for."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    tls: TlsSettings = Field(default_factory=TlsSettings)
    """HEARTH_TLS_*, which all processes read: see services/rpc/tls.py."""
    access: AccessSettings = Field(default_factory=AccessSettings)
    """HEARTH_KEYS_*, which all gRPC processes read: see services/keys/settings.py."""
