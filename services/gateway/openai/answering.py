"""From a body to its answers."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from services.gateway.callers import Caller
from services.gateway.gateway import Gateway
from services.gateway.openai.answers import Asked, Chunks, Form, Heading, streamed, whole
from services.gateway.openai.bodies import ChatBody, CompletionBody
from services.gateway.openai.params import in_words_of, names_of
from services.gateway.openai.pieces import Piece
from services.gateway.openai.samples import Tokens, counted
from services.gateway.openai.wire.generation import generated
from services.gateway.openai.wire.requests import chat_requests, completion_requests
from services.gateway.openai.wire.target import target_of
from services.gateway.streaming import DONE, Event


@dataclass(frozen=True, slots=True)
class Answering:
    """Answers that are asked for; nothing runs before they are read."""

    heading: Heading
    form: Form
    asked: Asked
    pieces: AsyncGenerator[tuple[int, Piece]]
    tokens: Tokens
    streams: bool
    """Whether the caller wants them as they come."""

    async def whole(self) -> dict[str, Any]:
        """All answers at once."""
        return await whole(self.pieces, self.heading, self.form, self.asked, self.tokens)

    async def events(self) -> AsyncIterator[Event]:
        """All answers as they come."""
        chunks = Chunks(self.heading, self.form, self.asked)
        async with aclosing(streamed(self.pieces, chunks, self.tokens)) as coming:
            async for chunk in coming:
                yield chunk
        yield DONE


async def begin(body: ChatBody | CompletionBody, form: Form, gateway: Gateway, caller: Caller) -> Answering:
    """Finds out what is asked for. Raises InvalidField, ModelNotServed, NotFound, RpcFailure."""
    with in_words_of(names_of(body)):
        target = await target_of(body, gateway, caller)
        if isinstance(body, ChatBody):
            requests, kind = chat_requests(body, target), "chatcmpl"
        else:
            requests, kind = completion_requests(body, target), "cmpl"
    streams = [
        generated(request, gateway, caller, names_of(body, number // body.samples))
        for number, request in enumerate(requests)
    ]
    tokens = Tokens(body.samples)
    heading = Heading(
        f"{kind}-{secrets.token_hex(12)}",
        int(time.time()),
        target.name,
        f"fp_{target.model.weights_digest[:12]}",
    )
    return Answering(
        heading,
        form,
        Asked(len(requests), body.wants_logprobs, body.counts_usage),
        counted(streams, tokens, caller),
        tokens,
        bool(body.stream),
    )
