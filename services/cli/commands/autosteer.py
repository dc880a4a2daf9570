"""`hearth autosteer`: from a sentence to edits that hold on prompts that nobody tuned on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.autosteer.spec import Tier
from services.cli.autosteer_options import DEFAULT_AUTOSTEER_ADDRESS, AutoSteerAddress
from services.cli.feature_options import DEFAULT_FEATURES_ADDRESS, BesideAddress, Owner
from services.cli.options import JsonOption

if TYPE_CHECKING:
    from services.cli.clients.autosteer import AutoSteerClient
    from services.cli.steered import SteerJob

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
Png = Annotated[
    Path | None,
    typer.Option("--png", metavar="FILE", help="Write the Pareto front as a picture.", show_default=False),
]
Save = Annotated[
    str, typer.Option("--save", metavar="NAME", help="Save the edits as a variant.", show_default=False)
]
_LIMITS, _JUDGE = "How much", "Who judges"


def start(
    behavior: Annotated[str, typer.Argument(metavar="BEHAVIOUR", help="What you want, in words.")],
    tier: Annotated[
        Tier, typer.Option("--budget", help="How much is tried.", rich_help_panel=_LIMITS)
    ] = Tier.DEFAULT,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="The same as --budget quick.", show_default=False, rich_help_panel=_LIMITS
        ),
    ] = False,
    seconds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Work no longer.", show_default=False, rich_help_panel=_LIMITS),
    ] = None,
    features: Annotated[
        int | None,
        typer.Option(metavar="N", help="At most so many edits.", show_default=False, rich_help_panel=_LIMITS),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="At most so many trials.", show_default=False, rich_help_panel=_LIMITS
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="The same seed gives the same trials.", show_default=False),
    ] = None,
    judge: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="offline, openai or http.", show_default=False, rich_help_panel=_JUDGE
        ),
    ] = "",
    endpoint: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Where that judge is asked.", show_default=False, rich_help_panel=_JUDGE
        ),
    ] = "",
    judge_model: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="The model that it is asked for.",
            show_default=False,
            rich_help_panel=_JUDGE,
        ),
    ] = "",
    model: Annotated[
        str, typer.Option(metavar="ID", help="The model; not needed where one is served.", show_default=False)
    ] = "",
    sae: Annotated[
        str,
        typer.Option(metavar="ID", help="The SAE; not needed where the model has one.", show_default=False),
    ] = "",
    save: Save = "",
    png: Png = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Print the job's id and do not wait.", show_default=False),
    ] = False,
    as_json: JsonOption = False,
    address: AutoSteerAddress = DEFAULT_AUTOSTEER_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Search for edits that make the model behave as you say, and test them on held-out prompts.

    Ctrl-C leaves the job running; `hearth autosteer watch` comes back to it, `hearth autosteer cancel` ends it.

      hearth autosteer "talk like a pirate"

      hearth autosteer --quick --save sailor "talk about the sea"
    """
    from services.cli.calling import ask_autosteer
    from services.cli.render.console import error_console
    from services.cli.steered import SteerWish

    wish = SteerWish(
        behavior,
        model,
        sae,
        Tier.QUICK.value if quick else tier.value,
        seconds,
        features,
        trials,
        seed,
        judge,
        endpoint,
        judge_model,
    )
    made = ask_autosteer(lambda client: client.create(wish), address, owner)
    if detach:
        print(made.id)
        return
    error_console().print(f"[dim]job {made.id}[/dim]")
    _finish(made.id, address, owner, save, png, as_json, features_address)


def watch(
    job: JobId,
    save: Save = "",
    png: Png = None,
    as_json: JsonOption = False,
    address: AutoSteerAddress = DEFAULT_AUTOSTEER_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Follow a job until it ends, then show what came of it.

    hearth autosteer watch 5f0c2f6e-0f0f-4c5e-9a51-0d7a6a0d5a10
    """
    _finish(job, address, owner, save, png, as_json, features_address)


def show(
    job: JobId,
    save: Save = "",
    png: Png = None,
    as_json: JsonOption = False,
    address: AutoSteerAddress = DEFAULT_AUTOSTEER_ADDRESS,
    features_address: BesideAddress = DEFAULT_FEATURES_ADDRESS,
    owner: Owner = "",
) -> None:
    """Show a job as it is now.

    hearth autosteer show 5f0c2f6e-0f0f-4c5e-9a51-0d7a6a0d5a10
    """
    from services.cli.calling import ask_autosteer

    _print(
        ask_autosteer(lambda client: client.get(job), address, owner),
        save,
        png,
        as_json,
        features_address,
        owner,
    )


def listing(
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="At most so many.")] = 20,
    as_json: JsonOption = False,
    address: AutoSteerAddress = DEFAULT_AUTOSTEER_ADDRESS,
    owner: Owner = "",
) -> None:
    """List jobs, newest first.

    hearth autosteer list
    """
    from services.cli.calling import ask_autosteer
    from services.cli.render.autosteer import job_table
    from services.cli.render.console import console, print_json

    found = ask_autosteer(lambda client: client.listed(most), address, owner)
    if as_json:
        print_json({"jobs": found})
    elif found:
        console().print(job_table(found))
    else:
        console().print('There is none: `hearth autosteer "talk like a pirate"`.', style="dim")


def cancel(job: JobId, address: AutoSteerAddress = DEFAULT_AUTOSTEER_ADDRESS, owner: Owner = "") -> None:
    """End a job; it keeps its best trial.

    hearth autosteer cancel 5f0c2f6e-0f0f-4c5e-9a51-0d7a6a0d5a10
    """
    from services.cli.calling import ask_autosteer
    from services.cli.render.autosteer import job_view
    from services.cli.render.console import console

    console().print(job_view(ask_autosteer(lambda client: client.cancel(job), address, owner)))


def _finish(
    job: str, address: str, owner: str, save: str, png: Path | None, as_json: bool, features_address: str
) -> None:
    """Follows a job to its end, and shows it."""
    from services.cli.calling import ask_autosteer
    from services.cli.render.console import error_console
    from services.cli.watching import follow

    async def whole(client: AutoSteerClient) -> SteerJob:
        await follow(client.watch(job), error_console())
        return await client.get(job)

    ended = ask_autosteer(whole, address, owner)
    _print(ended, save, png, as_json, features_address, owner)
    if ended.state == "failed":
        raise typer.Exit(1)


def _print(
    job: SteerJob, save: str, png: Path | None, as_json: bool, features_address: str, owner: str
) -> None:
    from services.cli.render.autosteer import job_view
    from services.cli.render.console import console, print_json

    if as_json:
        print_json(job)
    else:
        console().print(job_view(job))
        _snippet(job)
    if png is not None:
        _draw(job, png)
    if save:
        _save(job, save, features_address, owner)


def _snippet(job: SteerJob) -> None:
    """The command that applies the edits."""
    from services.cli.render.console import EMBER, console

    if job.best is None or not job.best.edits:
        return
    edits = " ".join(f"--{e.operation.value} {e.feature.index}={e.value:.4g}" for e in job.best.edits)
    console().print("\n# apply it", style="dim")
    console().print(f'hearth chat {edits} "Tell me a story."', style=EMBER, soft_wrap=True)


def _draw(job: SteerJob, png: Path) -> None:
    from services.cli.failures import fail
    from services.cli.render.console import error_console
    from services.cli.render.pareto import NoPlotting, draw_pareto

    if job.result is None:
        fail("The job has no result to draw.")
    try:
        draw_pareto(job.result, png)
    except (NoPlotting, OSError) as problem:
        fail(f"{png} was not written: {problem}")
    error_console().print(f"[dim]{png} is written.[/dim]")


def _save(job: SteerJob, name: str, features_address: str, owner: str) -> None:
    from services.cli.calling import ask_variants
    from services.cli.failures import fail
    from services.cli.render.console import error_console
    from services.cli.saved import VariantDraft
    from services.steering.edits import Steering

    if job.best is None or not job.best.edits:
        fail("The job has no edits to save.")
    draft = VariantDraft(
        name, Steering(edits=job.best.edits), f"auto-steer: {job.behavior}"[:2000], job.model
    )
    ask_variants(lambda client: client.save(draft), features_address, owner)
    error_console().print(f"[dim]{name} is saved: hearth chat --variant {name}[/dim]")
