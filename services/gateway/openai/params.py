"""Errors of the services in the words of the request that the caller sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from services.errors import InvalidField
from services.gateway.openai.bodies import ChatBody, CompletionBody
from services.rpc.status import FieldViolation, RpcFailure


def names_of(body: ChatBody | CompletionBody, prompt: int = 0) -> dict[str, str]:
    """What the caller calls the fields of a GenerateRequest; the longest beginning counts."""
    names = {"sampling": "", "sampling.max_tokens": "max_tokens"}
    if isinstance(body, ChatBody):
        names |= {"prompt": "messages", "prompt.chat.messages": "messages"}
        if body.max_completion_tokens is not None:
            names["sampling.max_tokens"] = "max_completion_tokens"
    else:
        several = not isinstance(body.prompt, str) and len(body.prompts) > 1
        name = f"prompt[{prompt}]" if several else "prompt"
        names |= dict.fromkeys(("prompt", "prompt.text", "prompt.token_ids.ids"), name)
    if body.controller is not None:
        names["steering"] = "controller"
    elif body.steering is None:
        names["steering"] = "model"
    return names


@contextmanager
def in_words_of(names: Mapping[str, str]) -> Iterator[None]:
    """Failures raised within name the caller's fields, and a text that is no Unicode is the caller's fault."""
    try:
        yield
    except RpcFailure as failure:
        raise _renamed(failure, names) from failure
    except UnicodeEncodeError:
        raise InvalidField(
            "body", "a text holds half of a surrogate pair; allowed: whole Unicode characters"
        ) from None


def _renamed(failure: RpcFailure, names: Mapping[str, str]) -> RpcFailure:
    old = failure.field
    new = _name(old, names)
    if not old or new == old:
        return failure
    message = failure.message
    if message.startswith(f"{old}: "):
        message = new + message.removeprefix(old)
    rest = tuple(FieldViolation(_name(each.field, names), each.problem) for each in failure.violations[1:])
    return RpcFailure(
        failure.code,
        message,
        reason=failure.reason,
        violations=(FieldViolation(new, message), *rest),
        retry_after=failure.retry_after,
        request_id=failure.request_id,
    )


def _name(field: str, names: Mapping[str, str]) -> str:
    for old in sorted(names, key=len, reverse=True):
        if field == old or field.startswith((f"{old}.", f"{old}[")):
            return (names[old] + field.removeprefix(old)).lstrip(".")
    return field
