"""One run: the platform, the researchers, what goes wrong, and the look at what is left."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.soak import sdk
from bench.soak.chaos import Chaos
from bench.soak.floods import OWNERS
from bench.soak.journal import FILE, Journal, Record
from bench.soak.keeping import Keeper
from bench.soak.operator import Operator, owner_of
from bench.soak.plan import SDK_PROCESSES, Options, job_times, schedule, way_of
from bench.soak.platform import Platform, running
from bench.soak.probes import Probes
from bench.soak.progress import Progress
from bench.soak.researcher import Researcher
from bench.soak.ways import GrpcWay, HttpWay, Way, http_client
from hearth.v1 import feature_service_pb2 as feature_pb
from hearth.v1 import inference_service_pb2 as pb
from tests.database.postgres import PostgresServer, programs, running_postgres

USAGE_SECONDS = 5.0
"""Between two samples of memory."""
DATABASES = {
    "HEARTH_FEATURES_DATABASE_URL": "features",
    "HEARTH_AUTOSTEER_DATABASE_URL": "autosteer",
    "HEARTH_GATEWAY_DATABASE_URL": "gateway",
}


async def run(options: Options, about: Mapping[str, Any], progress: Progress) -> None:
    """Leaves the records and the platform's log in the folder of the options."""
    journal = Journal(options.out / FILE)
    records: list[Record] = []
    journal.listeners += [records.append, progress.hear]
    async with AsyncExitStack() as stack:
        stack.callback(journal.close)
        postgres = stack.enter_context(_postgres()) if options.postgres else None
        database = {name: postgres.url(base) for name, base in DATABASES.items()} if postgres else {}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hearth-soak-")))
        progress.says("The platform starts")
        platform = stack.enter_context(running(folder, options.out, database))
        operator = Operator(platform.keys)
        keys = await operator.make(options.researchers)
        client = await stack.enter_async_context(http_client(platform.url))
        ways: dict[int, GrpcWay] = {}

        def straight(number: int) -> GrpcWay:
            """gRPC on behalf of a researcher."""
            if number not in ways:
                at = platform.inference, platform.features, platform.autosteer
                ways[number] = GrpcWay(*at, owner_of(number), keys[number])
                stack.push_async_callback(ways[number].close)
            return ways[number]

        at = platform.inference, platform.features, platform.autosteer
        flooders = [GrpcWay(*at, f"flooder-{n}", keys[0]) for n in range(OWNERS)]
        prober = GrpcWay(*at, "prober", keys[0])
        for each in (*flooders, prober):
            stack.push_async_callback(each.close)
        model = (await prober.call("inference", "ListModels", pb.ListModelsRequest())).models[0].id
        catalogs = await prober.call("features", "ListCatalogs", feature_pb.ListCatalogsRequest())
        features = catalogs.catalogs[0].feature_count
        journal.begin()
        journal.write("run", **about)
        jobs = job_times(options)
        until, think = options.seconds, options.think_seconds
        work: list[Coroutine[Any, Any, None]] = [operator.work(journal, client, until)]
        through_sdk: list[int] = []
        for number in range(options.researchers):
            name = way_of(number, options.researchers)
            if name == "sdk":
                through_sdk.append(number)
                continue
            way: Way = straight(number) if name == "grpc" else HttpWay(client, keys[number])
            researcher = Researcher(number, name, way, journal, model, features, options.seed)
            work.append(researcher.work(until, think))
            work += [researcher.autosteer(at_second) for at_second in jobs.get(number, ())]
        for part in range(SDK_PROCESSES):
            of_part = [(number, keys[number]) for number in through_sdk[part::SDK_PROCESSES]]
            if of_part:
                work.append(sdk.working(journal, _given(platform, options, model), of_part, jobs))
        probes = Probes(prober, client, keys[0], model, platform.socket)
        journal.listeners.append(probes.hear)
        chaos = Chaos(platform, probes, journal, flooders, model, postgres)
        progress.says(f"{options.researchers} researchers work; they think {think:.0f} s on average")
        work.append(chaos.run(schedule(options)))
        await _all(work, _watch(platform, journal))
        progress.says("What was acknowledged is looked for, and texts are asked again alone")
        keeper = Keeper(journal, straight, client, model)
        await keeper.check(list(records), operator.keys, options.replays, options.seed)


def _given(platform: Platform, options: Options, model: str) -> dict[str, object]:
    """What the processes of the SDK must know."""
    return {
        "url": platform.url,
        "model": model,
        "until": options.seconds,
        "think": options.think_seconds,
        "seed": options.seed,
    }


async def _all(work: Sequence[Coroutine[Any, Any, None]], watching: Coroutine[Any, Any, None]) -> None:
    """All of the work; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        aside = group.create_task(watching)
        await asyncio.gather(*map(group.create_task, work))
        aside.cancel()


async def _watch(platform: Platform, journal: Journal) -> None:
    """Samples what the processes take. Raises RuntimeError once the platform has ended."""
    while True:
        if platform.process.poll() is not None:
            raise RuntimeError(f"hearth up ended with {platform.process.returncode}; {platform.log} says why")
        usage = {
            name: (each.pid, each.resident, round(each.cpu, 2)) for name, each in platform.usage().items()
        }
        journal.write("usage", processes=usage)
        await asyncio.sleep(USAGE_SECONDS)


@contextmanager
def _postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with a database for each service."""
    found = programs()
    if found is None:
        raise RuntimeError("PostgreSQL's programs initdb and pg_ctl are not there")
    with running_postgres(found) as server:
        for name in DATABASES.values():
            server.execute(f"CREATE DATABASE {name}")
        yield server
