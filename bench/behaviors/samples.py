"""Every text behind the tables, one JSON object a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.behaviors.outcome import Outcome
from services.autosteer.codec import to_json
from services.autosteer.spec import Validation

PLAIN_BYTES = 1 << 20
"""A larger file is compressed."""


def write(outcomes: Sequence[Outcome], base: Path) -> Path:
    """Writes `base`.jsonl, or `base`.jsonl.gz, and returns which."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(outcomes))
    content = text.encode("utf-8")
    plain, packed = base.with_suffix(".jsonl"), base.with_suffix(".jsonl.gz")
    compress = len(content) > PLAIN_BYTES
    path = packed if compress else plain
    (plain if compress else packed).unlink(missing_ok=True)
    path.write_bytes(gzip.compress(content, 9, mtime=0) if compress else content)
    return path


def rows(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """The texts of the comparison by each judge, and those of auto-steer's own validation."""
    for outcome in outcomes:
        yield from _rows(outcome, outcome.measured, "comparison", "offline")
        for judge, opinion in outcome.opinions.items():
            yield from _rows(outcome, opinion, "comparison", judge)
        if outcome.result.validation is not None:
            yield from _rows(outcome, outcome.result.validation, "validation", outcome.result.judge.name)


def _rows(outcome: Outcome, validation: Validation, part: str, judge: str) -> Iterator[dict[str, Any]]:
    for each in validation.arms:
        for sample in each.samples:
            numbers = {k: round(v, 4) if isinstance(v, float) else v for k, v in to_json(sample).items()}
            yield {"behavior": outcome.name, "part": part, "arm": each.name, "judge": judge, **numbers}
