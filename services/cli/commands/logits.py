"""`hearth logits`: the likeliest next tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    ChatOption,
    JsonOption,
    ModelOption,
    NudgeOption,
    PinOption,
    SaeOption,
    ScaleOption,
    SystemOption,
    prompt_of,
)

if TYPE_CHECKING:
    from services.cli.answers import Logits
    from services.cli.clients.inference import InferenceClient


def logits(
    text: Annotated[str, typer.Argument(help="The text that the token follows.", show_default=False)],
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, max=1000, help="So many tokens.")
    ] = 10,
    chat: ChatOption = False,
    system: SystemOption = "",
    nudge: NudgeOption = None,
    pin: PinOption = None,
    scale: ScaleOption = None,
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    model: ModelOption = "",
    sae: SaeOption = "",
) -> None:
    """Show the likeliest next tokens, and what edits make of them.

    hearth logits "The capital of France is"

    hearth logits --nudge 1234=0.5 "The capital of France is"
    """
    from services.cli.calling import ask
    from services.cli.render.console import console, print_json
    from services.cli.render.tables import logits_table
    from services.cli.syntax import build_steering
    from services.steering.edits import Steering

    prompt = prompt_of(text, chat, system)
    steering = build_steering(nudge=nudge, pin=pin, scale=scale, sae=sae)

    async def both(client: InferenceClient) -> tuple[Logits, Logits | None]:
        plain = await client.logits(prompt, steering=Steering(), top_k=top_k)
        if steering.empty:
            return plain, None
        before = [each.token.id for each in plain.top]
        steered = await client.logits(prompt, steering=steering, top_k=top_k, named=before)
        risen = [each.token.id for each in steered.top if each.token.id not in before]
        if risen:
            plain = await client.logits(prompt, steering=Steering(), top_k=top_k, named=risen)
        return plain, steered

    plain, steered = ask(both, address, model=model, sae=sae)
    if as_json:
        print_json({"plain": plain, "steered": steered})
        return
    console().print(logits_table(plain, steered))
    entropies = f"{plain.entropy:.2f}" + (f", steered {steered.entropy:.2f}" if steered else "")
    console().print(f"  Entropy {entropies} nats.", style="dim")
