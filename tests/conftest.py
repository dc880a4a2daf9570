"""What tests of several packages share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from services.encoder.minilm import ensure_minilm
from services.inference.embedded import ensure_embedded_model
from tests.database.databases import database, database_url, migrated_postgres, migrated_url, postgres

__all__ = ["database", "database_url", "migrated_postgres", "migrated_url", "postgres"]  # fixtures

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it runs in the background, and processes hand it on: Ctrl-C must work in those under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The folder of the embedded model. `make test` has fetched it by then; a test that uses it is marked `model`."""
    return ensure_embedded_model(progress=False)


@pytest.fixture(scope="session")
def sentence_encoder() -> Path:
    """The folder of the sentence encoder. `make test` has fetched it by then; a test that uses it is marked `model`."""
    return ensure_minilm(progress=False)
