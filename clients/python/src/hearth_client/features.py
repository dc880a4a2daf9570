"""Features, and groups of them, as search and inspection return them and as edits and conditions take them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

from hearth_client.conditions import Comparison, Operator
from hearth_client.v1.feature_service_pb2 import Feature as FeatureMessage


class _Compared(ABC):
    """What single features and groups have in common: comparing them makes a condition."""

    __slots__ = ()

    @abstractmethod
    def _features(self) -> tuple[Feature, ...]:
        """Itself, or its members."""

    def compared(self, operator: Operator, other: float | Feature | FeatureGroup) -> Comparison:
        """The condition that these features' largest activation stands in a relation to a number or to others'."""
        right = other._features() if isinstance(other, Feature | FeatureGroup) else float(other)
        return Comparison(self._features(), operator, right)

    def __gt__(self, other: float | Feature | FeatureGroup) -> Comparison:
        return self.compared(">", other)

    def __ge__(self, other: float | Feature | FeatureGroup) -> Comparison:
        return self.compared(">=", other)

    def __lt__(self, other: float | Feature | FeatureGroup) -> Comparison:
        return self.compared("<", other)

    def __le__(self, other: float | Feature | FeatureGroup) -> Comparison:
        return self.compared("<=", other)


@dataclass(frozen=True, slots=True)
class Feature(_Compared):
    """One feature of one SAE. Index and SAE make it what it is: the rest is what the catalogue knows of it.

    `feature > 0.5` is a condition; `==` compares features, so the conditions == and != are made by `compared`.
    """

    index_in_sae: int
    label: str = field(default="", compare=False)
    sae: str = ""
    """Empty means the model's only one."""
    uuid: str = field(default="", compare=False)
    scale: float = field(default=1.0, compare=False, repr=False)
    """The raw activation that counts as 1."""
    relevance: float | None = field(default=None, compare=False, repr=False)
    """Cosine of query and label, where a search compared them."""
    details: FeatureMessage | None = field(default=None, compare=False, repr=False)
    """All that the catalogue has sent of it."""

    def _features(self) -> tuple[Feature, ...]:
        return (self,)

    def __or__(self, other: Feature | FeatureGroup) -> FeatureGroup:
        """Both, as a group."""
        return FeatureGroup((self,)) | other


class FeatureGroup(_Compared, Sequence[Feature]):
    """Features in order, each once. It does not change: `|` and `&` make new ones."""

    __slots__ = ("_members",)

    def __init__(self, features: Iterable[Feature] = ()) -> None:
        self._members = tuple(dict.fromkeys(features))

    def _features(self) -> tuple[Feature, ...]:
        return self._members

    @overload
    def __getitem__(self, index: int) -> Feature: ...

    @overload
    def __getitem__(self, index: slice | Sequence[int]) -> FeatureGroup: ...

    def __getitem__(self, index: int | slice | Sequence[int]) -> Feature | FeatureGroup:
        """One feature, or a group of several: `group[0]`, `group[:3]`, `group[[0, 4]]`."""
        if isinstance(index, slice):
            return FeatureGroup(self._members[index])
        if isinstance(index, Sequence):
            return FeatureGroup(self._members[each] for each in index)
        return self._members[index]

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._members)

    def __or__(self, other: Feature | FeatureGroup) -> FeatureGroup:
        """These, then those that are new."""
        return FeatureGroup((*self._members, *other._features()))

    def __and__(self, other: FeatureGroup) -> FeatureGroup:
        """Those in both."""
        return FeatureGroup(each for each in self._members if each in other._members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureGroup) and self._members == other._members

    def __hash__(self) -> int:
        return hash(self._members)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {each.index_in_sae}: {each.label!r}" for each in self._members[:10])
        more = f"\n    and {len(self) - 10} more" if len(self) > 10 else ""
        return f"FeatureGroup({len(self)} features:{lines}{more})"
