"""The big test's own judgement: fairness, memory, recovery, losses, the schedule of what goes wrong, good clients."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.soak.analysis import (
    Growth,
    fairness,
    growths,
    jain,
    judge,
    latencies,
    percentile,
    rates,
    recoveries,
    slope,
)
from bench.soak.journal import Record
from bench.soak.keeping import allowed_labels
from bench.soak.messages import Chat, create_job, get_variant, job, nudge
from bench.soak.patience import Failure, GivenUp, Kind, Who, patiently
from bench.soak.plan import DECK, TARGETS, Options, job_times, schedule, step_seconds, way_of
from bench.soak.ways import _request
from tests.bench.made_records import MIB, done, usage

OPTIONS = Options(
    minutes=20, researchers=250, seed=1, chaos=True, postgres=False, think=None, replays=9, out=Path()
)


def verdict(records: list[Record], beginning: str, logged: Counter[str] | None = None) -> bool | None:
    [found] = [v for v in judge(records, logged or Counter()).verdicts if v.claim.startswith(beginning)]
    return found.holds


def test_jains_index_is_one_where_all_have_the_same_and_one_nth_where_one_has_all() -> None:
    assert jain([3, 3, 3, 3]) == pytest.approx(1)
    assert jain([8, 0, 0, 0]) == pytest.approx(1 / 4)
    assert jain([1, 2, 3]) == pytest.approx(36 / (3 * 14))
    assert jain([]) == 1


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([7.0], 0.99) == 7.0


def test_a_leak_is_told_from_noise_and_from_a_peak() -> None:
    draw = random.Random(1)
    times = [5.0 * n for n in range(200)]
    flat = [(t, 500 * MIB * (1 + draw.gauss(0, 0.01))) for t in times]
    peak = [(t, 800 * MIB if 300 < t < 360 else 500 * MIB) for t in times]
    leak = [(t, 500 * MIB * (1 + 0.1 * t / times[-1])) for t in times]
    for points, share in ((flat, 0.0), (peak, 0.0), (leak, 0.1)):
        assert slope(points) * times[-1] / (500 * MIB) == pytest.approx(share, abs=0.005)


def test_memory_is_judged_by_each_life_of_a_process_after_its_warm_up() -> None:
    warm = [usage(t, 1, (100 + 2 * t) * MIB) for t in range(0, 241, 5)]
    calm = [usage(t, 1, 580 * MIB) for t in range(241, 541, 5)]
    again = [usage(t, 2, 300 * MIB) for t in range(545, 760, 5)]
    [life] = growths(warm + calm + again)  # the second life ended before its warm-up did
    assert (life.pid, life.judged) == (1, True)
    assert life.share == pytest.approx(0, abs=0.01)
    assert verdict(warm + calm, "memory") is True
    leaking = [usage(t, 1, (580 + 0.2 * (t - 241)) * MIB) for t in range(241, 541, 5)]
    assert verdict(warm + leaking, "memory") is False
    assert verdict(warm, "memory") is None
    assert not Growth("inference", 1, 60, MIB, 1.0).judged


def test_users_of_like_demand_are_compared_and_floods_at_half_time() -> None:
    records = [done(who) for who in range(4) for _ in range(5)]
    served = [{"t": 1.0, "kind": "served", "flood": "a", "owner": n % 2} for n in range(40)]
    assert fairness(records + served) == {
        "steps taken, grpc": pytest.approx(1),
        "flood 1, served at half time": pytest.approx(1),
    }
    greedy = [{"t": 1.0, "kind": "served", "flood": "a", "owner": n // 20} for n in range(40)]
    assert fairness(greedy)["flood 1, served at half time"] == pytest.approx(0.5)
    assert verdict(records + served, "Jain") is True
    assert verdict(records + greedy, "Jain") is False
    lonely = [*records, *records, {**done(4), "kind": "given up"}]  # who got nothing counts too
    assert fairness(lonely)["steps taken, grpc"] == pytest.approx(4 / 5)
    assert fairness([done(0), done(1), done(1)]) == {}  # too few to tell


def test_recovery_is_the_slowest_first_good_answer_after_a_kill() -> None:
    def killed(target: str, seconds: float | None) -> list[Record]:
        fields = {"what": "kill", "target": target}
        return [
            {"t": 10.0, "kind": "misfortune", **fields},
            {"t": 20.0, "kind": "over", **fields, "seconds": seconds},
        ]

    records = killed("inference", 9.0) + killed("worker", 14.0)
    assert [each.seconds for each in recoveries(records)] == [9.0, 14.0]
    assert verdict(records, "each killed process") is True
    assert verdict(records + killed("broker", 15.1), "each killed process") is False
    assert verdict(records + killed("broker", None), "each killed process") is False
    assert verdict([], "each killed process") is None


def test_what_is_lost_crossed_or_wrong_fails_its_claim() -> None:
    checked = [{"t": 9.0, "kind": "checked", "what": what, "count": 3} for what in ("variants", "jobs")]
    checked.append({"t": 9.0, "kind": "checked", "what": "texts asked again alone", "count": 3})
    claims = ("no acknowledged job", "no stream", "nothing acknowledged", "no INTERNAL")
    assert [verdict(checked, claim) for claim in claims] == [True] * 4
    assert verdict([], "nothing acknowledged") is None
    for what, claim in (
        ("job", claims[0]),
        ("events", claims[0]),
        ("variant", claims[2]),
        ("label", claims[2]),
    ):
        lost = {"t": 9.0, "kind": "lost", "what": what, "id": "7", "how": "gone"}
        assert verdict([*checked, lost], claim) is False
    assert verdict([*checked, {"t": 9.0, "kind": "crossed"}], claims[1]) is False
    wrong = {"t": 9.0, "kind": "failed", "why": "wrong", "code": "INTERNAL", "step": "chat", "way": "grpc"}
    assert verdict([*checked, wrong], claims[3]) is False
    assert verdict(checked, claims[3], Counter({"features: a traceback": 1})) is False


def test_who_is_refused_must_be_told_when_to_come_back_and_be_served() -> None:
    flood: Record = {"t": 1.0, "kind": "misfortune", "what": "flood", "target": "inference"}
    refused: Record = {
        "t": 1.0,
        "kind": "failed",
        "why": "refused",
        "code": "RESOURCE_EXHAUSTED",
        "step": "flood",
        "way": "grpc",
        "retry_after": 2.0,
    }
    assert verdict([flood, refused], "queues") is True
    assert verdict([flood], "queues") is False  # nobody was refused: the queue has no bound, or was not full
    assert verdict([flood, {**refused, "retry_after": None}], "queues") is False
    assert verdict([flood, refused, {"t": 2.0, "kind": "unserved", "flood": "a"}], "queues") is False


def test_a_label_may_be_the_one_acknowledged_last_or_one_tried_since() -> None:
    def labelled(kind: str, value: str) -> Record:
        return {"t": 1.0, "kind": kind, "what": "label", "id": "5", "value": value}

    first = [labelled("trying", "a"), labelled("kept", "a")]
    assert allowed_labels(first) == {"5": ["a"]}
    unanswered = [*first, labelled("trying", "b")]
    assert allowed_labels(unanswered) == {"5": ["a", "b"]}
    assert allowed_labels([*unanswered, labelled("trying", "c"), labelled("kept", "c")]) == {"5": ["c"]}


def test_everything_goes_wrong_once_before_anything_does_again_and_a_seed_repeats_it() -> None:
    found = schedule(OPTIONS)
    assert schedule(OPTIONS) == found
    assert schedule(replace(OPTIONS, seed=2)) != found
    assert schedule(replace(OPTIONS, chaos=False)) == []
    once = [each.name for each in found[: len(TARGETS) + 4]]
    assert len(set(once)) == len(once)
    assert {f"kill {target}" for target in TARGETS} < set(once)
    assert all(later.at - earlier.at >= 33 for earlier, later in pairwise(found))
    assert OPTIONS.warm_up <= found[0].at
    assert found[-1].at <= 0.65 * OPTIONS.seconds  # the rest is for memory at rest
    assert "crash postgres" in {each.name for each in schedule(replace(OPTIONS, postgres=True))}


def test_researchers_think_as_long_as_the_engine_needs_and_go_all_ways() -> None:
    assert sum(DECK.values()) == 20
    assert OPTIONS.think_seconds == pytest.approx(250 * step_seconds() / 0.25)
    assert replace(OPTIONS, think=3.0).think_seconds == 3.0
    ways = Counter(way_of(number, 250) for number in range(250))
    assert ways == {"sdk": 10, "http": 120, "grpc": 120}
    assert set(Counter(way_of(number, 4) for number in range(4))) == {"sdk", "http", "grpc"}
    assert all(at < OPTIONS.seconds - 40 for times in job_times(OPTIONS).values() for at in times)


def test_requests_take_the_routes_of_the_rest_api() -> None:
    assert _request("variants", "GetVariant", get_variant("v1")) == (
        "GET",
        "/hearth/v1/variants/v1",
        {},
        None,
    )
    verb, path, query, body = _request(
        "autosteer", "CreateAutoSteerJob", create_job(job("m", "b", 5, 1), "r")
    )
    assert (verb, path, query) == ("POST", "/hearth/v1/autosteer/jobs", {})
    assert body["requestId"] == "r"


def test_a_chat_that_was_written_down_is_the_same_chat() -> None:
    chat = Chat("Who?", 7, 12, nudge(3, 0.25))
    assert Chat.of(chat.as_json()).message("m") == chat.message("m")
    assert chat.body("m", "v1")["model"] == "variant:v1"


class Written:
    """A journal that only remembers."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def write(self, kind: str, **fields: Any) -> None:
        self.kinds.append(kind)


async def test_a_good_client_comes_back_after_the_time_it_is_told_and_not_after_what_is_wrong() -> None:
    answers: list[Failure | str] = [
        Failure(Kind.REFUSED, "429", retry_after=0.001),
        Failure(Kind.AWAY, "503", retry_after=0.001),
        "served",
        Failure(Kind.WRONG, "500"),
    ]

    async def call() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Failure):
            raise answer
        return answer

    journal = Written()
    assert await patiently(journal, Who(1, "grpc"), "chat", call) == "served"
    with pytest.raises(GivenUp):
        await patiently(journal, Who(1, "grpc"), "chat", call)
    assert journal.kinds == ["failed", "failed", "done", "failed", "given up"]


def test_steps_are_summed_up_by_what_and_how() -> None:
    records = [done(0, seconds=1.0, t=1.0), done(1, seconds=3.0, t=7.0, tries=2), done(2, "search", 0.1, 8.0)]
    chat, search = latencies(records)
    assert (chat.step, chat.count, chat.p50, chat.p99, chat.retried) == ("chat", 2, 1.0, 3.0, 1)
    assert (search.step, search.count) == ("search", 1)
    assert rates(records, 5.0) == ([2.5, 7.5], [0.2, 0.4], [0.0, 0.0])
