"""`hearth attribute`: which features made a token likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, BesideAddress
from services.cli.options import (
    DEFAULT_ADDRESS,
    AddressOption,
    ChatOption,
    JsonOption,
    ModelOption,
    SaeOption,
    SystemOption,
    prompt_of,
)

if TYPE_CHECKING:
    from services.cli.answers import Attribution, Tokens
    from services.cli.clients.inference import InferenceClient


def attribute(
    text: Annotated[str, typer.Argument(help="The text that the token follows.", show_default=False)],
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="The token to explain, with its space: ' Paris'. The likeliest one unless given.",
            show_default=False,
        ),
    ] = None,
    versus: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Explain why it, rather than this one.", show_default=False),
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", metavar="N", min=1, max=1000, help="So many features.")
    ] = 10,
    chat: ChatOption = False,
    system: SystemOption = "",
    as_json: JsonOption = False,
    address: AddressOption = DEFAULT_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    model: ModelOption = "",
    sae: SaeOption = "",
) -> None:
    """Show which features raised or lowered the next token's logit.

    An effect is the change of the logit that a feature brings, to first order. What the SAE does not represent is
    its error; it has an effect too.

      hearth attribute "The capital of France is"

      hearth attribute "The capital of France is" --token " Paris" --versus " London"
    """
    from services.cli.calling import ask
    from services.cli.naming import labelled
    from services.cli.render.console import console, number, plain, print_json, visible
    from services.cli.render.tables import attribution_table

    prompt = prompt_of(text, chat, system)

    async def explain(client: InferenceClient) -> tuple[Attribution, Tokens]:
        target = await _token_id(client, "--token", token)
        baseline = await _token_id(client, "--versus", versus)
        answer = await client.attribute(prompt, target=target, baseline=baseline, top_k=top_k)
        return answer, await client.tokenize(prompt, open_turn=True)

    (answer, tokens), labels = ask(
        lambda client: labelled(
            explain(client),
            lambda explained: (each.feature for each in explained[0].features),
            client,
            features_address,
        ),
        address,
        model=model,
        sae=sae,
    )
    if as_json:
        print_json({**plain(answer), "labels": labels})
        return
    out = console()
    than = f" rather than {visible(versus)}" if versus is not None else ""
    what = "difference of logits" if versus is not None else "logit"
    out.print(
        f"Why {visible(answer.target.text)}{than} after token {answer.position}?", style="bold", markup=False
    )
    out.print(attribution_table(answer, tokens.tokens, labels))
    out.print(
        f"  {what[0].upper()}{what[1:]} {number(answer.logit)}. All features together {answer.feature_effect:+.2f}, "
        f"the SAE's error {answer.error_effect:+.2f}, its bias {answer.bias_effect:+.2f}.",
        style="dim",
    )


async def _token_id(client: InferenceClient, option: str, text: str | None) -> int | None:
    """The id of the one token that a text is; the tokenizer's own BOS is not counted."""
    if text is None:
        return None
    tokens = (await client.tokenize(text)).tokens
    for start in range(len(tokens)):
        if "".join(token.text for token in tokens[start:]) == text:
            if start == len(tokens) - 1:
                return tokens[start].id
            parts = " ".join(repr(token.text) for token in tokens[start:])
            raise typer.BadParameter(
                f"{text!r} is {len(tokens) - start} tokens for this model: {parts}. Give one of them.",
                param_hint=f"'{option}'",
            )
    raise typer.BadParameter(f"{text!r} is no token of this model.", param_hint=f"'{option}'")
