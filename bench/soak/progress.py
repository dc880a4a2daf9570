"""What a run shows while it lasts: a panel on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque

from rich.console import Console
from rich.live import Live
from rich.table import Table

from bench.soak.analysis import percentile
from bench.soak.journal import Record
from bench.soak.plan import Options

LINE_SECONDS = 30.0
RECENT = 200
"""Steps whose median is shown."""


class Progress:
    """Listens to the journal."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._console = Console(file=sys.stderr)
        self._live = (
            Live(self, console=self._console, refresh_per_second=2) if self._console.is_terminal else None
        )
        self._counts: Counter[str] = Counter()
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._memory: dict[str, float] = {}
        self._now = 0.0
        self._told = time.monotonic()
        self._stage = "starting"

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def says(self, stage: str) -> None:
        """What the run is at now."""
        self._stage = stage
        if not self._live:
            self._console.print(stage, highlight=False, soft_wrap=True)

    def hear(self, record: Record) -> None:
        """Takes in a record."""
        kind = record["kind"]
        self._now = max(self._now, record["t"])
        self._counts[record["why"] if kind == "failed" else kind] += 1
        if kind == "done":
            self._recent.append(record["seconds"])
        elif kind == "usage":
            self._memory = {name: resident / 2**20 for name, (_, resident, _) in record["processes"].items()}
        elif kind == "misfortune":
            self.says(f"{record['t']:.0f} s: {record['what']} {record['target']}")
        elif kind == "over":
            seconds = "never" if record["seconds"] is None else f"{record['seconds']:.1f} s"
            answered = "" if record["what"] == "flood" else f", first good answer after {seconds}"
            self.says(f"{record['t']:.0f} s: {record['what']} {record['target']} is over{answered}")
        elif kind == "checked":
            self.says(f"{record['count']} {record['what']} looked for")
        elif kind in ("lost", "crossed", "given up") or (kind == "failed" and record["why"] == "wrong"):
            self._console.print(f"{record}", style="red", highlight=False, markup=False, soft_wrap=True)
        if not self._live and time.monotonic() - self._told > LINE_SECONDS:
            self._told = time.monotonic()
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _line(self) -> str:
        count = self._counts
        usual = f"{percentile(list(self._recent), 0.5):.1f} s" if self._recent else "none"
        memory = ", ".join(f"{name} {value:.0f}" for name, value in sorted(self._memory.items()))
        return (
            f"{self._now:.0f} of {self._options.seconds:.0f} s: {count['done']:,} steps (median of late {usual}), "
            f"{count['refused']} refused, {count['away']} away, {count['late']} late, {count['wrong']} wrong, "
            f"{count['lost']} lost, {count['crossed']} crossed; MiB: {memory}"
        )

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_row(f"[bold]{self._stage}[/bold]")
        grid.add_row(self._line())
        return grid
