"""What went wrong, as one clear line and a hint. Ends the command with exit code 1."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.markup import escape

from services.cli.render.console import error_console
from services.errors import Reason
from services.rpc.channel import RpcFailure

_HINTS = {
    Reason.MODEL_NOT_SERVED: "`hearth models` lists what is served.",
    Reason.SAE_NOT_SERVED: "`hearth models` lists the SAEs that are loaded.",
    Reason.FEATURE_OUT_OF_RANGE: "`hearth models` says how many features each SAE has.",
    Reason.PROMPT_TOO_LONG: "`hearth models` says how long the context is, `hearth tokenize` how long a prompt is.",
    Reason.ETAG_MISMATCH: "Look at it as it is now, and try again.",
    Reason.IMPORT_INCOMPLETE: "Import it again: what is there already is not sent twice.",
    Reason.MODEL_LOADING: "Wait for it, and try again.",
}


def fail(problem: str, hint: str = "") -> NoReturn:
    """Prints a problem in one line, a hint in the next, and exits with 1."""
    console = error_console()
    console.print(f"[bold red]error:[/bold red] {escape(problem)}")
    if hint:
        console.print(f"[dim]{escape(hint)}[/dim]")
    raise typer.Exit(1)


def fail_with(failure: RpcFailure, address: str) -> NoReturn:
    """The same for a call that failed."""
    fail(*explain(failure, address))


def explain(failure: RpcFailure, address: str) -> tuple[str, str]:
    """A failed call as a sentence, with the field where one is at fault, and what to do about it."""
    if failure.reason is None:
        return _explain_status(failure, address)
    hint = _HINTS.get(failure.reason, "")
    if failure.retry_after is not None and failure.reason is not Reason.MODEL_LOADING:
        hint = f"Try again in {failure.retry_after:.0f} s."
    if failure.reason is Reason.INTERNAL and failure.request_id:
        hint = f"The server's log says more: look for request {failure.request_id}."
    problem = failure.message
    if failure.field and failure.field not in problem:
        problem = f"{failure.field}: {problem}"
    return problem, hint


def _explain_status(failure: RpcFailure, address: str) -> tuple[str, str]:
    match failure.code.name:
        case "UNAVAILABLE":
            return (
                f"No server answers at {address}.",
                "Is it up? Start it with `make up` or `hearth up`, or name another with --address.",
            )
        case "DEADLINE_EXCEEDED":
            return f"The server at {address} took too long to answer.", "It may be busy; try again."
        case "UNIMPLEMENTED":
            return (
                f"The server at {address} does not know this call.",
                "It may be another program or an older Hearth.",
            )
        case name:
            return f"The call failed: {name}: {failure.message}", ""
