"""`hearth sae card`."""

from __future__ import annotations

from services.saelab.cli_options import SaeFolder, console, friendly, sae_app


@sae_app.command()
def card(sae: SaeFolder) -> None:
    """Write the model card from what the other steps measured."""
    from services.saelab.card import write_card

    with friendly():
        console.print(f"wrote {write_card(sae)}")
