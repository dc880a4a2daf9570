"""Keys of the gateway on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from services.cli.render.console import EMBER, printable
from services.keys.key import Key, Quotas


def quotas_text(quotas: Quotas) -> str:
    """The quotas in words."""
    parts = []
    if quotas.requests_per_minute is not None:
        parts.append(f"{quotas.requests_per_minute:,} requests a minute")
    if quotas.tokens_per_day is not None:
        parts.append(f"{quotas.tokens_per_day:,} tokens a day")
    return ", ".join(parts) or "without quotas"


def key_table(keys: Iterable[tuple[Key, int]]) -> Table:
    """Keys with the tokens that they used today; revoked ones are dim."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Key", style=EMBER, no_wrap=True)
    table.add_column("Owner", overflow="fold")
    table.add_column("For", overflow="fold")
    table.add_column("Quotas", overflow="fold")
    table.add_column("Tokens today", justify="right")
    table.add_column("Made", no_wrap=True)
    for key, used in keys:
        made = key.created.astimezone().strftime("%Y-%m-%d")
        table.add_row(
            f"{key.prefix}…",
            key.owner,
            printable(key.name),
            "revoked" if key.revoked else quotas_text(key.quotas),
            f"{used:,}",
            made,
            style="dim" if key.revoked else "",
        )
    return table


def key_as_json(key: Key) -> dict[str, Any]:
    """A key for programs."""
    return {
        "id": key.id,
        "prefix": key.prefix,
        "owner": key.owner,
        "name": key.name,
        "created": key.created.isoformat(),
        "revoked": key.revoked.isoformat() if key.revoked else None,
        "requests_per_minute": key.quotas.requests_per_minute,
        "tokens_per_day": key.quotas.tokens_per_day,
    }
