"""The report of a run, in Markdown beside its pictures and its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.report import number, table
from bench.soak.analysis import Outcome, fairness, growths, judge, latencies, processor, recoveries
from bench.soak.journal import Record, read
from bench.soak.platform import LOG, faults
from bench.soak.plots import NAMES, draw

FILE = "report.md"
BEGIN, END = "<!-- soak: python -m bench.soak --fill -->", "<!-- end of soak -->"
"""Between these the summary stands in docs/capacity.md."""


def write(folder: Path) -> Outcome:
    """Writes the report and its pictures from the records in a folder."""
    records = read(folder)
    found = faults(folder / LOG) if (folder / LOG).exists() else Counter()
    outcome = judge(records, found)
    draw(records, folder)
    pictures = "\n\n".join(f"![{name.removesuffix('.png')}]({name})" for name in NAMES)
    parts = [
        "# The big test",
        _about(records),
        verdicts(outcome),
        pictures,
        _errors(outcome, found),
        _latencies(records),
        _fairness(records),
        _memory(records),
        _misfortunes(records),
        _losses(outcome),
    ]
    (folder / FILE).write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")
    return outcome


def fill(folder: Path, document: Path) -> None:
    """Puts a run's summary between its marks in a document."""
    records = read(folder)
    found = faults(folder / LOG) if (folder / LOG).exists() else Counter()
    summary = "\n\n".join([_about(records), verdicts(judge(records, found)), _latencies(records)])
    before, _, rest = document.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text(f"{before}{BEGIN}\n\n{summary}\n\n{END}{after}", "utf-8")


def verdicts(outcome: Outcome) -> str:
    """The claims, and what was seen."""
    words = {True: "holds", False: "**FAILS**", None: "not seen"}
    rows = [[each.claim, each.seen, words[each.holds]] for each in outcome.verdicts]
    return table(["claim", "seen", "verdict"], rows)


def _about(records: Sequence[Record]) -> str:
    about = next(record for record in records if record["kind"] == "run")
    done = [record for record in records if record["kind"] == "done" and record["who"] >= 0]
    return "\n\n".join(
        [
            f"    {about['command']}",
            f"{about['date']}, at {about['commit']}: {about['researchers']} researchers ({about['ways']}) for "
            f"{number(about['minutes'])} minutes, seed {about['seed']}, think time {number(about['think'])} s on "
            f"average, {about['database']}; {len(done):,} steps done, "
            f"{len(done) / about['minutes'] / 60:.2f} a second.",
            about["machine"],
        ]
    )


def _errors(outcome: Outcome, found: Counter[str]) -> str:
    rows = [[step, why, code, str(count)] for (why, code, step), count in sorted(outcome.errors.items())]
    text = "## Attempts that failed\n\nEach was tried again, after the time that the answer named.\n\n"
    text += table(["step", "kind", "code", "attempts"], rows) if rows else "None."
    if found:
        logged = table(
            ["in the processes' logs", "times"], [[what, str(n)] for what, n in found.most_common(30)]
        )
        text += f"\n\n{logged}"
    return text


def _latencies(records: Sequence[Record]) -> str:
    rows = [
        [
            f"{each.step}, {each.way}",
            f"{each.count:,}",
            *map(number, (each.p50, each.p95, each.p99)),
            str(each.retried),
        ]
        for each in latencies(records)
    ]
    header = [
        "step, way; seconds with all waits and retries",
        "done",
        "p50",
        "p95",
        "p99",
        "tried more than once",
    ]
    return table(header, rows)


def _fairness(records: Sequence[Record]) -> str:
    rows = [[what, f"{value:.3f}"] for what, value in fairness(records).items()]
    return f"## Fairness\n\n{table(['Jain’s index of', 'index'], rows)}"


def _memory(records: Sequence[Record]) -> str:
    busy = processor(records)
    rows = [
        [
            f"{each.name} ({each.pid})",
            f"{each.seconds:.0f}",
            f"{each.begin / 2**20:.0f}",
            f"{each.share:+.1%}" + ("" if each.judged else " (too short)"),
            f"{busy.get(each.name, 0):.2f}",
        ]
        for each in growths(records)
    ]
    header = ["process", "seconds after warm-up", "MiB then", "growth", "cores busy, all its lives"]
    return f"## Memory and processors\n\n{table(header, rows)}"


def _misfortunes(records: Sequence[Record]) -> str:
    rows = [
        [
            f"{each.what} {each.target}",
            f"{each.at:.0f}",
            "never" if each.seconds is None else f"{each.seconds:.1f}",
        ]
        for each in recoveries(records)
    ]
    rows += [
        ["search by meaning, after a kill of features", f"{each['t']:.0f}", f"{each['seconds'] or 0:.1f}"]
        for each in records
        if each["kind"] == "searches"
    ]
    if not rows:
        return ""
    header = ["what went wrong", "at, s", "first good answer after, s"]
    return f"## Recovery\n\n{table(header, rows)}"


def _losses(outcome: Outcome) -> str:
    lines = [f"- lost {r['what']} {r['id']}: {r['how']}" for r in outcome.lost]
    lines += [f"- crossed, researcher {r['who']}, {r['step']}: {r['how']}" for r in outcome.crossed]
    lines += [
        f"- {r['kind']} at {r['t']:.0f} s, researcher {r['who']}, {r['way']}, {r['step']}: "
        f"{r.get('code', '')} {r.get('message', '')}"
        for r in outcome.wrong
    ]
    return "## What was lost, crossed or wrong\n\n" + ("\n".join(lines[:200]) if lines else "Nothing.")
