"""A model with edits: what is changed, where, and what else happens when a condition holds."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, overload

from hearth_client.answers import InferenceContext
from hearth_client.conditions import Condition
from hearth_client.features import Feature, FeatureGroup

Mode = Literal["nudge", "pin", "scale"]
"""`nudge` adds the feature's direction, in strength units: 0.3 is subtle, 0.5 a good nudge, 0.9 much. `pin` brings its
activation to a value, in activation units. `scale` multiplies its activation."""
Handler: TypeAlias = Callable[[InferenceContext], object]
_Values: TypeAlias = "Mapping[Feature, float] | FeatureEdits"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change to one feature."""

    feature: Feature
    value: float
    mode: Mode = "nudge"


class FeatureEdits(Sequence[Edit]):
    """Edits in order, one for each feature and mode; a later one takes the place of an earlier one."""

    def __init__(self, edits: Iterable[Edit] = ()) -> None:
        self._edits: dict[tuple[Feature, Mode], Edit] = {(each.feature, each.mode): each for each in edits}

    def set(self, edit: Edit) -> None:
        """Adds an edit."""
        self._edits[edit.feature, edit.mode] = edit

    def remove(self, feature: Feature) -> None:
        """Removes all edits of a feature."""
        self._edits = {key: edit for key, edit in self._edits.items() if key[0] != feature}

    def as_dict(self) -> dict[Feature, float]:
        """Values by feature, whatever their mode."""
        return {edit.feature: edit.value for edit in self}

    @overload
    def __getitem__(self, index: int) -> Edit: ...

    @overload
    def __getitem__(self, index: slice) -> FeatureEdits: ...

    def __getitem__(self, index: int | slice) -> Edit | FeatureEdits:
        found = tuple(self._edits.values())[index]
        return FeatureEdits(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._edits)

    def __iter__(self) -> Iterator[Edit]:
        return iter(self._edits.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureEdits) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"FeatureEdits({list(self)!r})"


@dataclass(frozen=True, slots=True)
class Scope:
    """Something that happens only where a condition holds: edits, an abort, or an event that is told."""

    condition: Condition
    edits: FeatureEdits = field(default_factory=FeatureEdits)
    scopes: tuple[Scope, ...] = ()
    abort: str | None = None
    """The message with which the generation ends."""
    event: str | None = None
    """The event's name."""
    latched: bool = False
    """Whether it stays on from the first token at which the condition holds to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How all edits of a variant are to be read, and how far they may go; None leaves it to the server."""

    unit: Literal["natural", "raw"] = "natural"
    positions: Literal["all", "prompt", "generated"] = "all"
    max_delta: float | None = None
    min_nudge_entropy: float | None = None
    max_nudge_entropy: float | None = None
    nonzero_strength_threshold: float | None = None


class Variant:
    """A model with edits. `base_model` may be empty where one model is served."""

    def __init__(self, base_model: str = "", *, limits: Limits | None = None) -> None:
        self.base_model = base_model
        self.edits = FeatureEdits()
        self.scopes: list[Scope] = []
        self.limits = limits or Limits()
        self.handlers: dict[str, Handler] = {}
        """By event; they are this program's, and not saved with the variant."""

    @overload
    def set(self, features: Feature | FeatureGroup, value: float | None, *, mode: Mode = "nudge") -> None: ...

    @overload
    def set(self, features: _Values, *, mode: Mode = "nudge") -> None: ...

    def set(
        self, features: Feature | FeatureGroup | _Values, value: float | None = None, *, mode: Mode = "nudge"
    ) -> None:
        """Edits one feature or each of several; None takes its edits away. Edits keep their own modes."""
        if isinstance(features, FeatureEdits | Mapping):
            for edit in _edits(features, mode):
                self.edits.set(edit)
        elif value is None:
            self.clear(features)
        else:
            for each in (features,) if isinstance(features, Feature) else features:
                self.edits.set(Edit(each, value, mode))

    def clear(self, features: Feature | FeatureGroup) -> None:
        """Takes the edits of one feature or of several away."""
        for each in (features,) if isinstance(features, Feature) else features:
            self.edits.remove(each)

    def reset(self) -> None:
        """Takes all edits and scopes away."""
        self.edits, self.scopes, self.handlers = FeatureEdits(), [], {}

    def set_when(
        self, condition: Condition, values: _Values, *, mode: Mode = "nudge", latched: bool = False
    ) -> None:
        """Edits that are made only at tokens at which a condition holds; if `latched`, also at all later ones."""
        self.scopes.append(Scope(condition, FeatureEdits(_edits(values, mode)), latched=latched))

    def abort_when(self, condition: Condition, message: str = "a condition of the variant held") -> None:
        """Ends the answer before the first token at which a condition holds; the call raises InferenceAborted."""
        self.scopes.append(Scope(condition, abort=message))

    def handle_when(self, condition: Condition, handler: Handler, *, event: str = "") -> None:
        """Calls `handler` for each token at which a condition holds; what it raises ends the answer."""
        name = event or str(uuid.uuid4())
        self.handlers[name] = handler
        self.scopes.append(Scope(condition, event=name))

    def copy(self) -> Variant:
        """Another one with the same edits, which can be changed on its own."""
        made = Variant(self.base_model, limits=replace(self.limits))
        made.edits, made.scopes, made.handlers = (
            FeatureEdits(self.edits),
            list(self.scopes),
            dict(self.handlers),
        )
        return made

    def __repr__(self) -> str:
        return f"Variant(base_model={self.base_model!r}, edits={list(self.edits)!r}, scopes={self.scopes!r})"


def _edits(values: _Values, mode: Mode) -> Iterable[Edit]:
    if isinstance(values, FeatureEdits):
        return values
    return [Edit(feature, value, mode) for feature, value in values.items()]
