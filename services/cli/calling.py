"""Asks the server and waits for the answer; errors become one line, Ctrl-C cancels the call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from services.cli.render.console import error_console

if TYPE_CHECKING:
    from services.cli.clients.inference import InferenceClient
    from services.steering.edits import Steering

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code of a command that was stopped with Ctrl-C, as the shell has it."""


def ask(
    question: Callable[[InferenceClient], Awaitable[T]], address: str, *, model: str = "", sae: str = ""
) -> T:
    """The answer to a question that is put to the server at an address."""
    from services.cli.clients.inference import InferenceClient
    from services.cli.failures import fail_with
    from services.rpc.channel import RpcFailure

    async def put() -> T:
        async with InferenceClient(address, model, sae) as client:
            return await question(client)

    try:
        return asyncio.run(put())
    except RpcFailure as failure:
        fail_with(failure, address)
    except KeyboardInterrupt:
        error_console().print("[dim]Stopped.[/dim]")
        raise typer.Exit(INTERRUPTED) from None


def read_steering(path: Path | None) -> Steering | None:
    """The steering in a file, if one is given."""
    if path is None:
        return None
    from services.cli.failures import fail
    from services.cli.wire.inference import steering_from_json
    from services.errors import InvalidField

    try:
        return steering_from_json(path.read_text("utf-8"), "steering")
    except InvalidField as error:
        fail(f"{path}: {error.message}", "`hearth chat --help` shows an example of such a file.")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path} cannot be read: {error}")
