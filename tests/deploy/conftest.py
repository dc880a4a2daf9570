"""What the tests of deploy/ share."""

from __future__ import annotations

import pytest

from deploy.helm import helm_path
from tests.deploy.rendering import CI, NAMES, Rendered, template


@pytest.fixture(scope="session")
def helm() -> None:
    """Skips where there is none; `make test` fetches it."""
    if helm_path() is None:
        pytest.skip("helm is neither fetched (python deploy/helm.py) nor on the PATH")


@pytest.fixture(params=CI, ids=NAMES, scope="session")
def rendered(request: pytest.FixtureRequest, helm: None) -> Rendered:
    """The chart with each of the values under ci/."""
    return template(None, request.param)
