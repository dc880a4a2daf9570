"""The engine's version, which receipts carry: raise it with every change that may change a text."""

from __future__ import annotations

ENGINE_VERSION = "1"
VLLM_ENGINE_VERSION = "vllm-1"
"""Of the engine on vLLM; vLLM's own version stands in a receipt's `platform`."""
