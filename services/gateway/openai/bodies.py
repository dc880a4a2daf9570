"""Bodies of OpenAI's routes: its fields that Hearth honours, and Hearth's own beside them.

Every other field is looked at in `unsupported.py`. What a model or an SAE must know is checked by the services.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.gateway.ember.bodies import ControllerBody

MAX_SAMPLES = 128
"""Answers of one request: `n`, times the prompts of a completion."""
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
TokenId = Annotated[int, Field(ge=0, lt=2**32)]


class Body(BaseModel):
    """What all bodies have in common. Fields that are not declared are kept, to be refused by name."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True
    )


class StreamOptionsBody(Body):
    """What a stream holds besides text."""

    include_usage: bool | None = None
    """Whether a last chunk without choices counts the tokens of all answers."""


class GenerationBody(Body):
    """What chat and text completions have in common."""

    model: str
    """A served model, `variant:ID` for a saved variant of the caller's, or empty for the first model."""
    stream: bool | None = None
    """Sends the answer as it comes, as server-sent events."""
    stream_options: StreamOptionsBody | None = None
    """Only with `stream`."""
    n: int | None = Field(default=None, ge=1, le=MAX_SAMPLES)
    """Answers to draw; 1 unless set. The first has the seed, the others have seeds that follow from it."""
    max_tokens: int | None = Field(default=None, ge=1, lt=2**32)
    """Tokens an answer may have; unless set 512 for a chat, 16 for a text, or what the context leaves."""
    temperature: float | None = Field(default=None, ge=0, le=10)
    """0 takes the likeliest token; 1 unless set."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draws from the likeliest tokens that hold this probability; 1 unless set."""
    top_k: int | None = Field(default=None, ge=0, lt=2**32)
    """Hearth's: draws from so many likeliest tokens; 0 means all."""
    stop: str | list[str] | None = None
    """The answer ends before any of these; at most 16 of at most 256 bytes."""
    seed: Seed | None = None
    """The same request with the same seed gives the same text."""
    ignore_eos: bool | None = None
    """Hearth's: goes on past the end-of-text token until the largest number of tokens; for benchmarks."""
    controller: ControllerBody | None = None
    """Hearth's: steers as Ember's SDK says it."""
    steering: dict[str, Any] | None = None
    """Hearth's: steers by a `hearth.v1.Steering` in JSON."""
    report: bool | None = None
    """Hearth's: each choice gets a `report` of what the edits delivered against what was asked."""
    receipt: bool | None = None
    """Hearth's: each choice gets a `receipt` with which its text can be reproduced."""

    @property
    def samples(self) -> int:
        """Answers to one prompt."""
        return self.n or 1

    @property
    def stops(self) -> list[str]:
        """The strings that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends with a chunk that counts tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


class PartBody(Body):
    """A part of a message; only text can be read."""

    type: str
    """`text`."""
    text: str | None = None
    """What it says."""


class MessageBody(Body):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who speaks; `developer` is another word for `system`."""
    content: str | list[PartBody] | None = None
    """What is said. Parts are joined as they are."""

    @property
    def text(self) -> str:
        """What is said, in one piece."""
        if isinstance(self.content, list):
            return "".join(part.text or "" for part in self.content)
        return self.content or ""


class ChatBody(GenerationBody):
    """Asks for answers to a chat."""

    messages: list[MessageBody] = Field(min_length=1, max_length=128)
    """The chat, in order."""
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**32)
    """OpenAI's newer name of `max_tokens`; counts where both are set."""
    logprobs: bool | None = None
    """Returns each token's log probability."""
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Returns so many alternatives with each token; only with `logprobs`."""

    @property
    def most_tokens(self) -> int | None:
        """Tokens an answer may have, if the caller says."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def wants_logprobs(self) -> bool:
        """Whether tokens come with their log probabilities."""
        return bool(self.logprobs)

    @property
    def alternatives(self) -> int:
        """Likely tokens to return at each place."""
        return self.top_logprobs or 0


class CompletionBody(GenerationBody):
    """Asks for texts that go on from a prompt (OpenAI's older contract)."""

    prompt: str | list[str] | list[TokenId] | list[list[TokenId]]
    """A text, token ids, or several of either. No chat template is applied."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    """Returns each token's log probability with so many alternatives."""

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or more."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        tokens = [each for each in self.prompt if isinstance(each, int)]
        return [tokens] if tokens else [each for each in self.prompt if not isinstance(each, int)]

    @property
    def most_tokens(self) -> int:
        """Tokens an answer may have."""
        return self.max_tokens or 16

    @property
    def wants_logprobs(self) -> bool:
        """Whether tokens come with their log probabilities."""
        return self.logprobs is not None

    @property
    def alternatives(self) -> int:
        """Likely tokens to return at each place."""
        return self.logprobs or 0
