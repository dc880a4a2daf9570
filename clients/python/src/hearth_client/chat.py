"""Chats: answers whole, and as they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, Self, overload

from hearth_client import operations as op
from hearth_client.answers import ChatCompletion, Chunk, Prompt
from hearth_client.running import Runner, failures
from hearth_client.variant import Variant
from hearth_client.wire.generation import Sampling


class ChatStream(Iterator[Chunk]):
    """The chunks of an answer. The call is made at the first of them.

    Leaving a `with` block, closing, and whatever is raised meanwhile end the generation on the server.
    """

    def __init__(self, runner: Runner, generation: op.Generation) -> None:
        self._runner, self._generation = runner, generation
        self._call: Any = None

    @property
    def text(self) -> str:
        """All text so far."""
        return self._generation.answer.text

    def __next__(self) -> Chunk:
        try:
            if self._call is None:
                self._call, first = self._runner.run(self._generation.begin(self._runner.session))
                if first:
                    return first
            with failures():
                for message in self._call:
                    if chunk := self._generation.answer.take(message):
                        return chunk
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def whole(self) -> ChatCompletion:
        """The answer once it has ended, from its beginning."""
        for _ in self:
            pass
        return self._generation.answer.whole()

    def close(self) -> None:
        """Ends the generation; nothing happens to one that has ended."""
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Completions:
    """Answers to chats."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @overload
    def create(
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
    def create(
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
    ) -> ChatStream: ...

    def create(
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
    ) -> ChatCompletion | ChatStream:
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
        answer = ChatStream(
            self._runner, op.Generation.of(messages, model, sampling, report=report, receipt=receipt)
        )
        return answer if stream else answer.whole()


class Chat:
    """Chats with a model."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.completions = Completions(runner)

    def logits(self, messages: Prompt, model: str | Variant = "", top_k: int = 10) -> dict[str, float]:
        """The largest logits of the token that comes next, by token."""
        return self._runner.run(op.logits(self._runner.session, messages, model, top_k))
