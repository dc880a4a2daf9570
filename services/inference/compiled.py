"""A request's steering, compiled once at admission: what to add, read and test at each hook point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.errors import InvalidField
from services.inference.predicates import Predicate, predicate
from services.inference.sae.base import Sae
from services.steering.conditions import FeatureKey, features_of
from services.steering.edits import Abort, Edit, Notify, Operation, Scope, Steering, Unit

Path = tuple[int, ...]
"""Indices of `scopes` from the outermost in; () is the request's own steering."""


@dataclass(frozen=True, slots=True)
class CompiledScope:
    """A scope with the block after which its condition, and its parents', are known."""

    path: Path
    holds: Predicate
    """Its condition, as a function of the activations of `CompiledSteering.places`."""
    latched: bool
    action: Steering | Abort | Notify
    layer: int
    parent: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledEdit:
    """An edit whose coefficient on its decoder row is constant + slope * f(h), in raw units."""

    edit: Edit
    sae: Sae
    path: Path
    constant: float
    slope: float

    @property
    def nudges(self) -> bool:
        """Whether it is a nudge."""
        return self.edit.operation is Operation.NUDGE


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What one request does at the output of one block."""

    layer: int
    limit: float
    """The largest change at a token, in the residual stream's units."""
    nudge: Float[Tensor, " d_model"] | None
    """The sum of all unconditional nudges, made once."""
    keys: tuple[FeatureKey, ...]
    """Features whose unedited activation is read here."""
    saes: tuple[Sae, ...]
    """The SAE of each of `keys`."""
    read: Int[Tensor, " keys"]
    """Their indices."""
    units: Float[Tensor, " keys"]
    """What conditions count each of `keys` in: its activation scale, in raw units; 1 where the request counts raw."""
    tested: tuple[int, ...]
    """The first of `keys` are read by conditions: their places among `CompiledSteering.places`."""
    scopes: tuple[CompiledScope, ...]
    """Those whose conditions are known after this block, outermost first."""
    edits: tuple[CompiledEdit, ...]
    """Edits that need a gate or an activation of their own: all but unconditional nudges."""
    slots: Int[Tensor, " edits"]
    """For each of `edits`: the place of its feature in `keys`; 0 where it is not read."""
    constant: Float[Tensor, " edits"]
    slope: Float[Tensor, " edits"]
    rows: Float[Tensor, "edits d_model"]
    """Decoder rows of `edits`."""
    reported: tuple[CompiledEdit, ...]
    """All edits here, unconditional nudges included."""


@dataclass(frozen=True, slots=True)
class CompiledSteering:
    """A request's steering, ready to run."""

    steering: Steering
    layers: dict[int, LayerPlan]
    scopes: tuple[CompiledScope, ...]
    """Outermost first, so that a parent comes before its children."""
    places: dict[FeatureKey, int]
    """The features that conditions read, numbered."""

    @property
    def aborts(self) -> bool:
        """Whether it may end the generation."""
        return any(isinstance(s.action, Abort) for s in self.scopes)


def unit_constants(sae: Sae, feature: int) -> tuple[float, float]:
    """What one strength unit and one activation unit are in raw units of a feature: (c n / ||d||, s)."""
    norm = float(sae.weights.W_dec[feature].norm())
    strength = sae.strength_constant * (sae.median_norm or 1.0) / max(norm, 1e-12)
    scale = 1.0 if sae.scales is None else float(sae.scales[feature])
    return strength, scale


def compile_steering(steering: Steering, saes: Mapping[str, Sae], report: bool = False) -> CompiledSteering:
    """Compiles a validated steering whose SAE ids are filled in.

    Raises InvalidField where a condition reads a later block than the one that an edit of its scope changes: the edit
    would have to be made before the condition is known.
    """
    conditions = [scope.when for _, inner, _ in steering.walk() for scope in inner.scopes]
    places = {key: n for n, key in enumerate(dict.fromkeys(k for c in conditions for k in features_of(c)))}
    scopes = _compile_scopes(steering, saes, places)
    known = {scope.path: scope.layer for scope in scopes}
    edits: list[CompiledEdit] = []
    for path, inner, _ in steering.walk():
        for number, edit in enumerate(inner.edits):
            sae = saes[edit.feature.sae]
            if path and sae.layer < known[path]:
                where = "steering" + "".join(f".scopes[{i}].steering" for i in path) + f".edits[{number}]"
                raise InvalidField(
                    where,
                    f"changes block {sae.layer}, but its scope's condition reads block {known[path]}; allowed: "
                    "conditions on SAEs at or before the block that is changed",
                )
            edits.append(_compile_edit(edit, sae, path, steering.unit))
    layers = {saes[key.sae].layer for key in places} | {e.sae.layer for e in edits}
    plans = {
        layer: _plan(
            layer,
            [e for e in edits if e.sae.layer == layer],
            {key: place for key, place in places.items() if saes[key.sae].layer == layer},
            tuple(scope for scope in scopes if scope.layer == layer),
            saes,
            steering,
            report,
        )
        for layer in sorted(layers)
    }
    return CompiledSteering(steering, plans, scopes, places)


def _compile_scopes(
    steering: Steering, saes: Mapping[str, Sae], places: Mapping[FeatureKey, int]
) -> tuple[CompiledScope, ...]:
    compiled: list[CompiledScope] = []

    def visit(scopes: Sequence[Scope], parent: CompiledScope | None) -> None:
        for number, scope in enumerate(scopes):
            path = (*(parent.path if parent else ()), number)
            layer = max(saes[k.sae].layer for k in features_of(scope.when))
            if parent:
                layer = max(layer, parent.layer)
            holds = predicate(scope.when, places)
            here = CompiledScope(
                path, holds, scope.latched, scope.action, layer, parent.path if parent else None
            )
            compiled.append(here)
            if isinstance(scope.action, Steering):
                visit(scope.action.scopes, here)

    visit(steering.scopes, None)
    return tuple(compiled)


def _compile_edit(edit: Edit, sae: Sae, path: Path, unit: Unit) -> CompiledEdit:
    strength, scale = unit_constants(sae, edit.feature.index) if unit is Unit.NATURAL else (1.0, 1.0)
    match edit.operation:
        case Operation.NUDGE:
            return CompiledEdit(edit, sae, path, edit.value * strength, 0.0)
        case Operation.PIN:
            return CompiledEdit(edit, sae, path, edit.value * scale, -1.0)
        case Operation.SCALE:
            return CompiledEdit(edit, sae, path, 0.0, edit.value - 1.0)


def _plan(
    layer: int,
    edits: list[CompiledEdit],
    tested: Mapping[FeatureKey, int],
    scopes: tuple[CompiledScope, ...],
    saes: Mapping[str, Sae],
    steering: Steering,
    report: bool,
) -> LayerPlan:
    summed = [e for e in edits if e.nudges and not e.path]
    own = [e for e in edits if not (e.nudges and not e.path)]
    keys = list(dict.fromkeys([*tested, *(e.edit.feature for e in own if e.slope or report)]))
    if report:
        keys = list(dict.fromkeys([*keys, *(e.edit.feature for e in summed)]))
    place = {key: number for number, key in enumerate(keys)}
    first = next(sae for sae in saes.values() if sae.layer == layer)  # as the engine takes it for sinks
    nudge = None
    if summed:
        nudge = torch.stack([e.constant * e.sae.weights.W_dec[e.edit.feature.index] for e in summed]).sum(0)
    rows = [e.sae.weights.W_dec[e.edit.feature.index] for e in own]
    d_model, natural = first.weights.d_model, steering.unit is Unit.NATURAL
    return LayerPlan(
        layer=layer,
        limit=steering.max_delta * (first.median_norm or 1.0),
        nudge=nudge,
        keys=tuple(keys),
        saes=tuple(saes[k.sae] for k in keys),
        read=torch.tensor([k.index for k in keys], dtype=torch.long),
        units=torch.tensor([unit_constants(saes[k.sae], k.index)[1] if natural else 1.0 for k in keys]),
        tested=tuple(tested.values()),
        scopes=scopes,
        edits=tuple(own),
        slots=torch.tensor([place.get(e.edit.feature, 0) for e in own], dtype=torch.long),
        constant=torch.tensor([e.constant for e in own]),
        slope=torch.tensor([e.slope for e in own]),
        rows=torch.stack(rows) if rows else torch.zeros(0, d_model, device=first.weights.W_dec.device),
        reported=tuple(edits),
    )
