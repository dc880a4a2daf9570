"""`hearth tokenize`: a text as the model reads it."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    ChatOption,
    JsonOption,
    ModelOption,
    SystemOption,
    prompt_of,
)


def tokenize(
    text: Annotated[str, typer.Argument(help="The text.", show_default=False)],
    chat: ChatOption = False,
    system: SystemOption = "",
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    model: ModelOption = "",
) -> None:
    """Show the tokens of a text, with the chat template where it is a chat.

    hearth tokenize "The ship sailed at dawn."

    hearth tokenize --chat --system "Be brief." "Hello!"
    """
    from services.cli.calling import ask
    from services.cli.render.console import console, print_json
    from services.cli.render.tables import token_table

    prompt = prompt_of(text, chat, system)
    found = ask(lambda client: client.tokenize(prompt, open_turn=True), address, model=model)
    if as_json:
        print_json(found)
        return
    roles = [message.role for message in prompt] if not isinstance(prompt, str) else []
    console().print(token_table(found, roles))
    console().print(f"  {len(found.tokens)} tokens; · is a space, ⏎ a line end.", style="dim")
