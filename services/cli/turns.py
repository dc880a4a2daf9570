"""A conversation in turns, with commands that change the steering on the way."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.answers import Answer
from services.cli.calling import ask
from services.cli.conversation import Conversation
from services.cli.failures import fail
from services.cli.render.console import EMBER, console, error_console, print_json
from services.cli.streaming import one_after_the_other, show_end, side_by_side, silently
from services.cli.syntax import parse_edit, steering_text
from services.steering.edits import Operation, Steering

if TYPE_CHECKING:
    from services.cli.clients.inference import InferenceClient

HELP = """\
/nudge FEATURE=NUMBER   push towards a feature; /pin and /scale likewise
/off                    answer without edits
/seed NUMBER            draw other answers
/new                    forget what was said
/quit                   leave (or Ctrl-D)"""


@dataclass(frozen=True, slots=True)
class Place:
    """Which server, model and SAE are meant, and how answers are shown."""

    address: str
    model: str = ""
    sae: str = ""
    json: bool = False
    plain: bool = False
    receipts: Path | None = None
    """The file that receipts are added to, one a line."""


def say(conversation: Conversation, text: str, place: Place) -> None:
    """Says something to both sides and shows the answers as they come."""
    conversation.hear(text)
    try:
        answers = ask(lambda client: _answers(client, conversation, place), place.address, model=place.model)
    except typer.Exit:
        conversation.unsay()
        raise
    conversation.remember(answers)
    if place.receipts is not None:
        _keep(answers, place.receipts)
    if place.json:
        print_json(_as_json(answers, conversation))
    else:
        show_end(answers, conversation.sampling.seed)


def converse(conversation: Conversation, place: Place, system: str = "") -> None:
    """Reads what the user says, line by line, until the end of the input or /quit."""
    if console().is_terminal:
        error_console().print("[dim]/help lists what can be changed on the way; Ctrl-D ends.[/dim]")
    while (text := _read()) is not None:
        if text in ("/quit", "/exit"):
            return
        if text.startswith("/"):
            _obey(text, conversation, place, system)
        elif text:
            try:
                say(conversation, text, place)
            except typer.Exit:  # told already; the next turn may go well
                if not console().is_terminal:
                    raise


def _keep(answers: Sequence[Answer], path: Path) -> None:
    receipts = [each.finished.receipt for each in answers if each.finished is not None]
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(each)}\n" for each in receipts if each is not None)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")


async def _answers(client: InferenceClient, conversation: Conversation, place: Place) -> list[Answer]:
    asked = conversation.questions()
    if place.json:
        await silently(client, asked)
    elif place.plain or len(asked) == 1 or not console().is_terminal:
        await one_after_the_other(client, asked)
    else:
        await side_by_side(client, asked)
    return [answer for answer, _ in asked]


def _read() -> str | None:
    import readline  # noqa: F401  (gives input() a history and editing)

    try:
        return input("you › " if console().is_terminal else "").strip()
    except (EOFError, KeyboardInterrupt):
        if console().is_terminal:
            print()
        return None


def _obey(line: str, conversation: Conversation, place: Place, system: str) -> None:
    name, *arguments = shlex.split(line)
    try:
        match name:
            case "/nudge" | "/pin" | "/scale":
                operation = Operation(name[1:])
                edits = tuple(parse_edit(each, operation, place.sae) for each in arguments)
                conversation.steering = replace(
                    conversation.steering, edits=conversation.steering.edits + edits
                )
            case "/off":
                conversation.steering = Steering()
            case "/seed":
                conversation.sampling = replace(conversation.sampling, seed=int(arguments[0]))
            case "/new":
                conversation.begin(system)
            case _:
                console().print(HELP, markup=False)
                return
    except typer.BadParameter as error:
        console().print(f"[red]{name}[/red]: ", error.message, sep="")
        return
    except (ValueError, IndexError):
        console().print(f"[red]{name}[/red] wants a number, as in {name} 7")
        return
    now = steering_text(conversation.steering) or "no edits"
    console().print(f"[{EMBER}]steering[/]: {now}", style="dim")


def _as_json(answers: Sequence[Answer], conversation: Conversation) -> dict[str, object]:
    sides: dict[str, object] = {}
    for answer in answers:
        done = answer.finished
        assert done is not None
        sides["steered" if answer.steered else "plain"] = {
            "text": answer.text,
            "reason": done.reason,
            "stop": done.stop,
            "abort_message": done.abort_message,
            "events": answer.events,
            "usage": done.usage,
            "report": done.report,
        }
    return {"seed": conversation.sampling.seed, **sides}
