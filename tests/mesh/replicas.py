"""Several inference processes of one tiny model, and callers that keep them busy while some are replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from services.rpc.channel import RpcFailure, rpc_failures
from tests.cli.served_folder import write_model
from tests.mesh.processes import ROOT, free_port, wait_until_serving

THINK_SECONDS = 0.2
"""Between two calls of a caller: replicas that start need processors too."""
GENERATE = "/hearth.v1.InferenceService/Generate"


class Replica:
    """One process, which can be started again at the same address."""

    def __init__(self, model: Path, folder: Path, name: str, **environment: str) -> None:
        self.port, self.health_port = free_port(), free_port()
        self.log = folder / f"{name}.log"
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}",
            "HEARTH_INFERENCE_PORT": str(self.port),
            "HEARTH_INFERENCE_MODEL": str(model),
            "HEARTH_INFERENCE_THREADS": "1",
            "HEARTH_HEALTH_PORT": str(self.health_port),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.inference"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Returns once it serves."""
        assert self._process is not None
        try:
            wait_until_serving(f"127.0.0.1:{self.health_port}", self._process)
        except BaseException as problem:
            raise AssertionError(f"it did not start: {self.log.read_text()[-3000:]}") from problem

    def stop(self) -> int:
        """Drains it, as Kubernetes does; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def kill(self) -> None:
        """Ends it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def generated(self) -> int:
        """Generations that it has brought to a good end, of all its lives."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return sum(line.get("method") == GENERATE and line.get("code") == "OK" for line in lines)


def running(folder: Path, count: int, **environment: str) -> Iterator[list[Replica]]:
    """So many replicas that serve; a fixture's body."""
    model = write_model(folder / "model")
    replicas = [Replica(model, folder, f"replica-{n}", **environment) for n in range(count)]
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.wait()
        yield replicas
    finally:
        for replica in replicas:
            replica.kill()


class Load:
    """Callers that generate, and ask for models, one call after the other."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        self._stopped = False
        self.done: Counter[str] = Counter()
        self.failures: list[RpcFailure] = []

    async def generate(self, number: int) -> None:
        """One stream, read to its end."""
        request = pb.GenerateRequest(
            prompt=prompt_pb2.Prompt(text=f"number {number}"),
            sampling=pb.Sampling(max_tokens=4 + number % 40, seed=number, ignore_end=True),
        )
        with rpc_failures():
            events = [event async for event in self._stub.Generate(request)]
        assert events[-1].finished.reason == pb.FINISH_REASON_LENGTH
        self.done["stream"] += 1

    async def _call(self, number: int) -> None:
        while not self._stopped:
            number += 1000
            try:
                if number % 4:
                    await self.generate(number)
                else:
                    with rpc_failures():
                        await self._stub.ListModels(pb.ListModelsRequest())
                    self.done["unary"] += 1
            except RpcFailure as failure:
                self.failures.append(failure)
            await asyncio.sleep(THINK_SECONDS)

    @asynccontextmanager
    async def of(self, callers: int) -> AsyncIterator[None]:
        """So many callers while the block runs; the last of their calls is waited for."""
        calling = [asyncio.create_task(self._call(number)) for number in range(callers)]
        yield
        self._stopped = True
        await asyncio.gather(*calling)

    async def until_it_serves(self, replica: Replica) -> None:
        """Returns once a replica has generated again."""
        before = replica.generated()
        while replica.generated() < before + 3 and not self.failures:
            await self.generate(0)


async def replaced_one_by_one(replicas: list[Replica], load: Load) -> None:
    """A rolling restart: the next one goes once the last one has come back and is called again."""
    for replica in replicas:
        assert await asyncio.to_thread(replica.stop) == 0
        replica.start()
        await asyncio.to_thread(replica.wait)
        await load.until_it_serves(replica)


def shares(replicas: list[Replica], before: Mapping[int, int]) -> list[float]:
    """What each has generated since, as a part of an equal share."""
    made = [replica.generated() - before[replica.port] for replica in replicas]
    return [each * len(made) / sum(made) for each in made]
