"""Requests from messages: what is not allowed is refused here, naming the field, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.errors import InvalidField
from services.inference.pooling import Pooling
from services.inference.requests import (
    AttributeCall,
    BatchInspectCall,
    ChatPrompt,
    ContrastCall,
    GenerateCall,
    InspectCall,
    LogitsCall,
    PoolOver,
    Prompt,
    ScoreCall,
    TextPrompt,
    TokenizeCall,
    TokenPrompt,
)
from services.inference.sampling import Sampling
from services.inference.tokenizer import Message
from services.steering.wire import steering_from_proto

MAX_MESSAGES = 128
MAX_PROMPTS = 256
MAX_NAMED_FEATURES = 512
MAX_STOPS, MAX_STOP_BYTES = 16, 256
MAX_TOP_LOGPROBS = 20
MAX_LOGITS = 1000
MAX_RESULTS = 1000
MAX_TEMPERATURE = 10.0

_ROLES: dict[int, str] = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
}
_POOLING: dict[int, Pooling] = {
    pb.POOLING_UNSPECIFIED: Pooling.MAX,
    pb.POOLING_MAX: Pooling.MAX,
    pb.POOLING_MEAN: Pooling.MEAN,
    pb.POOLING_LAST: Pooling.LAST,
}


def prompt(message: prompt_pb2.Prompt, field: str = "prompt") -> Prompt:
    """A prompt."""
    match message.WhichOneof("input"):
        case "chat":
            messages = message.chat.messages
            _check_count(messages, 1, MAX_MESSAGES, f"{field}.chat.messages", "messages")
            where = f"{field}.chat.messages"
            return ChatPrompt(
                tuple(Message(_role(m.role, f"{where}[{n}].role"), m.content) for n, m in enumerate(messages))
            )
        case "text":
            return TextPrompt(message.text)
        case "token_ids":
            if not message.token_ids.ids:
                raise InvalidField(f"{field}.token_ids.ids", "it is empty; allowed: at least one token")
            return TokenPrompt(tuple(message.token_ids.ids))
        case _:
            raise InvalidField(field, "it is not set; allowed: one of chat, text, token_ids")


def sampling(message: pb.Sampling, seed: int) -> Sampling:
    """How tokens are drawn; `seed` stands in where none is given."""
    field = "sampling"
    values = Sampling(
        temperature=_number(message, "temperature", 1.0, field, 0.0, MAX_TEMPERATURE),
        top_p=_number(message, "top_p", 1.0, field, 0.0, 1.0, open_low=True),
        top_k=message.top_k,
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        stop=tuple(message.stop),
        seed=message.seed if message.HasField("seed") else seed,
        top_logprobs=message.top_logprobs,
        logprobs=message.logprobs,
        ignore_end=message.ignore_end,
    )
    if values.max_tokens == 0:
        raise InvalidField(f"{field}.max_tokens", "is 0; allowed: at least 1, or leave it unset")
    if values.top_logprobs > MAX_TOP_LOGPROBS:
        raise InvalidField(
            f"{field}.top_logprobs", f"is {values.top_logprobs}; allowed: 0 to {MAX_TOP_LOGPROBS}"
        )
    _check_count(values.stop, 0, MAX_STOPS, f"{field}.stop", "strings")
    for number, stop in enumerate(values.stop):
        if not 1 <= len(stop.encode()) <= MAX_STOP_BYTES:
            raise InvalidField(
                f"{field}.stop[{number}]", f"has {len(stop.encode())} bytes; allowed: 1 to {MAX_STOP_BYTES}"
            )
    return values


def generate(request: pb.GenerateRequest, seed: int) -> GenerateCall:
    """A GenerateRequest."""
    return GenerateCall(
        request.model,
        prompt(request.prompt),
        steering_from_proto(request.steering),
        sampling(request.sampling, seed),
        request.report,
        request.receipt,
        request.digests_only,
    )


def tokenize(request: pb.TokenizeRequest) -> TokenizeCall:
    """A TokenizeRequest."""
    return TokenizeCall(request.model, prompt(request.prompt), request.add_generation_prompt)


def logits(request: pb.ComputeLogitsRequest) -> LogitsCall:
    """A ComputeLogitsRequest."""
    _check_most(request.top_k, MAX_LOGITS, "top_k")
    _check_count(request.token_ids, 0, MAX_LOGITS, "token_ids", "tokens")
    top_k = request.top_k or (0 if request.token_ids else 20)
    return LogitsCall(
        request.model,
        prompt(request.prompt),
        steering_from_proto(request.steering),
        request.position if request.HasField("position") else None,
        top_k,
        tuple(request.token_ids),
    )


def score_texts(request: pb.ScoreTextsRequest) -> ScoreCall:
    """A ScoreTextsRequest."""
    _check_count(request.continuations, 1, MAX_PROMPTS, "continuations", "texts")
    return ScoreCall(
        request.model,
        tuple(
            (prompt(c.prompt, f"continuations[{n}].prompt"), c.text)
            for n, c in enumerate(request.continuations)
        ),
        steering_from_proto(request.steering),
        request.token_logprobs,
    )


def inspect(request: pb.InspectRequest) -> InspectCall:
    """An InspectRequest."""
    _check_count(request.feature_indices, 0, MAX_NAMED_FEATURES, "feature_indices", "features")
    return InspectCall(
        request.model,
        prompt(request.prompt),
        steering_from_proto(request.steering),
        request.sae,
        tuple(request.feature_indices),
        request.top_k,
        request.add_generation_prompt,
    )


def batch_inspect(request: pb.BatchInspectRequest) -> BatchInspectCall:
    """A BatchInspectRequest."""
    _check_count(request.prompts, 1, MAX_PROMPTS, "prompts", "prompts")
    _check_count(request.feature_indices, 0, MAX_NAMED_FEATURES, "feature_indices", "features")
    prompts = _prompts(request.prompts, "prompts")
    role = _optional_role(request.role, prompts, "prompts")
    spans = tuple((s.start, s.end) for s in request.spans)
    if spans and role is not None:
        raise InvalidField("spans", "given together with role; allowed: one of them")
    if spans and len(spans) != len(prompts):
        raise InvalidField(
            "spans", f"{len(spans)} spans for {len(prompts)} prompts; allowed: one for each, or none"
        )
    for number, (start, end) in enumerate(spans):
        if start >= end:
            raise InvalidField(f"spans[{number}]", f"[{start}, {end}) is empty; allowed: start < end")
    over = PoolOver(_pooling(request.pooling), role, spans)
    return BatchInspectCall(
        request.model, prompts, request.sae, over, tuple(request.feature_indices), request.top_k
    )


def attribute(request: pb.AttributeRequest) -> AttributeCall:
    """An AttributeRequest."""
    _check_most(request.top_k, MAX_RESULTS, "top_k")
    return AttributeCall(
        request.model,
        prompt(request.prompt),
        request.sae,
        request.target_token if request.HasField("target_token") else None,
        request.baseline_token if request.HasField("baseline_token") else None,
        request.position if request.HasField("position") else None,
        request.top_k or 50,
    )


def contrast(request: pb.ContrastRequest) -> ContrastCall:
    """A ContrastRequest."""
    _check_most(request.top_k, MAX_RESULTS, "top_k")
    _check_count(request.positive, 1, MAX_PROMPTS, "positive", "prompts")
    _check_count(request.negative, 1, MAX_PROMPTS, "negative", "prompts")
    positive, negative = _prompts(request.positive, "positive"), _prompts(request.negative, "negative")
    role = _optional_role(request.role, positive, "positive")
    _optional_role(request.role, negative, "negative")
    over = PoolOver(_pooling(request.pooling), role)
    return ContrastCall(request.model, request.sae, positive, negative, over, request.top_k or 20)


def page(size: int, token: str, count: int) -> range:
    """The numbers of a page's items."""
    if token and not (token.isascii() and token.isdigit() and len(token) < 10):
        raise InvalidField(
            "page_token", "is none that an earlier answer gave; allowed: next_page_token or empty"
        )
    start = int(token or 0)
    return range(min(start, count), min(start + (size or 100), count))


def _prompts(messages: Sequence[prompt_pb2.Prompt], field: str) -> tuple[Prompt, ...]:
    return tuple(prompt(m, f"{field}[{n}]") for n, m in enumerate(messages))


def _role(number: int, field: str) -> str:
    if number not in _ROLES:
        raise InvalidField(field, f"is {number}; allowed: ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT")
    return _ROLES[number]


def _optional_role(number: int, prompts: tuple[Prompt, ...], field: str) -> str | None:
    if number == prompt_pb2.ROLE_UNSPECIFIED:
        return None
    role = _role(number, "role")
    for place, each in enumerate(prompts):
        if not isinstance(each, ChatPrompt):
            raise InvalidField(
                f"{field}[{place}]", "is no chat, but role asks for a message's content; allowed: chats"
            )
    return role


def _pooling(number: int) -> Pooling:
    if number not in _POOLING:
        raise InvalidField("pooling", f"is {number}; allowed: POOLING_MAX, POOLING_MEAN, POOLING_LAST")
    return _POOLING[number]


def _number(
    message: pb.Sampling, name: str, unset: float, field: str, low: float, high: float, open_low: bool = False
) -> float:
    if not message.HasField(name):  # type: ignore[arg-type]
        return unset
    value = float(getattr(message, name))
    if not math.isfinite(value) or value > high or value < low or (open_low and value == low):
        raise InvalidField(
            f"{field}.{name}", f"is {value:g}; allowed: {'(' if open_low else '['}{low:g}, {high:g}]"
        )
    return value


def _check_count(values: Sequence[object], low: int, high: int, field: str, what: str) -> None:
    if not low <= len(values) <= high:
        raise InvalidField(field, f"holds {len(values)} {what}; allowed: {low} to {high}")


def _check_most(value: int, most: int, field: str) -> None:
    if value > most:
        raise InvalidField(field, f"is {value}; allowed: at most {most}")
