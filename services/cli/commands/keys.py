"""`hearth keys`: keys of the gateway, made, listed and revoked in its database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from services.cli.options import JsonOption

if TYPE_CHECKING:
    from services.keys.book import KeyBook

T = TypeVar("T")


def create(
    owner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="On whose behalf calls with it are made: variants and jobs are an owner's own.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.", show_default=False)] = "",
    requests_per_minute: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="As many as it likes unless given.", show_default=False),
    ] = None,
    tokens_per_day: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of prompts and answers together, by days in UTC; as many as it likes unless given.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key for the gateway. It is shown once: only a digest of it is kept.

    hearth keys create --owner ann

    hearth keys create --owner ann --name notebook --requests-per-minute 60 --tokens-per-day 200000
    """
    from services.cli.render.console import console, error_console
    from services.cli.render.keys import key_as_json, quotas_text
    from services.keys.key import Quotas

    quotas = Quotas(requests_per_minute, tokens_per_day)
    key, secret = _with_book(lambda book: book.keyring.create(owner, name, quotas))
    if as_json:
        console().print_json(data={**key_as_json(key), "key": secret})
        return
    print(secret)
    note = f"Keep it: it is not shown again. Calls with it are {key.owner}'s; {quotas_text(key.quotas)}."
    error_console().print(note, style="dim", markup=False)


def listing(as_json: JsonOption = False) -> None:
    """List the keys, and what they used today.

    hearth keys list
    """
    from services.cli.render.console import console
    from services.cli.render.keys import key_as_json, key_table

    found = _with_book(lambda book: book.all())
    if as_json:
        console().print_json(data=[{**key_as_json(key), "tokens_today": used} for key, used in found])
        return
    if not found:
        console().print("There are no keys. Make one: hearth keys create --owner NAME", style="dim")
        return
    console().print(key_table(found))


def revoke(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY", help="Its first characters as listed, its name or its id.", show_default=False
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: gateways refuse it within two seconds, for good.

    hearth keys revoke hearth-Ab3dE9
    """
    from services.cli.render.console import console
    from services.cli.render.keys import key_as_json

    ended = _with_book(lambda book: book.keyring.revoke(key))
    if as_json:
        console().print_json(data=key_as_json(ended))
        return
    console().print(f"{ended.prefix}… of {ended.owner} is revoked.", style="dim", markup=False)


def _with_book(question: Callable[[KeyBook], Awaitable[T]]) -> T:
    """The answer to a question that is put to the keys in the gateway's database."""
    import asyncio

    from services.cli.failures import fail
    from services.database.settings import UnusableDatabase
    from services.errors import HearthError
    from services.keys.book import opened
    from services.keys.settings import KeysSettings

    async def put() -> T:
        async with opened(KeysSettings()) as book:
            return await question(book)

    try:
        return asyncio.run(put())
    except HearthError as error:
        fail(error.message)
    except UnusableDatabase as problem:
        fail(f"{problem}.", "HEARTH_GATEWAY_DATABASE_URL and HEARTH_GATEWAY_DATA_DIR say where the keys are.")
