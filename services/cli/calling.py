"""Asks the server and waits for the answer; errors become one line, Ctrl-C cancels the call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from services.cli.render.console import error_console

if TYPE_CHECKING:
    from services.cli.clients.autosteer import AutoSteerClient
    from services.cli.clients.channel import Client
    from services.cli.clients.features import FeatureClient
    from services.cli.clients.inference import InferenceClient
    from services.cli.clients.replays import ReplayClient
    from services.cli.clients.variants import VariantClient
    from services.steering.edits import Steering

T = TypeVar("T")
C = TypeVar("C", bound="Client")

INTERRUPTED = 130
"""The exit code of a command that was stopped with Ctrl-C, as the shell has it."""


def ask(
    question: Callable[[InferenceClient], Awaitable[T]], address: str, *, model: str = "", sae: str = ""
) -> T:
    """The answer to a question that is put to the inference service at an address."""
    from services.cli.clients.inference import InferenceClient

    return _put(question, InferenceClient(address, model, sae))


def ask_features(question: Callable[[FeatureClient], Awaitable[T]], address: str) -> T:
    """The answer to a question that is put to the catalogue of features at an address."""
    from services.cli.clients.features import FeatureClient

    return _put(question, FeatureClient(address))


def ask_variants(question: Callable[[VariantClient], Awaitable[T]], address: str, owner: str) -> T:
    """The answer to a question about an owner's saved steering, from the features process at an address."""
    from services.cli.clients.variants import VariantClient

    return _put(question, VariantClient(address, owner))


def ask_autosteer(question: Callable[[AutoSteerClient], Awaitable[T]], address: str, owner: str) -> T:
    """The answer to a question about an owner's jobs, from the auto-steer server at an address."""
    from services.cli.clients.autosteer import AutoSteerClient

    return _put(question, AutoSteerClient(address, owner))


def ask_again(question: Callable[[ReplayClient], Awaitable[T]], address: str) -> T:
    """The answer to a question about receipts, from the inference service at an address."""
    from services.cli.clients.replays import ReplayClient

    return _put(question, ReplayClient(address))


def _put(question: Callable[[C], Awaitable[T]], client: C) -> T:
    from pydantic import ValidationError

    from services.cli.failures import fail, fail_with
    from services.rpc.channel import RpcFailure

    async def put() -> T:
        async with client:
            return await question(client)

    try:
        return asyncio.run(put())
    except RpcFailure as failure:
        fail_with(failure, client.address)
    except (OSError, ValidationError) as problem:
        fail(f"{problem}.", "HEARTH_TLS_CERTIFICATE, HEARTH_TLS_KEY and HEARTH_TLS_AUTHORITY name files.")
    except KeyboardInterrupt:
        error_console().print("[dim]Stopped.[/dim]")
        raise typer.Exit(INTERRUPTED) from None


def saved_steering(name: str, address: str, owner: str) -> Steering:
    """The steering that is saved under a name."""
    return ask_variants(lambda client: client.named(name), address, owner).draft.steering


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
