"""Steps of operations, and the one way to make a call: refused ones are tried again while the caller is patient."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from hearth_client.channel import Method
from hearth_client.errors import RateLimited, Unavailable

Q = TypeVar("Q")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[Q, R]):
    """Calls a method that has one answer; is sent that answer."""

    method: Method[Q, R]
    request: Q


@dataclass(frozen=True, slots=True)
class Stream(Generic[Q, R]):
    """Calls a method that streams, to its end; `each` takes the answers as they come."""

    method: Method[Q, R]
    request: Q
    each: Callable[[R], None]


@dataclass(frozen=True, slots=True)
class Begin(Generic[Q, R]):
    """Calls a method that streams; is sent the stream and its first answer."""

    method: Method[Q, R]
    request: Q


@dataclass(frozen=True, slots=True)
class Pause:
    """Waits."""

    seconds: float


Step: TypeAlias = "Call[Any, Any] | Stream[Any, Any] | Begin[Any, Any] | Pause"
Operation: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call that the server refuses for now is tried again, in seconds."""

    seconds: float = 0.0

    def ask(self, method: Method[Q, R], request: Q) -> Operation[R]:
        """The answer of a method."""
        answer: R = yield from self._tried(Call(method, request))
        return answer

    def collect(self, method: Method[Q, R], request: Q) -> Operation[list[R]]:
        """All answers of a method that streams."""
        found: list[R] = []
        yield from self._tried(Stream(method, request, found.append), again=found.clear)
        return found

    def begin(self, method: Method[Q, R], request: Q) -> Operation[tuple[Any, R]]:
        """A stream that has begun, and its first answer."""
        begun: tuple[Any, R] = yield from self._tried(Begin(method, request))
        return begun

    def _tried(self, step: Step, again: Callable[[], None] = lambda: None) -> Operation[Any]:
        """Tries again what the server refused with a time to come back; `again` forgets what had come until then."""
        left = self.seconds
        while True:
            try:
                return (yield step)
            except (RateLimited, Unavailable) as refused:
                if refused.retry_after is None or refused.retry_after > left:
                    raise
                left -= refused.retry_after
                again()
                yield Pause(refused.retry_after)
