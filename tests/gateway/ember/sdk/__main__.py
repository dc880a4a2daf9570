"""Calls of Ember's SDK as it is on PyPI, sync and async, each route and each error, against a running gateway.

Prints a line of JSON for each claim. By hand, with a platform that is up:

    PYTHONPATH=.venv-goodfire .venv/bin/python tests/gateway/ember/sdk \\
        '{"base_url": "http://127.0.0.1:8080", "key": "dev", "model": "HuggingFaceTB/SmolLM2-135M-Instruct"}'

Claims may be named behind that. Keys that are `revoked`, or `limited` to one request a minute, are tried where they
are given; claims for which the model writes for long are left out where `quick` is.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Coroutine
from importlib import import_module

import pytest
from calls import GIVEN
from claims import claims, slow

for part in ("chat", "feature", "asynchronous", "error", "fault"):
    import_module(f"{part}_claims")


def main() -> None:
    """Runs all claims, or those that are named, on one event loop."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    for check in claims:
        if check.__name__ not in (sys.argv[2:] or [check.__name__]):
            continue
        if "quick" in GIVEN and check.__name__ in slow:
            continue
        began, error = time.perf_counter(), ""
        try:
            outcome = check()
            if isinstance(outcome, Coroutine):
                loop.run_until_complete(outcome)
        except (Exception, pytest.fail.Exception):
            error = traceback.format_exc(limit=-6)
        seconds = round(time.perf_counter() - began, 2)
        sys.stdout.write(json.dumps({"claim": check.__name__, "error": error, "seconds": seconds}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
