"""What the gateway costs a stream: the same chats straight from inference over gRPC and through the gateway.

`python -m bench.gateway [--quick] [--rounds N] [--out FILE]`; also a part of `python -m bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.gateway_processes import Ports, running
from bench.machine import describe
from bench.measures import paired_ratio, spread
from bench.races import orders
from bench.report import table, with_range
from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from services.rpc.channel import connect

TITLE = "Streaming through the gateway"
STREAMS, TOKENS = 32, 64
ROUNDS = 7
MOST_LOST, MOST_LATER = 0.05, 0.010
"""The goals: share of throughput, and seconds of median time to first token."""
DIRECT, GATEWAY = "gRPC to inference", "HTTP through the gateway"
_TOPICS = (
    "rivers bridges violins maps bread lanterns whales deserts clocks gardens trains paper glass".split()
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One stream, in seconds after the run's start."""

    first: float
    last: float
    tokens: int


Ask = Callable[[str, int], Awaitable[Answer]]
"""A chat of one question; the number is the seed."""


def questions(moment: str, count: int) -> list[str]:
    """Questions that ask for long answers; no two of a run alike, and none that an earlier run has asked."""
    return [f"{moment}, {n}: write a long story about {_TOPICS[n % len(_TOPICS)]}." for n in range(count)]


def direct(stub: rpc.InferenceServiceAsyncStub, model: str, tokens: int) -> Ask:
    """Straight from inference."""

    async def ask(question: str, seed: int) -> Answer:
        message = prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=question)
        request = pb.GenerateRequest(
            model=model,
            prompt=prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=[message])),
            sampling=pb.Sampling(max_tokens=tokens, seed=seed),
        )
        first, count = 0.0, 0
        async for event in stub.Generate(request):
            if event.WhichOneof("event") == "delta":
                first = first or time.perf_counter()
            elif event.WhichOneof("event") == "finished":
                count = event.finished.usage.completion_tokens
        return Answer(first, time.perf_counter(), count)

    return ask


def through(port: int, model: str, tokens: int) -> Ask:
    """Through OpenAI's route, read by a client that does the least that one can do."""

    async def ask(question: str, seed: int) -> Answer:
        body = json.dumps(
            {
                "model": model,
                "messages": [{"role": "user", "content": question}],
                "max_tokens": tokens,
                "seed": seed,
                "temperature": 1.0,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer dev\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + body)
        first, last = 0.0, b""
        async for line in reader:
            if line.startswith(b"data: {"):
                last = line
                if not first and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    first = time.perf_counter()
        writer.close()
        if not first:
            raise RuntimeError(f"the gateway answered no stream: {last!r}")
        return Answer(first, time.perf_counter(), json.loads(last[6:])["usage"]["completion_tokens"])

    return ask


async def load(ask: Ask, moment: str, streams: int) -> dict[str, float]:
    """All streams at once: tokens a second from the first question to the last answer's end, and the waits."""
    began = time.perf_counter()
    answers = await asyncio.gather(*(ask(each, n) for n, each in enumerate(questions(moment, streams))))
    return {
        "tokens/s": sum(each.tokens for each in answers) / (max(each.last for each in answers) - began),
        "first token, ms": 1e3 * median(each.first - began for each in answers),
        "tokens": float(sum(each.tokens for each in answers)),
    }


Results = dict[str, list[dict[str, float]]]


async def measured(ports: Ports, rounds: int, quick: bool, tell: Callable[[str], None]) -> Results:
    """Rounds that alternate the order of both ways; the first one, which warms up, is not counted."""
    streams, tokens = (8, 16) if quick else (STREAMS, TOKENS)
    results: Results = {DIRECT: [], GATEWAY: []}
    async with connect(f"127.0.0.1:{ports.inference}") as channel:
        stub: rpc.InferenceServiceAsyncStub = rpc.InferenceServiceStub(channel)
        model = (await stub.ListModels(pb.ListModelsRequest())).models[0].id
        asks = {DIRECT: direct(stub, model, tokens), GATEWAY: through(ports.gateway, model, tokens)}
        for ask in asks.values():
            await load(ask, "warm-up", streams)
        for moment, order in orders(list(asks), rounds):
            for way in order:
                # The same questions both times would find the other's prefix in the cache.
                numbers = await load(asks[way], f"{way} {moment}", streams)
                results[way].append(numbers)
                told = f"{numbers['tokens/s']:.1f} tokens/s, first token {numbers['first token, ms']:.0f} ms"
                tell(f"gateway, round {moment + 1}: {way}: {told}")
    return results


def run(rounds: int, quick: bool, tell: Callable[[str], None]) -> str:
    """Starts both processes on a folder of their own, and measures."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as ports:
        results = asyncio.run(measured(ports, rounds, quick, tell))
    return render(results, *((8, 16) if quick else (STREAMS, TOKENS)))


def render(results: Results, streams: int, tokens: int) -> str:
    """The table, and whether the goals are met."""
    ours, theirs = results[GATEWAY], results[DIRECT]
    ratio = paired_ratio([r["tokens/s"] for r in ours], [r["tokens/s"] for r in theirs], True)
    later = spread([a["first token, ms"] - b["first token, ms"] for a, b in zip(ours, theirs, strict=True)])
    rows = [
        [
            way,
            with_range(spread([r["tokens/s"] for r in rounds])),
            with_range(spread([r["first token, ms"] for r in rounds])),
        ]
        for way, rounds in results.items()
    ]
    explains = (
        f"{streams} chats at once, up to {tokens} tokens each, unsteered, on the embedded model. Both ways share the "
        "machine with inference and with this client; tokens a second are from the first question to the last answer's "
        "end, the wait for the first token is the median over the streams."
    )
    lost, slower = 1 - ratio.median, later.median / 1e3
    verdicts = [
        f"The gateway keeps {with_range(ratio)} of the throughput; goal: at least {1 - MOST_LOST:.2f}, "
        f"{'met' if lost <= MOST_LOST else 'missed'}.",
        f"The first token comes {with_range(later)} ms later; goal: at most {MOST_LATER * 1e3:.0f} ms, "
        f"{'met' if slower <= MOST_LATER else 'missed'}.",
    ]
    header = [f"{streams} streams", "tokens/s", "first token, ms"]
    return "\n\n".join([f"## {TITLE} (`gateway`)", explains, table(header, rows), "\n".join(verdicts)])


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small run, to see that it works; one round")
    parser.add_argument("--rounds", type=int, help=f"how many rounds ({ROUNDS}; 1 with --quick)")
    parser.add_argument("--out", type=Path, help="where the table goes (standard output)")
    chosen = parser.parse_args(argv)
    machine = describe()
    rounds = chosen.rounds or (1 if chosen.quick else ROUNDS)
    text = (
        f"{run(rounds, chosen.quick, lambda line: print(line, file=sys.stderr, flush=True))}\n\n{machine}\n"
    )
    if chosen.out:
        chosen.out.write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
