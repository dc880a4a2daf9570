"""The engine's version, which receipts carry: raise it with every change that may change a text."""

from __future__ import annotations

ENGINE_VERSION = "1"
