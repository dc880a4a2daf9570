"""The values of spec.py and progress.py as JSON and back: objects by field name, enums by value, tuples as lists."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from services.autosteer.progress import (
    CandidatesFound,
    Event,
    StageProgress,
    StageStarted,
    TrialDone,
    ValidationDone,
)

T = TypeVar("T")
_EVENTS: dict[str, type] = {
    kind.__name__: kind for kind in (StageStarted, StageProgress, CandidatesFound, TrialDone, ValidationDone)
}


def to_json(value: Any) -> Any:
    """What `json.dumps` takes."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(kind: type[T], value: Any) -> T:
    """The value of type `kind` that `to_json` made this of; fields that are missing have their defaults."""
    made: T = _read(kind, value)
    return made


def event_to_json(event: Event) -> dict[str, Any]:
    """An event, with the name of its type."""
    return {"type": type(event).__name__, **to_json(event)}


def event_from_json(value: dict[str, Any]) -> Event:
    """The event that `event_to_json` made this of."""
    event: Event = _read(_EVENTS[value["type"]], value)
    return event


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _read(next(i for i in inner if i is not NoneType), value)
    if origin in (tuple, list):
        return origin(_read(inner[0], item) for item in value)
    if origin is dict:
        return {key: _read(inner[1], item) for key, item in value.items()}
    if is_dataclass(kind):
        types = _types(kind)  # type: ignore[arg-type]
        read = {name: _read(types[name], item) for name, item in value.items() if name in types}
        return kind(**read)  # type: ignore[operator]
    if kind is float:
        return float(value)
    return kind(value) if isinstance(kind, type) and issubclass(kind, Enum) else value
