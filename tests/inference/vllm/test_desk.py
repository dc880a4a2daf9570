"""Steering inside a worker of vLLM, without vLLM: the same stream as in the torch engine, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from services.errors import EngineUnsupported
from services.inference.answers import Vocabulary
from services.inference.compiled import compile_steering
from services.inference.engine_thread import EngineLimits
from services.inference.hooks import Segment, SteeredSequence, SteeringHook
from services.inference.sae.base import Sae
from services.inference.vllm.desk import Desk, Run, hollow
from services.inference.vllm.engine import VllmEngine, salt
from services.inference.vllm.orders import Order
from services.inference.vllm.runtime import Runtime
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Notify, Operation, Positions, Scope, Steering
from tests.inference.driver import Request, sequence_of
from tests.inference.tiny import D_MODEL, piece, tiny

NUDGE = Edit(FeatureKey("relu", 4), Operation.NUDGE, 0.5)
PIN = Edit(FeatureKey("relu", 9), Operation.PIN, 1.5)
LATE = Edit(FeatureKey("gated", 3), Operation.NUDGE, 0.5)
SOMETIMES = Comparison((FeatureKey("relu", 1),), Operator.GREATER, 0.0)
TOLD = Steering((PIN,), (Scope(SOMETIMES, Notify("on")), Scope(SOMETIMES, Steering((NUDGE,)), latched=True)))


def stream(tokens: int, seed: int = 0) -> Tensor:
    """A residual stream at block 1, of usual norms."""
    h = torch.randn(tokens, D_MODEL, generator=torch.Generator().manual_seed(seed))
    return h / h.norm(dim=-1, keepdim=True) * tiny().medians[1]


def desk(*orders: Order, saes: dict[str, Sae] | None = None) -> Desk:
    one = Desk(saes or tiny().saes, tiny().medians, torch.device("cpu"))
    for order in orders:
        one.enter(f"request {order.id}", order)
    return one


def passed(
    one: Desk, h: Tensor, *runs: tuple[str, int, int], residual: Tensor | None = None, layer: int = 1
) -> Tensor:
    """The stream after a block of a pass over (order, first position, tokens)."""
    row, listed = 0, []
    for name, position, length in runs:
        listed.append(Run(f"request {name}", row, length, position))
        row += length
    one.begin(listed)
    hidden = h.clone() if residual is None else h - residual
    rest = None if residual is None else residual.clone()
    one.at_block(layer, hidden, rest)
    return hidden if rest is None else hidden + rest


def expected(steering: Steering, h: Tensor, position: int) -> Tensor:
    """The same by the torch engine's hook."""
    h = h.clone()
    segment = Segment(SteeredSequence(compile_steering(steering, tiny().saes)), 0, len(h), position, False)
    SteeringHook([segment], tiny().medians)(1, h)
    return h


def test_each_request_is_edited_by_its_own_order_alone() -> None:
    h = stream(9)
    one = desk(Order("a", 4, Steering((PIN,))), Order("b", 5, Steering((NUDGE,))))
    after = passed(one, h, ("a", 0, 4), ("b", 3, 5))
    assert torch.equal(after[:4], expected(Steering((PIN,)), h[:4], 0))
    assert torch.equal(after[4:], expected(Steering((NUDGE,)), h[4:], 3))


def test_rows_of_requests_without_an_order_keep_every_bit() -> None:
    """They lie between others in the pass; their two parts are not touched either."""
    h, residual = stream(9), stream(9, seed=1)
    one = desk(Order("a", 9, Steering((NUDGE,))))
    one.begin([Run("request a", 3, 2, 5)])
    hidden, rest = h.clone(), residual.clone()
    one.at_block(1, hidden, rest)
    others = [0, 1, 2, 5, 6, 7, 8]
    assert torch.equal(hidden[others], h[others])
    assert torch.equal(rest[others], residual[others])
    assert not torch.equal(hidden[3:5] + rest[3:5], (h + residual)[3:5])


def test_the_stream_is_the_sum_of_what_a_block_returns() -> None:
    h, residual = stream(6), stream(6, seed=1)
    after = passed(desk(Order("a", 6, Steering((PIN,)))), h, ("a", 1, 6), residual=residual)
    torch.testing.assert_close(after, expected(Steering((PIN,)), h, 1), atol=1e-5, rtol=1e-5)


def test_a_nudge_of_zero_keeps_the_bits_of_the_sum() -> None:
    zero = Steering((Edit(NUDGE.feature, Operation.NUDGE, 0.0),))
    one, h, residual = desk(Order("a", 6, zero)), stream(6), stream(6, seed=1)
    one.begin([Run("request a", 0, 6, 2)])
    hidden, rest = h.clone(), residual.clone()
    one.at_block(1, hidden, rest)
    assert torch.equal(hidden + rest, h + residual)


def test_what_runs_again_after_a_preemption_is_edited_alike_and_told_once() -> None:
    h = stream(12)
    order = Order("a", 8, TOLD, report=True)
    whole = desk(order)
    wanted = [passed(whole, h[:8], ("a", 0, 8)), passed(whole, h[8:], ("a", 8, 4))]
    all_news = whole.news(["a"], ["a"])["a"]
    again = desk(order)
    passed(again, h[:8], ("a", 0, 8))
    passed(again, h[8:10], ("a", 8, 2))
    first = again.news(["a"], [])["a"]
    after = passed(again, h, ("a", 0, 12))
    second = again.news(["a"], ["a"])["a"]
    torch.testing.assert_close(after, torch.cat(wanted))
    assert sorted(first.triggers + second.triggers) == sorted(all_news.triggers)
    assert {position for position, _ in second.triggers} <= {10, 11}
    assert second.scopes == all_news.scopes
    assert second.report is not None
    assert all_news.report is not None
    assert [e.tokens for e in second.report.edits] == [e.tokens for e in all_news.report.edits]
    assert second.report.edited == all_news.report.edited


@pytest.mark.parametrize(
    ("positions", "changed"), [(Positions.PROMPT, range(1, 8)), (Positions.GENERATED, range(8, 12))]
)
def test_positions_hold_where_prompt_and_answer_run_again_in_one_pass(
    positions: Positions, changed: range
) -> None:
    h = stream(12)
    after = passed(desk(Order("a", 8, Steering((NUDGE,), positions=positions))), h, ("a", 0, 12))
    assert [n for n in range(12) if not torch.equal(after[n], h[n])] == list(changed)


def test_what_is_captured_comes_once_and_in_order_also_of_blocks_without_saes() -> None:
    h = stream(10)
    one = desk(Order("a", 10, captures=(0,)))
    passed(one, h[:4], ("a", 0, 4), layer=0)
    before = one.news(["a"], [])["a"].captured
    passed(one, h, ("a", 0, 10), layer=0)  # preempted in between
    rest = one.news(["a"], [])["a"].captured
    assert torch.equal(torch.cat([c.h for c in [*before, *rest]]), h)
    assert torch.cat([c.live for c in [*before, *rest]]).tolist() == [False] + 9 * [True]


def test_a_worker_without_the_block_of_an_sae_leaves_it_to_the_one_that_has_it() -> None:
    saes = {**tiny().saes, "gated": hollow(tiny().saes["gated"]), "jump": hollow(tiny().saes["jump"])}
    steering, h = Steering((PIN, LATE)), stream(6)
    one = desk(Order("a", 6, steering, report=True), saes=saes)
    assert torch.equal(passed(one, h, ("a", 1, 6)), expected(Steering((PIN,)), h, 1))
    report = one.news([], ["a"])["a"].report
    assert report is not None
    assert [(e.layer, e.tokens) for e in report.edits] == [(1, 6)]


def test_ended_requests_are_forgotten() -> None:
    one = desk(Order("a", 4, Steering((PIN,))), Order("b", 4, Steering((PIN,))))
    one.keep_only(["request b"])
    assert not one.knows("request a")
    assert list(one.news(["a", "b"], [])) == ["b"]


def salted(steering: Steering, **settings: object) -> str:
    sequence = sequence_of(Request((1, 2, 3), steering, **settings), tiny().saes, lambda _: None)  # type: ignore[arg-type]
    compiled = sequence.steered.compiled
    order = Order(
        "7", 3, None if compiled is None else compiled.steering, sequence.steered.report is not None
    )
    return salt(order, sequence)


def test_only_requests_that_change_all_their_tokens_alike_share_cached_keys_and_values() -> None:
    assert salted(Steering()) == "unsteered"
    assert salted(Steering((PIN,))) == salted(Steering((PIN,)))
    assert len({salted(Steering()), salted(Steering((PIN,))), salted(Steering((NUDGE,)))}) == 3
    alone = [
        salted(Steering((PIN,), positions=Positions.GENERATED)),
        salted(Steering((PIN,), positions=Positions.PROMPT)),
        salted(TOLD),
        salted(Steering((PIN,)), report=True),
    ]
    assert set(alone) == {"alone-7"}


def engine(stage_of: dict[str, int]) -> VllmEngine:
    """One that is not started."""
    one = VllmEngine(Runtime(Path(), 64, "float32"), Vocabulary(piece, frozenset()), EngineLimits())
    one._stage_of = stage_of
    return one


def refused(one: VllmEngine, steering: Steering) -> EngineUnsupported:
    with pytest.raises(EngineUnsupported) as refusal:
        one.submit(sequence_of(Request((1, 2, 3), steering), tiny().saes, lambda _: None))
    assert one.pending == 0
    return refusal.value


def test_gates_on_entropy_are_refused_before_anything_runs() -> None:
    error = refused(engine({}), Steering((NUDGE,), min_nudge_entropy=1.0))
    assert error.field == "steering"
    assert "vllm" in error.message


def test_a_scope_over_two_stages_of_the_pipeline_is_refused_and_edits_on_both_are_not() -> None:
    one = engine({"relu": 0, "topk": 0, "gated": 1, "jump": 1})
    across = Steering(scopes=(Scope(SOMETIMES, Notify()), Scope(SOMETIMES, Steering((LATE,)))))
    assert refused(one, across).field == "steering.scopes[1]"
    both = sequence_of(Request((1, 2, 3), Steering((PIN, LATE))), tiny().saes, lambda _: None)
    one.submit(both)
    assert one.pending == 1
