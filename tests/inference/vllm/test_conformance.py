"""Both engines answer as the reference does, which runs each sequence again from its start for every token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.inference.sampling import Sampling
from services.inference.sequence import FinishReason
from tests.inference import reference_generation
from tests.inference.driver import Answer, Request
from tests.inference.reference import Forward, run
from tests.inference.steerings import some_request
from tests.inference.vllm.conftest import Asked
from tests.inference.vllm.served import wide

pytestmark = pytest.mark.platform
CLOSE = 1e-4
"""Comparisons nearer to their thresholds than this are decided by rounding, so such a request is no test."""
TOKENS = 6
COUNT = 60


def some_requests() -> list[Request]:
    """Steerings of all kinds but those gated by entropy, which not every engine can do."""
    drawn = (some_request(number, longest_prompt=20, tokens=TOKENS) for number in range(2 * COUNT))
    return [replace(each, report=True) for each in drawn if not each.steering.gates_on_entropy][:COUNT]


def test_random_requests_answer_together_as_each_in_the_reference(asked: Asked) -> None:
    """Nudges, pins, scales, scopes of all kinds, aborts, positions, limits: tokens, log probabilities, events, the
    report and the scopes' counts, of requests that share every batch."""
    tested = 0
    for request, given in zip(some_requests(), asked(some_requests()), strict=True):
        expected = reference_generation.generate(wide(), request.prompt, request.steering, request.sampling)
        if expected.forward.margin < CLOSE:
            continue
        tested += 1
        assert given.tokens == expected.tokens
        assert given.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        assert given.triggered == expected.events
        assert given.reason is (FinishReason.LENGTH if expected.aborted is None else FinishReason.ABORTED)
        assert given.finished.abort_message == (expected.aborted or "")
        if expected.aborted is None:
            ran = len(request.prompt) + TOKENS - (0 if request.steering.scopes else 1)
            tokens = [*request.prompt, *given.tokens][:ran]
            compare_reports(given, run(wide(), request.steering, tokens, len(request.prompt)))
    assert tested > COUNT // 2


def compare_reports(given: Answer, expected: Forward) -> None:
    counts = {path: (len(tried), sum(tried.values())) for path, tried in expected.acted.items()}
    assert {path: count for path, count in given.finished.scope_counts.items() if count[0]} == counts
    book, compiled = given.finished.report, given.sequence.steered.compiled
    if book is None or compiled is None:
        return
    assert book.clipped == expected.clipped
    changes = [change for change in expected.relative if change > 1e-6]
    if changes:
        assert book.relative_max == pytest.approx(max(changes), rel=1e-3)
    sums = {(edit.path, id(edit.edit)): total for edit, total in book.totals.items() if total.tokens}
    wanted = {
        (path, id(edit)): expected.sums[path, number]
        for path, inner, _ in compiled.steering.walk()
        for number, edit in enumerate(inner.edits)
        if (path, number) in expected.sums
    }
    assert sums.keys() == wanted.keys()
    for key, total in sums.items():
        assert total.tokens == wanted[key].tokens
        assert total.before == pytest.approx(wanted[key].before, abs=1e-2, rel=1e-3)
        assert total.after == pytest.approx(wanted[key].after, abs=1e-2, rel=1e-3)


def test_company_changes_no_text(asked: Asked) -> None:
    """Noise comes from seed and position, and one request's edits never show in another."""
    requests = [
        replace(each, sampling=Sampling(temperature=1.0, max_tokens=TOKENS, seed=number))
        for number, each in enumerate(some_requests()[:8])
    ]
    together = asked(requests)
    for request, given in zip(requests, together, strict=True):
        (alone,) = asked([request])
        assert (alone.tokens, alone.triggered) == (given.tokens, given.triggered)
