"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.embedded import ensure_embedded_model
from services.saelab.label.minilm import ensure_minilm


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The folder of the embedded model. `make test` has fetched it by then; a test that uses it is marked `model`."""
    return ensure_embedded_model(progress=False)


@pytest.fixture(scope="session")
def sentence_encoder() -> Path:
    """The folder of the sentence encoder. `make test` has fetched it by then; a test that uses it is marked `model`."""
    return ensure_minilm(progress=False)
