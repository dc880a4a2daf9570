"""What the answers say of features."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Card:
    """A feature as Ember's clients know it."""

    id: str
    """Its UUID."""
    index: int
    label: str
    """Empty where the catalogue does not have it."""
    scale: float
    """The raw activation that counts as 1."""

    def named(self) -> dict[str, Any]:
        """As most routes write it."""
        return {"id": self.id, "label": self.label, "index_in_sae": self.index}

    def whole(self) -> dict[str, Any]:
        """As the SDK's `Feature.json` writes it."""
        return {"uuid": self.id, "label": self.label, "index_in_sae": self.index}


def in_units(raw: float, card: Card) -> float:
    """An activation in the unit of conditions and pins."""
    return round(raw / card.scale, 5)


def named(cards: Iterable[Card]) -> list[dict[str, Any]]:
    """Several."""
    return [card.named() for card in cards]
