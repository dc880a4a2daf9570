"""A queue that serves owners in turn, by tokens rather than by requests."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

from services.inference.sequence import Sequence


class FairQueue:
    """Waiting requests; the owner who has been served the fewest tokens is next."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[Sequence]] = defaultdict(deque)
        self._served: dict[str, float] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, sequence: Sequence) -> None:
        """Adds a request; an owner who comes back does not gain from having been away."""
        owner = sequence.owner
        if not self._waiting.get(owner):
            least = min((self._served.get(o, 0.0) for o, w in self._waiting.items() if w), default=None)
            known = self._served.get(owner, 0.0)
            self._served[owner] = known if least is None else max(known, least)
        self._waiting[owner].append(sequence)
        self._length += 1

    def peek(self) -> Sequence | None:
        """The next request."""
        owner = self._next_owner()
        return None if owner is None else self._waiting[owner][0]

    def pop(self) -> Sequence:
        """Takes the next request and charges its owner with its tokens."""
        owner = self._next_owner()
        assert owner is not None
        sequence = self._waiting[owner].popleft()
        asked = sequence.sampling.max_tokens or 0 if sequence.sampling else 0
        self._served[owner] = self._served.get(owner, 0.0) + sequence.prompt_tokens + asked
        self._length -= 1
        self._forget(owner)
        return sequence

    def owners(self) -> list[str]:
        """Those who wait."""
        return [owner for owner, waiting in self._waiting.items() if waiting]

    def take_last(self, owner: str) -> Sequence:
        """Takes out the request of an owner who waits that came last."""
        sequence = self._waiting[owner].pop()
        self._length -= 1
        self._forget(owner)
        return sequence

    def remove(self, gone: Callable[[Sequence], bool]) -> list[Sequence]:
        """Takes out requests that no longer wait."""
        removed: list[Sequence] = []
        for owner, waiting in list(self._waiting.items()):
            out = [s for s in waiting if gone(s)]
            if out:
                removed += out
                self._waiting[owner] = deque(s for s in waiting if not gone(s))
                self._forget(owner)
        self._length -= len(removed)
        return removed

    def _next_owner(self) -> str | None:
        return min(
            self.owners(),
            key=lambda o: (self._served.get(o, 0.0), self._waiting[o][0].arrived),
            default=None,
        )

    def _forget(self, owner: str) -> None:
        if not self._waiting[owner]:
            del self._waiting[owner]
        if not self._waiting:
            self._served.clear()
