"""The processes' log lines, as `hearth up` shows them."""

from __future__ import annotations

import os

from rich.console import Console

from services.cli.render.logs import LogLines


def test_log_lines_are_for_people_on_a_terminal_and_unchanged_elsewhere() -> None:
    line = '{"time": "2026-01-01T12:00:00+00:00", "level": "WARNING", "message": "slow", "method": "/a.B/Generate"}'
    for terminal, shows in ((True, "warning: slow  method=Generate"), (False, line)):
        console = Console(width=80, record=True, force_terminal=terminal, file=open(os.devnull, "w"))  # noqa: SIM115
        LogLines(console, ["inference"]).show("inference", line)
        text = console.export_text()
        assert text.startswith("inference │ ")
        assert shows in text
