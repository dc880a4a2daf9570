"""How likely texts are as continuations of prompts."""

from __future__ import annotations

import asyncio

from services.errors import InvalidField
from services.inference.host import ModelHost
from services.inference.readings import PROMPTS_AT_ONCE, all_of, read
from services.inference.requests import Prompt, ScoreCall


async def score_texts(host: ModelHost, call: ScoreCall, owner: str) -> list[list[float]]:
    """For each text the log probability of each of its tokens, in nats, under the model as steered."""
    places = asyncio.Semaphore(PROMPTS_AT_ONCE)

    async def one(number: int, prompt: Prompt, text: str) -> list[float]:
        where = f"continuations[{number}]"
        async with places:
            # Texts that cannot fit are refused before they are tokenised, as prompts are.
            host.refuse_long(len(text.encode()), host.model.context_length - 1, f"{where}.text")
            ids = await asyncio.to_thread(host.tokenizer.encode_continuation, text)
            if not ids:
                raise InvalidField(f"{where}.text", "it has no tokens; allowed: at least one")
            before = await host.tokenize(prompt, open_turn=True, field=f"{where}.prompt", room=len(ids))
            start = len(before.ids) - 1
            rows = tuple(range(start, start + len(ids)))
            answer = await read(host, [*before.ids, *ids], call.steering, owner, {}, rows, scores_next=True)
            assert answer.logprobs is not None
            logprobs: list[float] = answer.logprobs.tolist()
            return logprobs

    return await all_of([one(n, prompt, text) for n, (prompt, text) in enumerate(call.continuations)])
