"""Many streams at once: a third cancelled midway, some too late; nothing leaks, all others complete."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import steering_pb2
from tests.mesh.conftest import chat
from tests.mesh.processes import Running

pytestmark = [pytest.mark.model, pytest.mark.platform]
STREAMS = 250
TOKENS = 12


def _request(number: int) -> pb.GenerateRequest:
    edits = [
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=number % 50), nudge=0.1 + number % 7 * 0.05)
    ]
    return pb.GenerateRequest(
        prompt=chat(f"Say something about the number {number}."),
        steering=steering_pb2.Steering(edits=edits),
        sampling=pb.Sampling(max_tokens=TOKENS, seed=number, temperature=0.8, ignore_end=True),
    )


async def _stream(stub: rpc.InferenceServiceAsyncStub, number: int, kind: str) -> str:
    """Runs one stream; what became of it."""
    call = stub.Generate(_request(number), timeout=0.5 if kind == "late" else 280)
    text, deltas = "", 0
    try:
        async for answer in call:
            if answer.HasField("delta"):
                text += answer.delta.text
                deltas += 1
                if kind == "cancelled" and deltas == 2:
                    call.cancel()
            if answer.HasField("finished"):
                assert answer.finished.reason == pb.FINISH_REASON_LENGTH
                return f"done:{text}"
    except asyncio.CancelledError:
        return "cancelled"
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "ended without a last message"


def _resident(pid: int) -> int:
    """Resident memory in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


async def _wave(address: str) -> list[str]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = rpc.InferenceServiceStub(channel)
        kinds = ["cancelled" if n % 3 == 0 else "late" if n % 10 == 1 else "kept" for n in range(STREAMS)]
        results = await asyncio.gather(*(_stream(stub, n, kind) for n, kind in enumerate(kinds)))
        for kind, result in zip(kinds, results, strict=True):
            if kind == "kept":
                assert result.startswith("done:"), result
            elif kind == "cancelled":
                assert result == "cancelled", result
            else:
                assert result == "DEADLINE_EXCEEDED" or result.startswith("done:"), result
        return [result for kind, result in zip(kinds, results, strict=True) if kind == "kept"]


async def test_250_streams_a_third_cancelled_some_late_leak_nothing_and_all_others_complete() -> None:
    with Running("inference", prefix_bytes=64 << 20) as process:
        first = await _wave(process.address)
        after_first = _resident(process.process.pid)
        assert await _wave(process.address) == first  # the same texts, whatever else ran
        grown = _resident(process.process.pid) / after_first
        assert grown < 1.05, f"memory grew by a factor of {grown:.3f} over a second wave"
        async with grpc.aio.insecure_channel(process.address) as channel:
            alone = await _stream(rpc.InferenceServiceStub(channel), 2, "kept")
        assert alone == first[0 if 2 % 3 else 1] or alone in first
