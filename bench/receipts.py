"""`python -m bench.receipts`: receipts of many different texts, replayed after everything was ended and started again.

Says how many are identical, as `hearth replay` has it; its exit code is 0 only where all are.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from google.protobuf import json_format

from bench.gateway_processes import ROOT, running
from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2, steering_pb2

SUBJECTS = "the sea, winter, a king, bread, the moon, an engine, a garden, money, a fox, music".split(", ")
FORMS = ("Tell me a story about {}.", "What is known of {}?", "Write a letter to {}.", "Why does {} matter?")
AT_ONCE = 16


def request(number: int, features: int, longest: int) -> pb.GenerateRequest:
    """One of many requests: a chat or plain text; greedy or hot; nudges, pins, scales and conditions."""
    rng = random.Random(number)
    said = rng.choice(FORMS).format(rng.choice(SUBJECTS))
    message = prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=said)
    chat = prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=[message]))
    edits = [_edit(rng, features) for _ in range(rng.randrange(4))]
    steering = steering_pb2.Steering(edits=edits)
    if rng.random() < 0.3:
        steering.scopes.append(_scope(rng, features))
    return pb.GenerateRequest(
        prompt=chat if rng.random() < 0.8 else prompt_pb2.Prompt(text=said),
        steering=steering,
        sampling=pb.Sampling(
            max_tokens=rng.randint(longest // 2, longest),
            temperature=rng.choice([0.0, 0.7, 1.0, 1.5]),
            top_p=rng.choice([1.0, 0.9]),
            seed=rng.getrandbits(63),
        ),
        receipt=True,
    )


async def make(address: str, count: int, longest: int) -> list[pb.Receipt]:
    """Receipts of texts that are generated together."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        listed = await stub.ListModels(pb.ListModelsRequest())
        features = listed.models[0].saes[0].feature_count
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> pb.Receipt:
            async with places:
                last = pb.GenerateResponse()
                async for event in stub.Generate(request(number, features, longest)):
                    last = event
                return last.finished.receipt

        return list(await asyncio.gather(*map(one, range(count))))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.receipts", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="receipts (100)")
    parser.add_argument("--tokens", type=int, default=48, help="the longest text (48)")
    parser.add_argument("--keep", type=Path, help="write the receipts into this file too")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        began = time.monotonic()
        with running(folder) as ports:
            receipts = asyncio.run(make(f"127.0.0.1:{ports.inference}", chosen.count, chosen.tokens))
        tokens = sum(len(each.completion.ids) for each in receipts)
        print(f"{len(receipts)} receipts of {tokens:,} tokens after {time.monotonic() - began:.0f} s.")
        lines = "".join(json_format.MessageToJson(each, indent=None) + "\n" for each in receipts)
        file = chosen.keep or folder / "receipts.jsonl"
        file.write_text(lines, "utf-8")
        with running(folder) as ports:
            address = f"127.0.0.1:{ports.inference}"
            command = [sys.executable, "-m", "services.cli", "replay", str(file), "--address", address]
            done = subprocess.run(
                command, cwd=ROOT, check=False, env={"PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}"}
            )
        print(f"{time.monotonic() - began:.0f} s in all.")
    return done.returncode


def _edit(rng: random.Random, features: int) -> steering_pb2.Edit:
    key = steering_pb2.FeatureKey(index=rng.randrange(features))
    match rng.randrange(3):
        case 0:
            return steering_pb2.Edit(feature=key, nudge=round(rng.uniform(-0.5, 0.5), 2))
        case 1:
            return steering_pb2.Edit(feature=key, pin=round(rng.uniform(0, 1.5), 2))
        case _:
            return steering_pb2.Edit(feature=key, scale=round(rng.uniform(0, 3), 2))


def _scope(rng: random.Random, features: int) -> steering_pb2.Scope:
    comparison = steering_pb2.Comparison(
        left=steering_pb2.FeatureSet(features=[steering_pb2.FeatureKey(index=rng.randrange(features))]),
        operator=steering_pb2.Comparison.OPERATOR_GREATER,
        threshold=0.1,
    )
    return steering_pb2.Scope(
        when=steering_pb2.Condition(comparison=comparison),
        steering=steering_pb2.Steering(edits=[_edit(rng, features)]),
        latched=rng.random() < 0.5,
    )


if __name__ == "__main__":
    sys.exit(main())
