"""Requests for text, and the events of a generation as chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hearth_client.answers import ChatCompletion, ChatMessage, Chunk, FinishReason, InferenceContext, Prompt
from hearth_client.errors import InferenceAborted
from hearth_client.v1 import inference_service_pb2 as pb
from hearth_client.v1 import prompt_pb2
from hearth_client.variant import Variant
from hearth_client.wire.steering import steering

_ROLES = {
    "system": prompt_pb2.ROLE_SYSTEM,
    "user": prompt_pb2.ROLE_USER,
    "assistant": prompt_pb2.ROLE_ASSISTANT,
}
_REASONS: dict[int, FinishReason] = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_ABORTED: "aborted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn; None leaves it to the server."""

    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | Sequence[str] = ()
    top_logprobs: int = 0


def prompt(given: Prompt) -> prompt_pb2.Prompt:
    """What the model reads."""
    if isinstance(given, str):
        return prompt_pb2.Prompt(text=given)
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=map(_message, given)))


def request(
    given: Prompt, variant: Variant, sampling: Sampling, *, report: bool = False, receipt: bool = False
) -> pb.GenerateRequest:
    """Asks for text."""
    drawn = pb.Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=sampling.max_completion_tokens,
        seed=sampling.seed,
        stop=[sampling.stop] if isinstance(sampling.stop, str) else sampling.stop,
        top_logprobs=sampling.top_logprobs,
    )
    return pb.GenerateRequest(
        model=variant.base_model,
        prompt=prompt(given),
        steering=steering(variant),
        sampling=drawn,
        report=report,
        receipt=receipt,
    )


@dataclass(slots=True)
class Answer:
    """An answer while it comes: takes the events, calls the variant's handlers, and knows the whole in the end."""

    prompt: Prompt
    variant: Variant
    started: pb.GenerationStarted = field(default_factory=pb.GenerationStarted)
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(each.text for each in self.chunks)

    def take(self, message: pb.GenerateResponse) -> Chunk | None:
        """The next chunk; None where it only says that it began. Raises InferenceAborted, and what handlers raise."""
        event = message.WhichOneof("event")
        if event == "started":
            self.started = message.started
            return None
        if event == "delta":
            delta = message.delta
            chunk = Chunk(delta.text, tuple(delta.token_ids), tuple(delta.logprobs))
        elif event == "scope_triggered":
            told = message.scope_triggered
            chunk = Chunk(event=told.event, position=told.position)
            if handler := self.variant.handlers.get(told.event):
                handler(InferenceContext(self.prompt, self.text, told.event, told.position))
        else:
            finished = message.finished
            if finished.reason == pb.FINISH_REASON_ABORTED:
                raise InferenceAborted(finished.abort_message, self.text)
            chunk = Chunk(finish_reason=_REASONS.get(finished.reason, "stop"), finished=finished)
        self.chunks.append(chunk)
        return chunk

    def whole(self) -> ChatCompletion:
        """The whole answer, once it has ended."""
        last = self.chunks[-1]
        assert last.finished is not None
        return ChatCompletion(
            self.text,
            last.finish_reason or "stop",
            self.started.seed,
            tuple(each for each in self.chunks if each.event is not None),
            tuple(token for each in self.chunks for token in each.token_ids),
            tuple(logprob for each in self.chunks for logprob in each.logprobs),
            last.finished,
        )


def _message(given: ChatMessage) -> prompt_pb2.ChatMessage:
    role = given["role"]
    if role not in _ROLES:
        raise ValueError(f"a message's role is {role!r}; allowed: {', '.join(_ROLES)}")
    return prompt_pb2.ChatMessage(role=_ROLES[role], content=given["content"])
