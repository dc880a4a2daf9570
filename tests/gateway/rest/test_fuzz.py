"""No request that can be made from the OpenAPI document is answered with an error of the server's own.

A few requests for each operation here; `make fuzz` makes 100, over 5,000 in all.
"""

from __future__ import annotations

import os
import sys

from tests.gateway.light import Light
from tests.gateway.rest.fuzzing import fuzz

EACH = int(os.environ.get("HEARTH_FUZZ_EACH", "4"))
"""Requests for each operation."""
NUMBER = int(os.environ.get("HEARTH_FUZZ_NUMBER", "1"))
"""Draws other requests."""


def test_no_request_is_answered_with_an_error_of_the_server(light: Light) -> None:
    done = fuzz(light, EACH, NUMBER)
    sys.stdout.write(f"{done.cases:,} requests, answered with {dict(sorted(done.statuses.items()))}\n")
    assert not done.failures, "\n\n".join(done.failures[:20])
    assert done.cases >= 40 * EACH
    assert done.statuses[200] > 0.05 * done.cases
    assert done.statuses[400] > 0
