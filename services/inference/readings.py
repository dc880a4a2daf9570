"""Reading a prompt without generating: logits, activations token by token or pooled, contrast, attribution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from services.errors import HearthError, InvalidField
from services.inference.attribution import Attribution
from services.inference.attribution import attribute as attribute_logit
from services.inference.contrast import Contrast
from services.inference.contrast import contrast as contrast_sets
from services.inference.hooks import Capture
from services.inference.host import ModelHost, TokenizedPrompt
from services.inference.inspection import RUN_NONZEROS, SparseRows, inspect_runs, named_features, sparse_rows
from services.inference.pooling import Pooled, pool, role_mask, span_mask
from services.inference.requests import (
    AttributeCall,
    BatchInspectCall,
    ChatPrompt,
    ContrastCall,
    InspectCall,
    LogitsCall,
    PoolOver,
    Prompt,
)
from services.inference.sae.base import Sae
from services.inference.sequence import Read
from services.inference.streams import EventStream, run
from services.inference.tokenizer import MessageSpan
from services.rpc.logs import tally
from services.steering.edits import Steering

T = TypeVar("T")
PROMPTS_AT_ONCE = 16
"""Prompts of one request that wait or run in the engine together: others' requests find room between them."""


@dataclass(frozen=True, slots=True)
class Logits:
    """Next-token logits after one position, float32."""

    position: int
    row: Float[Tensor, " vocabulary"]
    top_k: int
    named: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InspectedRun:
    """A run of tokens with their activations."""

    offset: int
    ids: list[int]
    rows: SparseRows
    sinks: list[int]
    spans: list[MessageSpan]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class PooledBatch:
    """Pooled activations, a row for each prompt."""

    rows: SparseRows
    token_counts: list[int]


@dataclass(slots=True)
class _Residuals:
    """Collects what a capture sees: the edited stream and which tokens are no sinks."""

    parts: list[Tensor] = field(default_factory=list)
    live: list[Tensor] = field(default_factory=list)

    def take(self, h: Tensor, live: Tensor) -> None:
        self.parts.append(h.float().clone())
        self.live.append(live.clone())


async def compute_logits(host: ModelHost, call: LogitsCall, owner: str) -> Logits:
    """Next-token logits after one position of a prompt."""
    wrong = next((n for n, t in enumerate(call.token_ids) if t >= host.model.vocabulary_size), None)
    if wrong is not None:
        raise InvalidField(
            f"token_ids[{wrong}]",
            f"{call.token_ids[wrong]} is no token; allowed: 0 to {host.model.vocabulary_size - 1}",
        )
    done = await host.tokenize(call.prompt, open_turn=True)
    position = _position(call.position, len(done.ids))
    ids = done.ids[: position + 1]
    answer = await read(host, ids, call.steering, owner, {}, (position,))
    assert answer.logits is not None
    return Logits(position, answer.logits[0], call.top_k, call.token_ids)


async def inspect(host: ModelHost, call: InspectCall, owner: str) -> AsyncGenerator[InspectedRun]:
    """Activations at every token, in runs, as the prompt is read."""
    sae = host.sae(call.sae)
    features = named_features(call.feature_indices, sae.weights.d_sae)
    done = await host.tokenize(call.prompt, open_turn=call.add_generation_prompt)
    news: asyncio.Queue[tuple[int, SparseRows, list[int]] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    seen = 0

    def take(h: Tensor, live: Tensor) -> None:
        nonlocal seen
        for offset, rows in inspect_runs(sae.weights, h, live, features, call.top_k):
            part = live[offset : offset + rows.row_count]
            sinks = [seen + offset + int(n) for n in (~part).nonzero()[:, 0]]
            loop.call_soon_threadsafe(news.put_nowait, (seen + offset, rows, sinks))
        seen += len(h)

    async def read_all() -> None:
        try:
            await read(host, done.ids, call.steering, owner, {sae.layer: take})
        finally:
            news.put_nowait(None)

    reading = asyncio.create_task(read_all())
    first = True
    try:
        while (item := await news.get()) is not None:
            offset, rows, sinks = item
            spans, total = (done.spans, len(done.ids)) if first else ([], 0)
            first = False
            ids = done.ids[offset : offset + rows.row_count]
            yield InspectedRun(offset, ids, rows, sinks, spans, total)
        await reading
    finally:
        reading.cancel()


async def batch_inspect(host: ModelHost, call: BatchInspectCall, owner: str) -> PooledBatch:
    """One pooled sparse vector for each prompt."""
    sae = host.sae(call.sae)
    features = named_features(call.feature_indices, sae.weights.d_sae)
    pooled = await _pool_all(host, sae, call.prompts, call.over, owner, "prompts", features)
    rows = sparse_rows(torch.stack([p.values for p in pooled]), None, features, call.top_k)
    if len(rows.indices) > RUN_NONZEROS:
        raise InvalidField(
            "top_k",
            f"the answer would hold {len(rows.indices)} activations; allowed: {RUN_NONZEROS}; set a smaller top_k",
        )
    return PooledBatch(rows, [p.tokens for p in pooled])


async def contrast(host: ModelHost, call: ContrastCall, owner: str) -> Contrast:
    """Which features tell two sets of prompts apart."""
    sae = host.sae(call.sae)
    positive = await _pool_all(host, sae, call.positive, call.over, owner, "positive")
    negative = await _pool_all(host, sae, call.negative, call.over, owner, "negative")
    return await asyncio.to_thread(
        contrast_sets,
        torch.stack([p.values for p in positive]),
        torch.stack([p.values for p in negative]),
        call.top_k,
    )


async def attribute(host: ModelHost, call: AttributeCall) -> Attribution:
    """Which features raised or lowered one token's logit. Raises EngineUnsupported where there are no gradients."""
    model, sae = host.torch_model("Attribute"), host.sae(call.sae)
    for name, token in (("target_token", call.target), ("baseline_token", call.baseline)):
        if token is not None and token >= host.model.vocabulary_size:
            raise InvalidField(name, f"{token} is no token; allowed: 0 to {host.model.vocabulary_size - 1}")
    ends_open = isinstance(call.prompt, ChatPrompt) and call.prompt.messages[-1].role == "assistant"
    done = await host.tokenize(call.prompt, open_turn=not ends_open)
    position = _position(call.position, len(done.ids))
    future = host.engine.run_exclusively(
        lambda: attribute_logit(model, sae, done.ids, position, call.target, call.baseline, call.top_k)
    )
    return await asyncio.wrap_future(future)


async def _pool_all(
    host: ModelHost,
    sae: Sae,
    prompts: Sequence[Prompt],
    over: PoolOver,
    owner: str,
    name: str,
    features: tuple[int, ...] = (),
) -> list[Pooled]:
    places = asyncio.Semaphore(PROMPTS_AT_ONCE)

    async def one(number: int, prompt: Prompt) -> Pooled:
        where = f"{name}[{number}]"
        async with places:
            done = await host.tokenize(prompt, open_turn=False, field=where)
            chosen = _chosen(prompt, done, over, number)
            seen = _Residuals()
            await read(host, done.ids, Steering(), owner, {sae.layer: seen.take})
            h, live = torch.cat(seen.parts), torch.cat(seen.live)
            return await asyncio.wrap_future(
                host.engine.run_exclusively(
                    lambda: pool(sae.weights, h, live, chosen, over.pooling, where, features)
                )
            )

    return await all_of([one(number, prompt) for number, prompt in enumerate(prompts)])


async def all_of(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them return, in order. Raises what the first to fail raises, and ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def _chosen(prompt: Prompt, done: TokenizedPrompt, over: PoolOver, number: int) -> Tensor | None:
    if over.spans:
        start, end = over.spans[number]
        return span_mask(len(done.ids), start, end, f"spans[{number}]")
    if over.role is not None and isinstance(prompt, ChatPrompt):
        return role_mask(len(done.ids), done.spans, [m.role for m in prompt.messages], over.role)
    return None


async def read(
    host: ModelHost,
    ids: list[int],
    steering: Steering,
    owner: str,
    captures: dict[int, Capture],
    logit_rows: tuple[int, ...] = (),
    *,
    scores_next: bool = False,
) -> Read:
    """Has the engine read a prompt."""
    stream = EventStream()
    sequence = host.reading(
        ids,
        steering,
        stream.sink,
        owner=owner,
        captures=captures,
        logit_rows=logit_rows,
        scores_next=scores_next,
    )
    host.meters.began(len(ids))
    tally(tokens=len(ids))
    async with aclosing(run(host.engine, sequence, stream)) as events:
        async for event in events:
            if isinstance(event, Read):
                return event
    raise HearthError("the engine ended a read without its result")


def _position(asked: int | None, tokens: int) -> int:
    if asked is None:
        return tokens - 1
    if asked >= tokens:
        raise InvalidField(
            "position", f"is {asked}, but the prompt has {tokens} tokens; allowed: 0 to {tokens - 1}"
        )
    return asked
