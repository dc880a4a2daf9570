"""`python -m bench.engines`: how far the engine on vLLM is from the one on torch, on the embedded model.

Runs in an environment that has vLLM (docs/engines.md): greedy answers to the same chats, plain and steered, and the
logits after each prompt, first of one engine, then of the other.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from services.inference.generation import generate
from services.inference.host import ModelHost
from services.inference.load import load_host
from services.inference.readings import compute_logits
from services.inference.requests import ChatPrompt, GenerateCall, LogitsCall
from services.inference.sampling import Sampling
from services.inference.sequence import Delta
from services.inference.settings import InferenceSettings
from services.inference.tokenizer import Message
from services.steering.conditions import Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering

SUBJECTS = (
    "the sea|a bridge|my garden|an old clock|the moon|a violin|bread|the winter|a lighthouse|chess".split("|")
)
ASKED = ("Tell me a story about {}.", "Explain {} to a child.", "What should I know about {}?")
CONTEXT = 512


@dataclass(frozen=True, slots=True)
class Said:
    """What one engine said to one prompt."""

    tokens: list[int]
    logprobs: list[float]
    logits: Tensor


def steerings(host: ModelHost) -> list[tuple[str, Steering]]:
    """Plain, and one of each kind of edit at features that the prompts' words fire now and then."""
    sae = next(iter(host.saes))
    keys = [FeatureKey(sae, index) for index in (11, 222, 1333, 2444)]
    nudge = Edit(keys[0], Operation.NUDGE, 0.4)
    edits = (nudge, Edit(keys[1], Operation.PIN, 0.8), Edit(keys[2], Operation.SCALE, 2.0))
    often = Comparison((keys[3],), Operator.GREATER_OR_EQUAL, 0.0)
    return [
        ("plain", Steering()),
        ("nudged", Steering((nudge,))),
        ("nudged, pinned, scaled, conditional", Steering(edits, (Scope(often, Steering((nudge,))),))),
    ]


async def ask(host: ModelHost, text: str, steering: Steering, tokens: int) -> Said:
    """One greedy answer and the logits before it."""
    prompt = ChatPrompt((Message("user", text),))
    sampling = Sampling(temperature=0, max_tokens=tokens, logprobs=True)
    call = GenerateCall("", prompt, steering, sampling)
    done = await host.tokenize(prompt, open_turn=True, room=1)
    choices = [
        choice
        async for event in generate(host, call, done.ids, "bench")
        if isinstance(event, Delta)
        for choice in event.choices
    ]
    logits = await compute_logits(host, LogitsCall("", prompt, steering, None, 0, ()), "bench")
    return Said([c.token for c in choices], [c.logprob or 0.0 for c in choices], logits.row.cpu())


async def ask_all(host: ModelHost, prompts: Sequence[str], tokens: int) -> dict[str, list[Said]]:
    """All prompts under all steerings, each alone."""
    return {
        name: [await ask(host, text, steering, tokens) for text in prompts]
        for name, steering in steerings(host)
    }


def answers(
    engine: str, prompts: Sequence[str], tokens: int, dtype: str
) -> tuple[str, dict[str, list[Said]]]:
    """What an engine calls its platform, and what it says."""
    settings = InferenceSettings(engine=engine, max_context=CONTEXT, kv_tokens=16_384, dtype=dtype)
    host = load_host(settings)
    try:
        return host.identity.platform, asyncio.run(ask_all(host, prompts, tokens))
    finally:
        host.engine.stop()


def row(name: str, torch_said: list[Said], vllm_said: list[Said]) -> str:
    """One line of the table."""
    pairs = list(zip(torch_said, vllm_said, strict=True))
    same = sum(one.tokens == two.tokens for one, two in pairs)
    logits = max(float((one.logits - two.logits).abs().max()) for one, two in pairs)
    logprobs = max(
        abs(a - b)
        for one, two in pairs
        if one.tokens == two.tokens
        for a, b in zip(one.logprobs, two.logprobs, strict=True)
    )
    best = sum(int(one.logits.argmax()) == int(two.logits.argmax()) for one, two in pairs)
    return f"| {name} | {same} of {len(pairs)} | {best} of {len(pairs)} | {logits:.1e} | {logprobs:.1e} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--prompts", type=int, default=20, help="how many prompts, at most 30 (20)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer at most (48)")
    parser.add_argument("--dtype", default="float32", help="type of computation (float32)")
    chosen = parser.parse_args(argv)
    prompts = [how.format(subject) for how in ASKED for subject in SUBJECTS][: chosen.prompts]
    torch.set_num_threads(1)
    one, torch_said = answers("torch", prompts, chosen.tokens, chosen.dtype)
    two, vllm_said = answers("vllm", prompts, chosen.tokens, chosen.dtype)
    print(f"{one} against {two}; {chosen.dtype}, {len(prompts)} prompts, {chosen.tokens} tokens, greedy\n")
    print(
        "| steering | same text | same likeliest token | largest difference of logits | of log probabilities |"
    )
    print("|---|---|---|---|---|")
    for name in torch_said:
        print(row(name, torch_said[name], vllm_said[name]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
