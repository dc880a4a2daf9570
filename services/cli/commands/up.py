"""`hearth up`: starts the platform in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the inference service; 0 takes a free one. 50051 unless given.",
            show_default=False,
        ),
    ] = None,
    features_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the features process; 0 takes a free one. 50052 unless given.",
            show_default=False,
        ),
    ] = None,
    autosteer_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the auto-steer server; 0 takes a free one. 50053 unless given.",
            show_default=False,
        ),
    ] = None,
    gateway_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port of the gateway: the page and the HTTP APIs; 0 takes a free one. 8080 unless given.",
            show_default=False,
        ),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65530,
            metavar="N",
            help="First of five ports at which inference, features, auto-steer, its worker and the gateway answer "
            "Prometheus; 0 takes free ones. None unless given.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Interface to listen on: 127.0.0.1 unless given. 0.0.0.0 lets everyone in; "
            "HEARTH_GATEWAY_HOST=0.0.0.0 only opens the gateway, which asks for keys.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda or cuda:N; cuda where there is one unless given.", show_default=False),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16 or float16; what is fastest on the device unless given.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Hugging Face id or folder of a causal language model; the embedded one unless given.",
            show_default=False,
        ),
    ] = None,
    sae: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            exists=True,
            help="An SAE for it, in any known format; may be given several times.",
            show_default=False,
        ),
    ] = None,
    allow_mismatch: Annotated[
        bool,
        typer.Option("--allow-mismatch", help="Serve an SAE that the doctor refuses.", show_default=False),
    ] = False,
) -> None:
    """Start the platform in the foreground; Ctrl-C stops it.

    The first start makes the embedded model and the sentence encoder ready (downloads of 93 and 84 MB) and imports
    the features of the SAEs that have tables beside them. What dies later is started again. More
    settings are environment variables HEARTH_INFERENCE_*, HEARTH_FEATURES_*, HEARTH_AUTOSTEER_* and HEARTH_GATEWAY_*,
    described in settings.py of each service; options count more.

      hearth up

      hearth up --port 6000 --device cpu

      hearth up --model google/gemma-2-2b --sae ./gemma-scope/layer_12
    """
    from services.cli.platform import start
    from services.cli.serving import (
        autosteer_settings,
        features_settings,
        gateway_settings,
        inference_settings,
        telemetry_settings,
    )

    start(
        inference_settings(
            port=port,
            host=host,
            device=device,
            dtype=dtype,
            model=model,
            saes=[str(path.resolve()) for path in sae] if sae else None,
            allow_mismatch=allow_mismatch or None,
        ),
        features_settings(port=features_port, host=host),
        autosteer_settings(port=autosteer_port, host=host),
        gateway_settings(port=gateway_port, host=host),
        telemetry_settings(metrics_port=metrics_port),
    )
