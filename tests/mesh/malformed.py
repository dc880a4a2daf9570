"""Malformed requests made from the schema that the server itself reflects.

For every field of every request there is either a list of values that are never allowed or a line in FREE saying that
any value is. A field that a later version adds is in neither, and the walk fails until it is thought of.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

FREE = {
    "page_size", "add_generation_prompt", "seed", "top_k", "logprobs", "ignore_end", "report", "receipt", "latched",
    "end",  # a span's end is judged together with its start
}  # fmt: skip
CHECKED_TOP_K = {"ComputeLogitsRequest", "AttributeRequest", "ContrastRequest"}
"""Requests whose top_k has a limit."""
HUGE = 4_000_000_000
MEGABYTE = "word " * 220_000
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that must be refused, and the path of what is wrong with it."""

    method: str
    path: str
    request: Message


def malformed(method: str, valid: Message) -> Iterator[Malformed]:
    """Every single fault of a valid request that has all its fields set somewhere."""
    for path, break_it in _faults(valid, ""):
        broken = type(valid)()
        broken.CopyFrom(valid)
        break_it(broken)
        yield Malformed(method, path, broken)


def twice(method: str, valid: Message, generator: random.Random) -> Malformed:
    """Two faults at once."""
    faults = list(_faults(valid, ""))
    broken = type(valid)()
    paths = []
    while len(paths) < 2:
        path, break_it = generator.choice(faults)
        broken.CopyFrom(valid)
        break_it(broken)
        paths.append(path)
        second, also = generator.choice(faults)
        try:
            also(broken)
        except (IndexError, AttributeError):  # the first fault took away what the second one breaks
            continue
        paths.append(second)
    return Malformed(method, " and ".join(paths), broken)


Break = Callable[[Any], None]


def _faults(message: Message, path: str) -> Iterator[tuple[str, Break]]:
    for field in message.DESCRIPTOR.fields:
        name = f"{path}.{field.name}" if path else field.name
        yield from _own_faults(message, field, name)
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            continue
        if field.is_repeated:
            for number, inner in enumerate(getattr(message, field.name)):
                for where, break_it in _faults(inner, f"{name}[{number}]"):
                    yield where, _inside(field.name, number, break_it)
        elif message.HasField(field.name):
            for where, break_it in _faults(getattr(message, field.name), name):
                yield where, _inside(field.name, None, break_it)


def _inside(name: str, number: int | None, break_it: Break) -> Break:
    def apply(message: Any) -> None:
        inner = getattr(message, name)
        break_it(inner if number is None else inner[number])

    return apply


def _own_faults(message: Message, field: FieldDescriptor, name: str) -> Iterator[tuple[str, Break]]:
    owner: Descriptor = message.DESCRIPTOR
    if field.name in FREE and not (field.name == "top_k" and owner.name in CHECKED_TOP_K):
        return
    if field.containing_oneof is not None and not field.has_presence:
        return
    oneof = field.containing_oneof
    if oneof is not None and len(oneof.fields) > 1 and message.WhichOneof(oneof.name) != field.name:
        return  # setting it would unset what is there; each member has a valid request of its own
    if oneof is not None and len(oneof.fields) > 1:
        yield f"{name} (unset)", lambda m: m.ClearField(field.name)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        yield from _message_faults(message, field, name)
        return
    for label, value in _bad_values(owner, field):
        yield f"{name} = {label}", _setter(field, value)


def _message_faults(message: Message, field: FieldDescriptor, name: str) -> Iterator[tuple[str, Break]]:
    if field.name in ("when", "prompt", "left"):
        yield f"{name} (missing)", lambda m: m.ClearField(field.name)
    if field.is_repeated and len(getattr(message, field.name)):
        yield f"{name} (too many)", lambda m: getattr(m, field.name).extend([getattr(m, field.name)[0]] * 300)
        if field.name not in ("edits", "scopes", "spans"):
            yield f"{name} (empty)", lambda m: m.ClearField(field.name)
    if field.name == "scopes" and len(getattr(message, field.name)):
        yield f"{name} (nested too deep)", _nest_scopes
    if field.name == "when" and message.HasField("when"):
        yield f"{name} (nested too deep)", _nest_condition


def _nest_scopes(message: Any) -> None:
    scope = message.scopes[0]
    for _ in range(40):
        inner = type(scope)()
        inner.CopyFrom(scope)
        scope.steering.Clear()
        scope.steering.scopes.append(inner)


def _nest_condition(message: Any) -> None:
    for _ in range(40):
        inner = type(message.when)()
        inner.CopyFrom(message.when)
        message.when.Clear()
        message.when.negation.CopyFrom(inner)


def _setter(field: FieldDescriptor, value: object) -> Break:
    def apply(message: Any) -> None:
        if field.is_repeated:
            del getattr(message, field.name)[:]
            getattr(message, field.name).extend(value if isinstance(value, list) else [value])
        else:
            setattr(message, field.name, value)

    return apply


def _bad_values(owner: Descriptor, field: FieldDescriptor) -> list[tuple[str, object]]:
    special: dict[str, list[tuple[str, object]]] = {
        "model": [("unknown", "no/such-model"), ("1 MB", MEGABYTE)],
        "sae": [("unknown", "no-such-sae"), ("1 MB", MEGABYTE)],
        "content": [("1 MB", MEGABYTE)],
        "text": [("1 MB", MEGABYTE), ("empty", "")],
        "message": [("1 MB", MEGABYTE)],
        "event": [("1 MB", MEGABYTE)],
        "page_token": [("unknown", "zzz"), ("huge", "9" * 30), ("negative", "-1")],
        "max_tokens": [("0", 0)],
        "stop": [("empty", [""]), ("17 strings", ["x"] * 17), ("long", ["x" * 257])],
        "start": [("after the end", HUGE)],
        "ids": [("no token", HUGE), ("too many", [1] * 20_000)],
        "temperature": [("negative", -1.0), ("huge", 1e30)],
        "top_p": [("0", 0.0), ("2", 2.0), ("negative", -0.5)],
        "max_delta": [("0", 0.0), ("negative", -1.0), ("huge", 1e30)],
        "min_nudge_entropy": [("negative", -1.0), ("above the largest", 50.0)],
        "max_nudge_entropy": [("negative", -1.0)],
        "nonzero_strength_threshold": [("negative", -1.0)],
    }
    values = list(special.get(field.name, []))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        values += [(str(v), v) for v in NOT_FINITE]
        if owner.name == "Edit":
            values += [("101", 101.0), ("-101", -101.0), ("huge", 3e38)]
    elif field.type == FieldDescriptor.TYPE_ENUM:
        values += [("999", 999), ("-1", -1)]
        if field.name == "operator" or (field.name == "role" and owner.name == "ChatMessage"):
            values.append(("unspecified", 0))
    elif field.type == FieldDescriptor.TYPE_UINT32 and not values:
        values.append(("huge", HUGE))
        if field.is_repeated:
            values.append(("too many", [0] * 1001))
    if not values:
        raise AssertionError(
            f"{owner.full_name}.{field.name}: say in FREE or in _bad_values what is never allowed"
        )
    return values
