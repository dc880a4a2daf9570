"""Requests made from the OpenAPI document, sensible and broken ones, against the gateway."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.gateway.light import Light

MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
LONGEST = 4
"""Tokens of a generation, where a request leaves it open or asks for more."""
_LENGTHS = {
    "/hearth/v1/generate": ("sampling", "maxTokens"),
    "/v1/chat/completions": ("max_tokens",),
    "/v1/completions": ("max_tokens",),
    "/api/inference/v1/chat/completions": ("max_tokens",),
    "/api/inference/v1/completions": ("max_tokens",),
}


@dataclass
class Fuzzed:
    """What came of it."""

    statuses: dict[int, int] = field(default_factory=dict)
    """How many answers of each status."""
    failures: list[str] = field(default_factory=list)
    """Requests that were answered as none may be, each with its answer."""

    @property
    def cases(self) -> int:
        """All answers."""
        return sum(self.statuses.values())


def fuzz(light: Light, each: int, number: int, only: str = "") -> Fuzzed:
    """Makes `each` requests for each operation of the document, drawn by a number, as an owner of its own."""
    done = Fuzzed()
    with _fuzzer(light) as client:
        headers = {"Authorization": client.headers["authorization"]}
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        for result in schema.get_all_operations():
            operation = result.ok()
            if only in operation.path:
                _fuzz_operation(operation, light, headers, each, number, done)
    return done


@contextmanager
def _fuzzer(light: Light) -> Iterator[httpx.Client]:
    """A client of a new owner, whose jobs end with it."""
    client = light.client(light.key(f"fuzzer-{uuid.uuid4()}"))
    yield client
    for job in client.get("/hearth/v1/autosteer/jobs", params={"pageSize": 1000}).json()["jobs"]:
        client.post(f"/hearth/v1/autosteer/jobs/{job['id']}/cancel")


def _fuzz_operation(
    operation: Any, light: Light, headers: dict[str, str], each: int, number: int, done: Fuzzed
) -> None:
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in MODES])

    @seed(number)
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: Any) -> None:
        _fit(case, light)
        answer = case.call(base_url=light.url, headers=headers, timeout=60)
        done.statuses[answer.status_code] = done.statuses.get(answer.status_code, 0) + 1
        if problem := _problem(operation.path, answer):
            done.failures.append(
                f"{problem}: {case.as_curl_command()} -> {answer.status_code} {answer.text[:500]}"
            )

    one()


def _problem(path: str, answer: schemathesis.Response) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if answer.status_code >= 500:
        return "an error of the server"
    if answer.status_code < 400 or answer.status_code == 405:
        return ""
    body = answer.json()
    keys = set(body if "/hearth/" not in path else body["error"])
    expected = {"error"} if "error" in body else {"detail", "field"}
    if "/hearth/" in path:
        expected = {"code", "status", "reason", "message", "field_violations"}
    return "" if expected <= keys else "an error in another shape"


def _fit(case: Any, light: Light) -> None:
    """Puts names that are served where a request has some of its own, half of the time, so that more than names is
    tried; and makes generations short, for the tiny model's may go on and on."""
    for name in [each for each in case.headers or () if each.lower() == "authorization"]:
        del case.headers[name]  # wrong keys are another test's
    body = case.body
    if not isinstance(body, dict):
        return
    names = {"model": light.model, "sae": light.sae}
    if len(body) % 2:
        body.update({name: value for name, value in names.items() if isinstance(body.get(name), str)})
    *above, last = _LENGTHS.get(case.path, ("",))
    for name in above:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            return
    value = body.get(last)
    if last and (value is None or (isinstance(value, int) and value > LONGEST)):
        body[last] = LONGEST
