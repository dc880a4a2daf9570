"""Malformed requests made from the schema that the server itself reflects.

For every field of every request, the rules of its service have either a list of values that are never allowed, or say
that any value is. A field that a later version adds is in neither, and the walk fails until it is thought of.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

HUGE = 4_000_000_000
MEGABYTE = "word " * 220_000
NOT_FINITE = (float("nan"), float("inf"), float("-inf"))
Bad = list[tuple[str, object]]
"""Values that are never allowed, each with what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the fields of a service's requests may be. A field is named `name`, or `Message.name` where that counts."""

    free: frozenset[str]
    """Fields that may have any value."""
    bad: Mapping[str, Bad]
    """Values that are never allowed; what is not finite, in no enum, or huge, is added by type."""
    required: frozenset[str] = frozenset()
    """Messages that may not be missing."""
    may_be_empty: frozenset[str] = frozenset()
    """Lists of messages that may be."""
    too_many: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """How many of a list of messages are too many; 300 unless said."""
    unread: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By request: a pattern of the paths that the server does not look at."""

    def is_free(self, owner: Descriptor, name: str) -> bool:
        """Whether any value is allowed."""
        qualified = f"{owner.name}.{name}"
        return qualified not in self.bad and (name in self.free or qualified in self.free)

    def is_unread(self, request: Descriptor, path: str) -> bool:
        """Whether the server does not look at a path of a request."""
        pattern = self.unread.get(request.name)
        return pattern is not None and re.match(pattern, path) is not None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A request that must be refused, and the path of what is wrong with it."""

    method: str
    path: str
    request: Message


def malformed(method: str, valid: Message, rules: Rules) -> Iterator[Malformed]:
    """Every single fault of a valid request that has all its fields set somewhere."""
    for path, break_it in _Walk(valid, rules).faults(valid, ""):
        broken = type(valid)()
        broken.CopyFrom(valid)
        break_it(broken)
        yield Malformed(method, path, broken)


def twice(method: str, valid: Message, rules: Rules, generator: random.Random) -> Malformed:
    """Two faults at once."""
    faults = list(_Walk(valid, rules).faults(valid, ""))
    broken = type(valid)()
    paths: list[str] = []
    while len(paths) < 2:
        path, break_it = generator.choice(faults)
        broken.CopyFrom(valid)
        break_it(broken)
        paths = [path]
        second, also = generator.choice(faults)
        try:
            also(broken)
        except (IndexError, AttributeError):  # the first fault took away what the second one breaks
            continue
        paths.append(second)
    return Malformed(method, " and ".join(paths), broken)


Break = Callable[[Any], None]


class _Walk:
    def __init__(self, request: Message, rules: Rules) -> None:
        self._request: Descriptor = request.DESCRIPTOR
        self._rules = rules

    def faults(self, message: Message, path: str) -> Iterator[tuple[str, Break]]:
        for field in message.DESCRIPTOR.fields:
            name = f"{path}.{field.name}" if path else field.name
            if self._rules.is_unread(self._request, name):
                continue
            yield from self._own_faults(message, field, name)
            if field.type != FieldDescriptor.TYPE_MESSAGE:
                continue
            if field.is_repeated:
                for number, inner in enumerate(getattr(message, field.name)):
                    for where, break_it in self.faults(inner, f"{name}[{number}]"):
                        yield where, _inside(field.name, number, break_it)
            elif message.HasField(field.name):
                for where, break_it in self.faults(getattr(message, field.name), name):
                    yield where, _inside(field.name, None, break_it)

    def _own_faults(self, message: Message, field: FieldDescriptor, name: str) -> Iterator[tuple[str, Break]]:
        owner: Descriptor = message.DESCRIPTOR
        if self._rules.is_free(owner, field.name):
            return
        if field.containing_oneof is not None and not field.has_presence:
            return
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1 and message.WhichOneof(oneof.name) != field.name:
            return  # setting it would unset what is there; each member has a valid request of its own
        if oneof is not None and len(oneof.fields) > 1:
            yield f"{name} (unset)", lambda m: m.ClearField(field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from self._message_faults(message, field, name)
            return
        for label, value in self._bad_values(owner, field):
            yield f"{name} = {label}", _setter(field, value)

    def _message_faults(
        self, message: Message, field: FieldDescriptor, name: str
    ) -> Iterator[tuple[str, Break]]:
        if field.name in self._rules.required:
            yield f"{name} (missing)", lambda m: m.ClearField(field.name)
        if field.is_repeated and len(getattr(message, field.name)):
            many = self._rules.too_many.get(field.name, 300)
            yield (
                f"{name} (too many)",
                lambda m: getattr(m, field.name).extend([getattr(m, field.name)[0]] * many),
            )
            if field.name not in self._rules.may_be_empty:
                yield f"{name} (empty)", lambda m: m.ClearField(field.name)
        if field.name == "scopes" and len(getattr(message, field.name)):
            yield f"{name} (nested too deep)", _nest_scopes
        if field.name == "when" and message.HasField("when"):
            yield f"{name} (nested too deep)", _nest_condition

    def _bad_values(self, owner: Descriptor, field: FieldDescriptor) -> Bad:
        rules = self._rules.bad
        values = list(rules.get(f"{owner.name}.{field.name}", rules.get(field.name, [])))
        if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
            values += [(str(v), v) for v in NOT_FINITE]
        elif field.type == FieldDescriptor.TYPE_ENUM:
            values += [("999", 999), ("-1", -1)]
        elif field.type == FieldDescriptor.TYPE_UINT32 and not values:
            values.append(("huge", HUGE))
            if field.is_repeated:
                values.append(("too many", [0] * 1001))
        if not values:
            raise AssertionError(
                f"{owner.full_name}.{field.name}: say in the rules what is never allowed, or that all is"
            )
        return values


def _inside(name: str, number: int | None, break_it: Break) -> Break:
    def apply(message: Any) -> None:
        inner = getattr(message, name)
        break_it(inner if number is None else inner[number])

    return apply


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
