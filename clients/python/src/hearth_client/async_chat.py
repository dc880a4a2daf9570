"""Chats: answers whole, and as they are drawn, for programs with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

from hearth_client import operations as op
from hearth_client.answers import ChatCompletion, Chunk, Prompt
from hearth_client.async_running import AsyncRunner
from hearth_client.running import failures
from hearth_client.variant import Variant
from hearth_client.wire.generation import Sampling


class AsyncChatStream(AsyncIterator[Chunk]):
    """The chunks of an answer. The call is made at the first of them.

    Leaving an `async with` block, closing, and whatever is raised meanwhile end the generation on the server.
    """

    def __init__(self, runner: AsyncRunner, generation: op.Generation) -> None:
        self._runner, self._generation = runner, generation
        self._call: Any = None

    @property
    def text(self) -> str:
        """All text so far."""
        return self._generation.answer.text

    async def __anext__(self) -> Chunk:
        try:
            if self._call is None:
                self._call, first = await self._runner.run(self._generation.begin(self._runner.session))
                if first:
                    return first
            with failures():
                async for message in self._call:
                    if chunk := self._generation.answer.take(message):
                        return chunk
        except BaseException:
            self.close()
            raise
        raise StopAsyncIteration

    async def whole(self) -> ChatCompletion:
        """The answer once it has ended, from its beginning."""
        async for _ in self:
            pass
        return self._generation.answer.whole()

    def close(self) -> None:
        """Ends the generation; nothing happens to one that has ended."""
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncCompletions:
    """Answers to chats."""

    def __init__(self, runner: AsyncRunner) -> None:
        self._runner = runner

    @overload
    async def create(
        self,
        messages: Prompt,
        model: str | Variant = "",
        *,
        stream: Literal[False] = False,
        max_completion_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        top_logprobs: int = 0,
        report: bool = False,
        receipt: bool = False,
    ) -> ChatCompletion: ...

    @overload
    async def create(
        self,
        messages: Prompt,
        model: str | Variant = "",
        *,
        stream: Literal[True],
        max_completion_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        top_logprobs: int = 0,
        report: bool = False,
        receipt: bool = False,
    ) -> AsyncChatStream: ...

    async def create(
        self,
        messages: Prompt,
        model: str | Variant = "",
        *,
        stream: bool = False,
        max_completion_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        top_logprobs: int = 0,
        report: bool = False,
        receipt: bool = False,
    ) -> ChatCompletion | AsyncChatStream:
        """Answers a chat, or goes on with a plain text; what is not given is left to the server.

        With `stream`, the answer comes as it is drawn; closing it ends the generation. `report` asks what the edits
        delivered against what was asked, `receipt` with what the text can be drawn again; both are in `finished`.
        """
        sampling = Sampling(
            max_completion_tokens=max_completion_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            stop=stop,
            top_logprobs=top_logprobs,
        )
        answer = AsyncChatStream(
            self._runner, op.Generation.of(messages, model, sampling, report=report, receipt=receipt)
        )
        return answer if stream else await answer.whole()


class AsyncChat:
    """Chats with a model."""

    def __init__(self, runner: AsyncRunner) -> None:
        self._runner = runner
        self.completions = AsyncCompletions(runner)

    async def logits(self, messages: Prompt, model: str | Variant = "", top_k: int = 10) -> dict[str, float]:
        """The largest logits of the token that comes next, by token."""
        return await self._runner.run(op.logits(self._runner.session, messages, model, top_k))
