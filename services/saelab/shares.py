"""How much of each source comes into the corpus: equal shares, where small sources leave their room to large ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from services.saelab.chat import ANSWER_CHARACTERS, Told
from services.saelab.documents import Document, fraction

_TOLD_CHARACTERS = 4_000
"""Longer documents are not told as conversations."""
_TOLD_SHARE = 0.5
"""Share of the documents of a source that may be told, where conversations have room for them."""


@dataclass(slots=True)
class Split:
    """One side of the split while it fills."""

    limit: float
    """Characters that it is to have."""
    documents: list[Document] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    """Documents that conversations will be made of."""

    @property
    def characters(self) -> int:
        """Characters that it has, but for what is to be told."""
        return sum(document.characters for document in self.documents)


def water_fill(available: Mapping[str, float], total: float) -> dict[str, float]:
    """How much of `total` each gets, of at most what it has: what one cannot use is shared equally by the others."""
    shares: dict[str, float] = {}
    left = max(0.0, total)
    for place, name in enumerate(sorted(available, key=lambda name: available[name])):
        shares[name] = min(available[name], left / (len(available) - place))
        left -= shares[name]
    return shares


def fill(
    split: Split, candidates: Mapping[str, list[Told]], tellers: set[str], chat_share: float, most: float
) -> None:
    """Fills what is left of a split with documents of the sources, in order, as text or to be told.

    Documents of `tellers` may be told, up to `chat_share` of the split. No source gets more than the share `most`.
    """
    cap = most * split.limit
    own_chat = sum(document.characters for document in split.documents if document.is_chat)
    own_text = split.characters - own_chat
    tellable = {name: [told for told in candidates[name] if _tellable(told)] for name in tellers}
    sizes = {name: min(cap, sum(map(_told_length, those))) for name, those in tellable.items()}
    used: dict[str, float] = {}
    taken: set[str] = set()
    for name, limit in water_fill(sizes, chat_share * split.limit - own_chat).items():
        chosen = list(_within(tellable[name], limit, _told_length))
        split.told.extend(chosen)
        taken.update(told.id for told in chosen)
        used[name] = sum(map(_told_length, chosen))
    rest = {name: [told for told in those if told.id not in taken] for name, those in candidates.items()}
    sizes = {name: min(cap - used.get(name, 0.0), sum(map(_length, those))) for name, those in rest.items()}
    for name, limit in water_fill(sizes, (1 - chat_share) * split.limit - own_text).items():
        for told in _within(rest[name], limit, _length):
            split.documents.append(Document(told.id, told.source, told.text))


def _tellable(told: Told) -> bool:
    return len(told.text) <= _TOLD_CHARACTERS and fraction(told.id, "chat") < _TOLD_SHARE


def _told_length(told: Told) -> int:
    return min(len(told.text), ANSWER_CHARACTERS)


def _length(told: Told) -> int:
    return len(told.text)


def _within(candidates: Iterable[Told], limit: float, length: Callable[[Told], int]) -> Iterator[Told]:
    """Those that fit, in order."""
    used = 0
    for told in candidates:
        if used + length(told) <= limit:
            used += length(told)
            yield told
