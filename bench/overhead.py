"""What steering costs at the hook: each kind of edit beside the textbook splice, as a share of a decode step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from bench.measures import decode_rate
from bench.peers.process import Peers
from bench.report import number, table
from bench.workload import KINDS, Kind, Request, prompts

TITLE = "Steering overhead at the hook"
ROWS = 32
CONFIGURATIONS = (1, 4, 32, 256)
REPEATS = 200
SPLICE = "textbook splice, decode(encode(h)) + error"

_KINDS: Mapping[str, list[Kind]] = {
    "5 nudges": ["nudge"],
    "5 pins": ["pin"],
    "5 scales": ["scale"],
    "5 conditional nudges": ["condition"],
    "5 of all kinds": list(KINDS),
    SPLICE: [],
}


def run(peers: Peers, rounds: int, quick: bool, tell: Callable[[str], None]) -> str:
    """Measures each kind, and each number of distinct configurations, in alternating rounds."""
    hearth = peers.get("hearth")
    entries = [(label, kinds, ROWS, ROWS) for label, kinds in _KINDS.items()]
    entries += [
        (f"5 of all kinds, 256 rows, {n} configurations", list(KINDS), n, 256) for n in CONFIGURATIONS
    ]
    seconds: dict[str, list[float]] = {label: [] for label, *_ in entries}
    steps: dict[int, list[float]] = {ROWS: []}
    for moment in range(rounds):
        steps[ROWS].append(_step_seconds(peers, f"overhead {moment}", quick))
        for label, kinds, configurations, rows in entries if moment % 2 == 0 else reversed(entries):
            options = {"rows": rows, "kinds": kinds, "configurations": configurations}
            timed = hearth.call("hook_seconds", options={**options, "repeats": 20 if quick else REPEATS})
            seconds[label].append(timed["median"])
            tell(f"overhead round {moment + 1}: {label}: {timed['median'] * 1e6:.0f} us")
    return render(seconds, median(steps[ROWS]))


def render(seconds: Mapping[str, list[float]], step: float) -> str:
    """The table, given the seconds of each entry's rounds and those of an unsteered step of 32 rows."""
    splice = median(seconds[SPLICE])
    rows = []
    for label, values in seconds.items():
        of_32 = "rows" not in label
        share = f"{median(values) / step:.2%}" if of_32 else ""
        cheaper = f"{number(splice / median(values))} times" if of_32 and label != SPLICE else ""
        rows.append([label, number(median(values) * 1e6), share, cheaper])
    explains = (
        f"One decode step of {ROWS} rows, each with five edits of its own; an unsteered step takes "
        f"{number(step * 1e3)} ms. The rows of 256 tell whether the cost grows with "
        "the number of distinct configurations."
    )
    header = ["at the hook", "microseconds", "share of a step", "cheaper than the splice by"]
    return "\n\n".join([f"## {TITLE} (`overhead`)", explains, table(header, rows)])


def _step_seconds(peers: Peers, seed: str, quick: bool) -> float:
    requests = [Request(p, 40 if quick else 64) for p in prompts(seed, ROWS, 64)]
    return ROWS / decode_rate(peers.run("hearth", requests, None, {}))
