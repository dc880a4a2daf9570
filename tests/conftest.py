"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.inference.embedded import ensure_embedded_model


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The folder of the embedded model. `make test` has fetched it by then; a test that uses it is marked `model`."""
    return ensure_embedded_model(progress=False)
