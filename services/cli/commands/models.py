"""`hearth models`: what is served."""

from __future__ import annotations

from services.cli.options import DEFAULT_ADDRESS, AddressOption, JsonOption


def models(as_json: JsonOption = False, address: AddressOption = DEFAULT_ADDRESS) -> None:
    """List the models that are served, with their SAEs.

    hearth models

    hearth models --json
    """
    from services.cli.calling import ask
    from services.cli.render.console import console, print_json
    from services.cli.render.tables import model_line, sae_table

    found = ask(lambda client: client.models(), address)
    if as_json:
        print_json({"models": found})
        return
    out = console()
    for model in found:
        out.print(model_line(model))
        out.print(sae_table(model) if model.saes else "  No SAEs: it can be run, but not steered.\n")
