"""Requests of AutoSteerService as plain values. All errors are InvalidField with the path of the field."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.autosteer.creation import Wish
from services.autosteer.limits import MAX_BEHAVIOR, MAX_SECONDS, MAX_TOKENS, MAX_TRIALS, MIN_SECONDS, check
from services.autosteer.spec import Budget, JudgeChoice, Message, Prompt, Spec, Tier
from services.errors import InvalidField
from services.rpc import fields

MAX_PAGE = 1000
MAX_MESSAGES = 128
MAX_PAIRS, PAIRS = 64, 16
MAX_ENDPOINT, MAX_MODEL = 2000, 200
_DEFAULTS = Spec()
_TIERS = {
    pb.AUTO_STEER_TIER_UNSPECIFIED: Tier.DEFAULT,
    pb.AUTO_STEER_TIER_QUICK: Tier.QUICK,
    pb.AUTO_STEER_TIER_DEFAULT: Tier.DEFAULT,
    pb.AUTO_STEER_TIER_THOROUGH: Tier.THOROUGH,
}
_ROLES = {
    prompt_pb2.ROLE_SYSTEM: "system",
    prompt_pb2.ROLE_USER: "user",
    prompt_pb2.ROLE_ASSISTANT: "assistant",
}


def created(request: pb.CreateAutoSteerJobRequest) -> Wish:
    """What a job is to do, and the request_id."""
    asked = request.spec
    if asked.tier not in _TIERS:
        raise InvalidField("spec.tier", f"is {asked.tier}; allowed: quick, default, thorough")
    spec = Spec(
        behavior=_text(asked.behavior, "spec.behavior", MAX_BEHAVIOR),
        positive=_prompts(asked.positive, "spec.positive"),
        negative=_prompts(asked.negative, "spec.negative"),
        prompts=_prompts(asked.prompts, "spec.prompts"),
        model=asked.model,
        sae=asked.sae,
        max_features=asked.max_features if asked.HasField("max_features") else _DEFAULTS.max_features,
        max_trials=_count(asked, "max_trials", MAX_TRIALS),
        budget=Budget(_TIERS[asked.tier], _seconds(asked)),
        seed=asked.seed,
        judge=JudgeChoice(
            asked.judge.name or _DEFAULTS.judge.name,
            _text(asked.judge.endpoint, "spec.judge.endpoint", MAX_ENDPOINT),
            _text(asked.judge.model, "spec.judge.model", MAX_MODEL),
        ),
        temperature=asked.temperature if asked.HasField("temperature") else _DEFAULTS.temperature,
        max_tokens=_count(asked, "max_tokens", MAX_TOKENS),
    )
    if 0 < spec.max_trials < spec.max_features:
        raise InvalidField(
            "spec.max_trials",
            f"is {spec.max_trials}, less than the {spec.max_features} features; allowed: a trial for each at least",
        )
    check(spec)
    return Wish(spec, asked.HasField("seed"), fields.optional_uuid(request.request_id, "request_id"))


def drafted(request: pb.DraftContrastRequest) -> tuple[Spec, int]:
    """Of what to draft examples, and how many pairs."""
    count = request.count if request.HasField("count") else PAIRS
    if not 1 <= count <= MAX_PAIRS:
        raise InvalidField("count", f"is {count}; allowed: 1 to {MAX_PAIRS}")
    behavior = _text(request.behavior, "behavior", MAX_BEHAVIOR)
    if not behavior.strip():
        raise InvalidField("behavior", "is empty; allowed: a behaviour in words")
    return Spec(behavior=behavior, model=request.model, seed=_seed(request.seed)), count


def suggested(request: pb.SuggestConditionRequest) -> Spec:
    """What a condition is to notice."""
    spec = Spec(
        behavior=_text(request.behavior, "behavior", MAX_BEHAVIOR),
        positive=_prompts(request.positive, "positive"),
        negative=_prompts(request.negative, "negative"),
        model=request.model,
        sae=request.sae,
        max_features=request.max_features if request.HasField("max_features") else _DEFAULTS.max_features,
        seed=_seed(request.seed),
    )
    try:
        check(spec, "")
    except InvalidField as error:  # its fields lie in the request itself
        field = error.field.removeprefix(".")
        raise InvalidField(field, error.message.partition(": ")[2]) from error
    return spec


def _text(value: str, field: str, most: int) -> str:
    return fields.text(value, field, most)


def _count(asked: pb.AutoSteerSpec, name: str, most: int) -> int:
    """The field's number; 0 where it is not set."""
    if not asked.HasField(name):  # type: ignore[arg-type]
        return 0
    value: int = getattr(asked, name)
    if not 1 <= value <= most:
        raise InvalidField(f"spec.{name}", f"is {value}; allowed: 1 to {most}")
    return value


def _seconds(asked: pb.AutoSteerSpec) -> float | None:
    if not asked.HasField("budget"):
        return None
    seconds = asked.budget.seconds + asked.budget.nanos / 1e9
    if not 0 <= asked.budget.nanos < 1_000_000_000:
        raise InvalidField("spec.budget.nanos", f"is {asked.budget.nanos}; allowed: 0 to 999,999,999")
    if not (math.isfinite(seconds) and MIN_SECONDS <= seconds <= MAX_SECONDS):
        raise InvalidField("spec.budget", f"is {seconds:g} s; allowed: {MIN_SECONDS:g} to {MAX_SECONDS:g} s")
    return seconds


def _seed(value: int) -> int:
    if value >= 2**63:
        raise InvalidField("seed", f"is {value}; allowed: at most 2^63 - 1")
    return value


def _prompts(messages: Iterable[prompt_pb2.Prompt], field: str) -> tuple[Prompt, ...]:
    return tuple(_prompt(message, f"{field}[{number}]") for number, message in enumerate(messages))


def _prompt(message: prompt_pb2.Prompt, field: str) -> Prompt:
    match message.WhichOneof("input"):
        case "text":
            return Prompt(text=_without_nul(message.text, f"{field}.text"))
        case "chat":
            said = message.chat.messages
            if not 1 <= len(said) <= MAX_MESSAGES:
                raise InvalidField(
                    f"{field}.chat.messages", f"holds {len(said)}; allowed: 1 to {MAX_MESSAGES}"
                )
            path = f"{field}.chat.messages"
            return Prompt(tuple(_message(each, f"{path}[{number}]") for number, each in enumerate(said)))
        case _:
            raise InvalidField(field, "is neither a chat nor a text; allowed: one of them")


def _message(message: prompt_pb2.ChatMessage, field: str) -> Message:
    if message.role not in _ROLES:
        raise InvalidField(f"{field}.role", f"is {message.role}; allowed: system, user, assistant")
    return Message(_ROLES[message.role], _without_nul(message.content, f"{field}.content"))


def _without_nul(value: str, field: str) -> str:
    return fields.text(value, field, len(value))


def sequence(value: int) -> int:
    """A place in a job's log, as a database can hold it."""
    if value >= 2**63:
        raise InvalidField("after_sequence", f"is {value}; allowed: at most 2^63 - 1")
    return value
