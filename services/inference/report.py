"""Delivered against requested: what each edit really did to the stream, measured by encoding it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from services.inference.compiled import CompiledEdit, CompiledSteering, LayerPlan, unit_constants
from services.steering.edits import Operation

if TYPE_CHECKING:
    from services.inference.hooks import Segment


@dataclass(slots=True)
class EditTotal:
    """Sums over the tokens that an edit applied to, in raw activation units."""

    tokens: int = 0
    before: float = 0.0
    after: float = 0.0


@dataclass(slots=True)
class ReportBook:
    """Counts for one request; fed by the hook. Sums are float64: the runs that a prompt was cut into leave no trace."""

    totals: dict[CompiledEdit, EditTotal] = field(default_factory=dict)
    relative_sum: float = 0.0
    relative_max: float = 0.0
    rows: int = 0
    clipped: set[int] = field(default_factory=set)
    edited: set[int] = field(default_factory=set)

    def add(
        self,
        plan: LayerPlan,
        segment: Segment,
        before: Float[Tensor, "tokens d_model"],
        after: Float[Tensor, "tokens d_model"],
        live: Bool[Tensor, " tokens"],
        clipped: Bool[Tensor, " tokens"],
        values: Float[Tensor, " reads"],
    ) -> None:
        """Takes one run of tokens at one block; `values` are the unedited activations of the plan's keys."""
        delta = (after - before).norm(dim=-1)
        changed = delta > 0
        relative = (delta / before.norm(dim=-1).clamp_min(1e-12))[changed]
        if len(relative):
            self.relative_sum += float(relative.sum(dtype=torch.float64))
            self.relative_max = max(self.relative_max, float(relative.max()))
            self.rows += len(relative)
        place = segment.position
        self.edited |= {place + int(t) for t in changed.nonzero()}
        self.clipped |= {place + int(t) for t in clipped.nonzero()}
        block = values.view(segment.length, len(plan.keys))
        column = {key: number for number, key in enumerate(plan.keys)}
        for edit in plan.reported:
            applied = live & torch.tensor(segment.mask(edit), dtype=torch.bool, device=live.device)
            if not bool(applied.any()):
                self.totals.setdefault(edit, EditTotal())
                continue
            total = self.totals.setdefault(edit, EditTotal())
            feature = edit.edit.feature.index
            rows = after[applied]
            total.tokens += len(rows)
            total.before += float(block[applied, column[edit.edit.feature]].sum(dtype=torch.float64))
            features = torch.full((len(rows),), feature, device=rows.device)
            total.after += float(edit.sae.weights.encode_pairs(rows, features).sum(dtype=torch.float64))


@dataclass(frozen=True, slots=True)
class Values:
    """One value in all units."""

    raw: float
    strength: float
    activation: float


@dataclass(frozen=True, slots=True)
class EditOutcome:
    """One edit, asked and delivered; see hearth.v1.EditReport."""

    edit: CompiledEdit
    requested: Values
    delivered: Values
    tokens: int
    before: float
    after: float


def requested(edit: CompiledEdit) -> Values:
    """The value that an edit asks for, in all units; a scale's factor stands as activation."""
    if edit.edit.operation is Operation.SCALE:
        return Values(0.0, 0.0, edit.edit.value)
    return _in_units(edit, edit.constant)


def outcomes(compiled: CompiledSteering, book: ReportBook) -> list[EditOutcome]:
    """The report of every edit of a request."""
    result = []
    for plan in compiled.layers.values():
        for edit in plan.reported:
            total = book.totals.get(edit, EditTotal())
            tokens = max(total.tokens, 1)
            before, after = total.before / tokens, total.after / tokens
            _, scale = unit_constants(edit.sae, edit.edit.feature.index)
            match edit.edit.operation:
                case Operation.NUDGE:
                    delivered = _in_units(edit, after - before)
                case Operation.PIN:
                    delivered = _in_units(edit, after)
                case Operation.SCALE:
                    delivered = Values(0.0, 0.0, after / before if before > 0 else 0.0)
            result.append(
                EditOutcome(edit, requested(edit), delivered, total.tokens, before / scale, after / scale)
            )
    return result


def _in_units(edit: CompiledEdit, raw: float) -> Values:
    strength, scale = unit_constants(edit.sae, edit.edit.feature.index)
    return Values(raw, raw / strength, raw / scale)
