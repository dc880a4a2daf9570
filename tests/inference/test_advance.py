"""The whole engine against the reference, on random steerings of every kind; the report; what is shown and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.inference.report import ReportBook, outcomes
from services.inference.sampling import Sampling
from services.inference.sequence import Delta, FinishReason, Triggered
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Abort, Edit, Notify, Operation, Positions, Scope, Steering
from tests.inference.driver import Answer, Request, answer, engine_of
from tests.inference.reference import Forward, Steerer, forward, run
from tests.inference.reference_generation import generate
from tests.inference.steerings import some_request
from tests.inference.tiny import ENDLESS, WITH_END, piece, tiny

CLOSE = 1e-4
"""Comparisons nearer to their thresholds than this are decided by rounding, so such a request is no test."""
PROMPT = (11, 40, 7, 99, 180, 3, 64, 201)
ALWAYS = Comparison((FeatureKey("relu", 1),), Operator.GREATER_OR_EQUAL, 0.0)


@pytest.mark.parametrize("number", range(60))
def test_a_random_request_answers_as_the_reference(number: int) -> None:
    """Tokens, log probabilities, events, aborts, the report and the scopes' counts."""
    request = some_request(number, longest_prompt=20, tokens=6)
    expected = generate(tiny(), request.prompt, request.steering, request.sampling)
    if expected.forward.margin < CLOSE:
        pytest.skip("a comparison is too close to call")
    given = answer(engine_of(tiny()), replace(request, report=True), tiny().saes)
    assert given.tokens == expected.tokens
    assert given.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert given.triggered == expected.events
    assert given.reason is (FinishReason.LENGTH if expected.aborted is None else FinishReason.ABORTED)
    assert given.finished.abort_message == (expected.aborted or "")
    if expected.aborted is None:
        # the last token is run only where scopes may act on it
        ran = len(request.prompt) + 6 - (0 if request.steering.scopes else 1)
        tokens = [*request.prompt, *given.tokens][:ran]
        compare_reports(given, run(tiny(), request.steering, tokens, len(request.prompt)))


def compare_reports(given: Answer, expected: Forward) -> None:
    counts = {path: (len(tried), sum(tried.values())) for path, tried in expected.acted.items()}
    assert {path: count for path, count in given.finished.scope_counts.items() if count[0]} == counts
    book = given.finished.report
    if book is None:
        return
    compiled = given.sequence.steered.compiled
    assert compiled is not None
    assert book.clipped == expected.clipped
    changes = [change for change in expected.relative if change > 1e-6]
    if changes:
        assert book.relative_max == pytest.approx(max(changes), rel=1e-3)
    sums = {(edit.path, id(edit.edit)): total for edit, total in book.totals.items() if total.tokens}
    by_number = {
        (path, id(edit)): expected.sums[path, number]
        for path, inner, _ in compiled.steering.walk()
        for number, edit in enumerate(inner.edits)
        if (path, number) in expected.sums
    }
    assert sums.keys() == by_number.keys()
    for key, total in sums.items():
        assert total.tokens == by_number[key].tokens
        assert total.before == pytest.approx(by_number[key].before, abs=1e-2, rel=1e-3)
        assert total.after == pytest.approx(by_number[key].after, abs=1e-2, rel=1e-3)


def ask(steering: Steering, sampling: Sampling, end: bool = False, report: bool = False) -> Answer:
    engine = engine_of(tiny(), vocabulary=WITH_END if end else ENDLESS)
    return answer(engine, Request(PROMPT, steering, sampling, report), tiny().saes)


def test_the_report_states_asked_and_delivered_in_every_unit() -> None:
    edits = (
        Edit(FeatureKey("relu", 1), Operation.NUDGE, 0.5),
        Edit(FeatureKey("relu", 2), Operation.PIN, 1.5),
        Edit(FeatureKey("gated", 3), Operation.SCALE, 2.0),
    )
    given = ask(Steering(edits, max_delta=5.0), Sampling(temperature=0, max_tokens=6), report=True)
    expected = run(tiny(), Steering(edits, max_delta=5.0), [*PROMPT, *given.tokens[:-1]], len(PROMPT))
    book, compiled = given.finished.report, given.sequence.steered.compiled
    assert isinstance(book, ReportBook)
    assert compiled is not None
    nudged, pinned, scaled = sorted(outcomes(compiled, book), key=lambda o: edits.index(o.edit.edit))
    relu = tiny().saes["relu"]
    assert relu.scales is not None
    for outcome, number in ((nudged, 0), (pinned, 1), (scaled, 2)):
        assert outcome.tokens == expected.sums[(), number].tokens == len(PROMPT) + 4
    assert nudged.requested.strength == pytest.approx(0.5)
    norm = float(relu.weights.W_dec[1].norm())
    assert nudged.requested.raw == pytest.approx(0.5 * 0.3 * tiny().medians[1] / norm)
    rise = (expected.sums[(), 0].after - expected.sums[(), 0].before) / nudged.tokens
    assert nudged.delivered.raw == pytest.approx(rise, rel=1e-3)
    assert nudged.delivered.activation == pytest.approx(rise / float(relu.scales[1]), rel=1e-3)
    assert pinned.requested.activation == pytest.approx(1.5)
    assert pinned.requested.raw == pytest.approx(1.5 * float(relu.scales[2]))
    assert pinned.delivered.raw == pytest.approx(expected.sums[(), 1].after / pinned.tokens, rel=1e-3)
    assert scaled.requested.activation == 2.0
    ratio = expected.sums[(), 2].after / expected.sums[(), 2].before
    assert scaled.delivered.activation == pytest.approx(ratio, rel=1e-3)
    assert book.relative_sum / book.rows == pytest.approx(
        sum(expected.relative) / len(expected.relative), rel=1e-3
    )
    assert book.edited == set(range(1, len(PROMPT) + 5))


def test_a_report_changes_no_bit_of_the_answer() -> None:
    for number in range(5):
        request = some_request(number, longest_prompt=20, tokens=4)
        one, two = (
            answer(engine_of(tiny()), replace(request, report=report), tiny().saes)
            for report in (False, True)
        )
        assert (one.tokens, one.logprobs, one.triggered) == (two.tokens, two.logprobs, two.triggered)


def test_events_stand_before_the_delta_of_their_token() -> None:
    given = ask(Steering(scopes=(Scope(ALWAYS, Notify("on")),)), Sampling(temperature=0, max_tokens=4))
    order = [
        e.position if isinstance(e, Triggered) else "delta"
        for e in given.events
        if isinstance(e, Triggered | Delta)
    ]
    last = len(PROMPT) - 1
    assert order[:last] == list(range(1, last + 1))
    assert order[last:] == [8, "delta", 9, "delta", 10, "delta", 11, "delta"]


def first_byte_of_a_character() -> Sampling:
    """A stop string of which the answer's second token is a beginning, so that its text is held back."""
    plain = ask(Steering(), Sampling(temperature=0, max_tokens=4))
    text = [piece(token).decode("utf-8", "replace") for token in plain.tokens]
    assert text[1]
    return Sampling(temperature=0, max_tokens=2, stop=(text[1] + "never comes",))


@pytest.mark.parametrize("scopes", [(), (Scope(ALWAYS, Notify()),)], ids=["plain", "with scopes"])
def test_text_that_was_held_back_is_sent_at_the_last_token(scopes: tuple[Scope, ...]) -> None:
    sampling = first_byte_of_a_character()
    free = ask(Steering(), replace(sampling, stop=()))
    held = ask(Steering(scopes=scopes), sampling)
    assert held.tokens == free.tokens
    assert held.text == free.text == b"".join(map(piece, free.tokens)).decode("utf-8", "replace")


def test_text_that_was_held_back_is_sent_before_an_abort() -> None:
    """The third token matches; the second one's text waits for a stop string."""
    sampling = replace(first_byte_of_a_character(), max_tokens=8)
    free = ask(Steering(), replace(sampling, stop=(), max_tokens=3))
    steerer = Steerer(tiny(), Steering(), len(PROMPT), None)
    forward(tiny(), [*PROMPT, *free.tokens], steerer.at_block)
    first, second, third = (steerer.raw["jump"][len(PROMPT) + n] for n in range(3))
    index = next(n for n in range(40) if third[n] > 0 and not first[n] and not second[n])
    seen = Comparison((FeatureKey("jump", index),), Operator.GREATER, 0.0)
    given = ask(Steering(scopes=(Scope(seen, Abort("no")),), positions=Positions.GENERATED), sampling)
    assert given.reason is FinishReason.ABORTED
    assert given.tokens == free.tokens[:2]
    assert given.text == b"".join(map(piece, given.tokens)).decode("utf-8", "replace")


def test_an_end_token_stops_the_answer_and_is_not_shown() -> None:
    """Sampled hot, so that some seed draws it early."""
    for seed in range(200):
        given = ask(Steering(), Sampling(temperature=3.0, max_tokens=40, seed=seed), end=True)
        if given.reason is FinishReason.STOP:
            break
    free = ask(Steering(), Sampling(temperature=3.0, max_tokens=40, seed=seed, ignore_end=True), end=True)
    assert free.tokens[: len(given.tokens)] == given.tokens
    assert free.tokens[len(given.tokens)] == 299
    assert free.reason is FinishReason.LENGTH


@pytest.mark.parametrize("scopes", [(), (Scope(ALWAYS, Notify()),)], ids=["plain", "with scopes"])
def test_a_stop_string_ends_the_answer_before_itself(scopes: tuple[Scope, ...]) -> None:
    free = ask(Steering(), Sampling(temperature=0, max_tokens=8))
    whole = b"".join(map(piece, free.tokens)).decode("utf-8", "replace")
    stop = whole[2:5]
    given = ask(Steering(scopes=scopes), Sampling(temperature=0, max_tokens=8, stop=(stop,)))
    assert given.reason is FinishReason.STOP
    assert given.finished.stop == stop
    assert given.text == whole[: whole.index(stop)]
