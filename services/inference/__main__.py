"""The inference process: `python -m services.inference`, configured by HEARTH_INFERENCE_* (see settings.py)."""
# ruff: noqa: E402

from __future__ import annotations

import gc

gc.disable()  # until the model is there: a fifth of the start would go into looking for garbage among imports

import asyncio
import logging
import sys

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from services.database.settings import UnusableDatabase
from services.fetched.errors import SetupError
from services.inference import metrics
from services.inference.hosts import Hosts
from services.inference.load import load_host
from services.inference.sae.errors import SaeError
from services.inference.selftest import SteeringBroken
from services.inference.servicer import InferenceServicer
from services.inference.settings import InferenceSettings
from services.keys.opening import opened
from services.rpc import telemetry
from services.rpc.access import Authenticator
from services.rpc.calls import Deadlines
from services.rpc.logs import configure
from services.rpc.metrics import serving
from services.rpc.server import ServerSettings, serve

SERVICE = pb.DESCRIPTOR.services_by_name["InferenceService"].full_name


async def main(settings: InferenceSettings) -> int:
    """Listens at once, NOT_SERVING until the model is ready; returns when it has drained."""
    try:
        async with opened(settings.access) as authenticator:
            return await _run(settings, authenticator)
    except UnusableDatabase as problem:
        logging.getLogger(__name__).error("cannot serve: %s", problem)
        return 1


async def _run(settings: InferenceSettings, authenticator: Authenticator | None) -> int:
    hosts = Hosts()
    servicer = InferenceServicer(hosts)
    server = await serve(
        {SERVICE: lambda s: add_InferenceServiceServicer_to_server(servicer, s)},
        ServerSettings(
            host=settings.host,
            port=settings.port,
            drain_seconds=settings.drain_seconds,
            deadlines=Deadlines(settings.max_call_seconds),
            tls=settings.tls,
        ),
        serving=False,
        authenticator=authenticator,
    )
    stopped = asyncio.create_task(server.stopped())
    try:
        host = await asyncio.to_thread(load_host, settings)
    except (SetupError, SaeError, SteeringBroken, ValueError, OSError) as problem:
        logging.getLogger(__name__).error("cannot serve %s: %s", settings.model, problem)
        return 1
    gc.freeze()  # what was imported and loaded stays, so that no collection need look at it again
    gc.enable()
    hosts.add(host)
    metrics.tell_of(host)
    serving(True)
    for name in ("", SERVICE):
        await server.set_serving(name, True)
    await stopped
    host.engine.stop()
    return 0


if __name__ == "__main__":
    chosen = InferenceSettings()
    configure(chosen.log_level)
    telemetry.start("inference")
    sys.exit(asyncio.run(main(chosen)))
