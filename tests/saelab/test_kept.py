from __future__ import annotations

import torch

from services.saelab.kept import Kept

FEATURES, COUNT, CONTEXT = 7, 5, 3


def test_what_is_kept_is_the_largest_of_all_that_came() -> None:
    generator = torch.Generator().manual_seed(0)
    kept = Kept(FEATURES, COUNT, CONTEXT)
    everything: list[tuple[int, float, int]] = []
    for batch in range(20):
        size = batch * 3  # The first has nothing.
        feature = torch.randint(
            0, FEATURES - 1, (size,), generator=generator
        )  # The last feature never comes.
        key = torch.rand(size, generator=generator)
        place = torch.arange(size) + 1000 * batch
        around = place[:, None].float() + torch.arange(CONTEXT)
        kept.add(feature, key, place, lambda chosen, around=around: around[chosen])  # type: ignore[misc]
        everything += zip(feature.tolist(), key.tolist(), place.tolist(), strict=True)
    for feature in range(FEATURES):
        best = sorted((row for row in everything if row[0] == feature), key=lambda row: -row[1])[:COUNT]
        missing = COUNT - len(best)
        assert kept.keys[feature].tolist() == [row[1] for row in best] + [-torch.inf] * missing
        assert kept.places[feature].tolist() == [row[2] for row in best] + [-1] * missing
        for rank, row in enumerate(best):
            assert kept.contexts[feature, rank].tolist() == [row[2], row[2] + 1, row[2] + 2]


def test_of_equal_keys_the_first_stays() -> None:
    kept = Kept(1, 2, 1)
    for place in range(4):
        kept.add(
            torch.zeros(1, dtype=torch.long),
            torch.ones(1),
            torch.tensor([place]),
            lambda chosen: torch.zeros(len(chosen), 1),
        )
    assert kept.places.tolist() == [[0, 1]]


def test_contexts_are_asked_for_only_where_something_is_kept() -> None:
    kept = Kept(1, 1, 1)
    asked: list[int] = []

    def contexts(chosen: torch.Tensor) -> torch.Tensor:
        asked.append(len(chosen))
        return torch.zeros(len(chosen), 1)

    feature = torch.zeros(50, dtype=torch.long)
    kept.add(feature, torch.arange(50.0), torch.arange(50), contexts)
    kept.add(feature, torch.arange(50.0) - 1, torch.arange(50), contexts)
    assert asked == [1]
    assert kept.places.tolist() == [[49]]


def test_it_reads_back_from_its_tensors() -> None:
    kept = Kept(2, 3, 4)
    kept.add(
        torch.tensor([1]), torch.tensor([2.0]), torch.tensor([5]), lambda chosen: torch.ones(len(chosen), 4)
    )
    again = Kept.of("x", kept.tensors("x"))
    assert again.count == 3
    assert torch.equal(again.keys, kept.keys)
    assert torch.equal(again.places, kept.places)
    assert torch.equal(again.contexts, kept.contexts)
