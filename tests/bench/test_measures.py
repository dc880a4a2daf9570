"""From token times to numbers."""

from __future__ import annotations

import math

import pytest

from bench.measures import (
    completion,
    decode_rate,
    first_tokens,
    paired_ratio,
    quantile,
    spread,
    stalls,
    total_rate,
)
from bench.workload import Stream


def test_the_decode_rate_counts_only_the_time_in_which_all_rows_decode() -> None:
    early = Stream(0.0, (1.0, 2.0, 3.0, 4.0))
    late = Stream(0.0, (2.0, 3.0, 4.0, 5.0))
    assert decode_rate([early, late]) == pytest.approx(2 * 2 / (4.0 - 2.0))


def test_the_decode_rate_of_rows_one_after_the_other_leaves_prefill_and_waiting_out() -> None:
    first = Stream(0.0, (5.0, 6.0, 7.0))
    second = Stream(0.0, (20.0, 21.0, 22.0))
    assert decode_rate([first, second]) == pytest.approx(1.0)


def test_the_decode_rate_of_rows_that_never_all_run_is_that_of_the_busiest_time() -> None:
    first, second = Stream(0.0, (1.0, 2.0, 3.0)), Stream(0.0, (2.0, 3.0, 4.0, 5.0))
    third = Stream(0.0, (4.5, 5.5, 6.5))
    assert decode_rate([first, second, third]) == pytest.approx((2 + 1) / (1.0 + 0.5))


def test_one_token_has_no_decode_rate() -> None:
    assert math.isnan(decode_rate([Stream(0.0, (1.0,))]))


def test_the_total_rate_counts_prefill() -> None:
    assert total_rate([Stream(0.0, (3.0, 4.0)), Stream(1.0, (3.0, 4.0))]) == pytest.approx(1.0)


def test_the_time_to_first_token_is_that_of_probes_from_their_arrival() -> None:
    streams = [Stream(0.0, (9.0,)), Stream(1.0, (1.5,), probe=True), Stream(2.0, (4.0,), probe=True)]
    assert first_tokens(streams) == {"median": 1.25, "worst": 2.0}


def test_a_stall_is_the_longest_wait_between_tokens_of_streams_that_already_ran() -> None:
    running = Stream(0.0, (1.0, 2.0, 7.0, 8.0))
    probe = Stream(2.0, (6.5, 30.0), probe=True)
    found = stalls([running, probe])
    assert found["worst"] == 5.0
    assert found["median"] == 1.0
    assert found["long prompt's first token"] == 4.5


def test_completion_is_the_time_until_the_last_token() -> None:
    assert completion([Stream(1.0, (2.0, 9.0)), Stream(3.0, (4.0,))]) == {"all done": 8.0}


def test_a_quantile_is_one_of_the_values() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.0
    assert quantile([1.0], 0.99) == 1.0


def test_a_spread_has_the_median_and_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0]) == spread([1.0, 2.0, 3.0])
    found = spread([3.0, 1.0, 8.0])
    assert (found.median, found.low, found.high, found.rounds) == (3.0, 1.0, 8.0, 3)


def test_a_ratio_pairs_rounds_so_that_a_slow_minute_cancels() -> None:
    ours, theirs = [100.0, 50.0, 100.0], [50.0, 25.0, 50.0]
    assert paired_ratio(ours, theirs, higher_is_better=True) == spread([2.0, 2.0, 2.0])
    assert paired_ratio([1.0], [4.0], higher_is_better=False).median == 4.0


def test_rounds_that_do_not_pair_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0], higher_is_better=True)
