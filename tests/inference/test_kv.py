"""The KV cache: buckets, moves, and lanes that carry nothing over from their last owner."""

from __future__ import annotations

import torch

from services.inference.kv import KvCache


def cache() -> KvCache:
    return KvCache(2, 1, 4, 1000, torch.float32, torch.device("cpu"))


def test_a_sequence_lives_in_the_smallest_bucket_that_holds_it() -> None:
    kv = cache()
    assert kv.capacities == [128, 256, 512, 1024]
    assert [kv.capacity_for(n) for n in (1, 128, 129, 512, 513, 1000)] == [128, 128, 256, 512, 1024, 1024]


def test_a_move_to_the_next_bucket_keeps_what_stood_there() -> None:
    kv = cache()
    lane = kv.acquire(100)
    keys, values = kv.lane(lane)
    keys[:, :, :128], values[:, :, :128] = torch.randn(2, 2, 1, 128, 4)
    before = [t.clone() for t in kv.lane(lane)]
    assert kv.move(lane, 127, 128) is lane
    moved = kv.move(lane, 128, 129)
    assert (moved.capacity, kv.lanes_in_use) == (256, 1)
    for old, new in zip(before, kv.lane(moved), strict=True):
        assert torch.equal(new[:, :, :128], old)
        assert not new[:, :, 128:].any()


def test_growing_a_bucket_keeps_its_lanes() -> None:
    kv = cache()
    lanes = []
    for number in range(9):
        lanes.append(kv.acquire(10))
        kv.lane(lanes[-1])[0].fill_(number + 1)
    assert [float(kv.lane(lane)[0].mean()) for lane in lanes] == list(range(1, 10))
    assert kv.lanes_in_use == 9


def test_a_new_sequence_takes_the_lowest_free_lane() -> None:
    kv = cache()
    lanes = [kv.acquire(10) for _ in range(4)]
    for number in (2, 0):
        kv.release(lanes[number], 10)
    assert [kv.acquire(10).index for _ in range(3)] == [0, 2, 4]


def test_a_released_lane_is_zero_even_after_a_nan() -> None:
    kv = cache()
    lane = kv.acquire(10)
    for tensor in kv.lane(lane):
        tensor.fill_(float("nan"))
    kv.release(lane, lane.capacity)
    again = kv.acquire(10)
    assert again.index == lane.index
    assert all(not tensor.any() for tensor in kv.lane(again))
    assert kv.lanes_in_use == 1


def test_a_lane_that_was_left_by_a_move_is_zero() -> None:
    kv = cache()
    lane = kv.acquire(128)
    for tensor in kv.lane(lane):
        tensor.fill_(1)
    kv.move(lane, 128, 129)
    assert all(not tensor.any() for tensor in kv.lane(kv.acquire(128)))
