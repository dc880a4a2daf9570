"""Steering as docs/steering.md states it, the slow and obvious way.

One sequence, no cache: for every token the whole sequence runs again through transformers' own model, and the stream
after a block is changed token by token in plain loops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from services.inference.layers import decoder_layers, residual_of
from services.inference.sae.base import Architecture, Sae
from services.steering.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Condition,
    FeatureKey,
    Not,
    Operator,
    features_of,
)
from services.steering.edits import Edit, Operation, Positions, Scope, Steering, Unit
from tests.inference.tiny import Tiny

Path = tuple[int, ...]


@dataclass
class EditSums:
    """Over the tokens that an edit applied to: their number, and raw activations before and after."""

    tokens: int = 0
    before: float = 0.0
    after: float = 0.0


@dataclass
class Forward:
    """One run of the whole sequence: what was decided at each token."""

    logits: Tensor | None = None
    acted: dict[Path, dict[int, bool]] = field(default_factory=dict)
    """Whether a scope acted, at each token at which it was tried."""
    sums: dict[tuple[Path, int], EditSums] = field(default_factory=dict)
    """By the path of the scope and the number of the edit in it."""
    relative: list[float] = field(default_factory=list)
    clipped: set[int] = field(default_factory=set)
    margin: float = inf
    """How far the closest comparison was from its threshold: within rounding errors, nothing can be compared."""


def encode(sae: Sae, h: Tensor) -> Tensor:
    """Raw activations of all features at one token."""
    w = sae.weights
    pre = w.W_enc @ h + w.b_enc
    match w.architecture:
        case Architecture.RELU:
            return pre.clamp_min(0)
        case Architecture.JUMPRELU:
            return torch.where(pre > w.threshold, pre, 0).clamp_min(0)
        case Architecture.GATED:
            return torch.where(pre > 0, (pre * w.gate_scale + w.gate_bias).clamp_min(0), 0)
        case Architecture.TOPK:
            return torch.where(pre >= pre.topk(w.k).values[-1], pre.clamp_min(0), 0)


class Steerer:
    """Changes the stream of one sequence; made anew for each run."""

    def __init__(self, tiny: Tiny, steering: Steering, prompt: int, entropies: list[float] | None) -> None:
        self.tiny, self.steering, self.prompt = tiny, steering, prompt
        self.entropies = entropies
        self.forward = Forward()
        self.raw: dict[str, dict[int, list[float]]] = {name: {} for name in tiny.saes}
        """Activations of every SAE at every token, before any change at its block."""

    def at_block(self, layer: int, h: Tensor) -> None:
        """Changes the output of a block in place."""
        if layer not in self.tiny.medians:
            return
        median = self.tiny.medians[layer]
        for position in range(len(h)):
            norm = float(h[position].norm())
            sink = position == 0 or norm > 4 * median
            self.observe(layer, position, h[position])
            self.try_scopes(layer, position, sink)
            if not sink and self.in_positions(position):
                h[position] += self.change(layer, position, h[position], median)

    def in_positions(self, position: int) -> bool:
        match self.steering.positions:
            case Positions.ALL:
                return True
            case Positions.PROMPT:
                return position < self.prompt
            case Positions.GENERATED:
                return position >= self.prompt

    def observe(self, layer: int, position: int, h: Tensor) -> None:
        for sae in self.tiny.saes.values():
            if sae.layer == layer:
                self.raw[sae.id][position] = encode(sae, h).tolist()

    def value(self, key: FeatureKey, position: int) -> float:
        """An activation as conditions see it."""
        value = self.raw[key.sae][position][key.index]
        if self.steering.unit is Unit.NATURAL:
            value /= float(self.tiny.saes[key.sae].scales[key.index])
        return 0.0 if value < self.steering.nonzero_strength_threshold else value

    def try_scopes(self, layer: int, position: int, sink: bool) -> None:
        """Decides the scopes that are known after this block."""
        for path, scope in all_scopes(self.steering):
            if known_after(self.tiny, self.steering, path) != layer:
                continue
            parent_acts = len(path) == 1 or self.forward.acted.get(path[:-1], {}).get(position, False)
            if sink or not parent_acts or not self.in_positions(position):
                continue
            was_on = scope.latched and any(self.forward.acted.get(path, {}).values())
            holds = self.holds(scope.when, position)
            self.forward.acted.setdefault(path, {})[position] = holds or was_on

    def holds(self, condition: Condition, position: int) -> bool:
        match condition:
            case AllOf(conditions):
                held = [self.holds(c, position) for c in conditions]
                return all(held)
            case AnyOf(conditions):
                held = [self.holds(c, position) for c in conditions]
                return any(held)
            case Not(inner):
                return not self.holds(inner, position)
            case Comparison(left, operator, right):
                a = max(self.value(key, position) for key in left)
                b = max(self.value(key, position) for key in right) if isinstance(right, tuple) else right
                if not (a == b == 0):
                    self.forward.margin = min(self.forward.margin, abs(a - b))
                return {
                    Operator.GREATER: a > b,
                    Operator.GREATER_OR_EQUAL: a >= b,
                    Operator.LESS: a < b,
                    Operator.LESS_OR_EQUAL: a <= b,
                    Operator.EQUAL: a == b,
                    Operator.NOT_EQUAL: a != b,
                }[operator]

    def change(self, layer: int, position: int, h: Tensor, median: float) -> Tensor:
        """The sum of all edits at one token, limited to max_delta."""
        delta = torch.zeros_like(h)
        applied: list[tuple[Path, int, Edit]] = []
        for path, inner, _ in self.steering.walk():
            if path and not self.forward.acted.get(path, {}).get(position, False):
                continue
            for number, edit in enumerate(inner.edits):
                sae = self.tiny.saes[edit.feature.sae]
                if sae.layer != layer or (edit.operation is Operation.NUDGE and not self.nudges_at(position)):
                    continue
                delta += self.one_change(sae, edit, self.raw[sae.id][position][edit.feature.index])
                applied.append((path, number, edit))
        limit = self.steering.max_delta * median
        size = float(delta.norm())
        self.forward.margin = min(self.forward.margin, abs(size - limit))
        if size > limit:
            delta *= limit / size
            self.forward.clipped.add(position)
        if size > 0:
            self.forward.relative.append(float(delta.norm() / h.norm()))
        for path, number, edit in applied:
            sae, index = self.tiny.saes[edit.feature.sae], edit.feature.index
            sums = self.forward.sums.setdefault((path, number), EditSums())
            sums.tokens += 1
            sums.before += self.raw[sae.id][position][index]
            sums.after += float(encode(sae, h + delta)[index])
        return delta

    def one_change(self, sae: Sae, edit: Edit, f: float) -> Tensor:
        d = sae.weights.W_dec[edit.feature.index]
        natural = self.steering.unit is Unit.NATURAL
        match edit.operation:
            case Operation.NUDGE if natural:
                return edit.value * sae.strength_constant * sae.median_norm * d / d.norm()
            case Operation.NUDGE:
                return edit.value * d
            case Operation.PIN:
                s = float(sae.scales[edit.feature.index]) if natural else 1.0
                return (edit.value * s - f) * d
            case Operation.SCALE:
                return (edit.value - 1) * f * d

    def nudges_at(self, position: int) -> bool:
        """Whether the entropy gate lets nudges through: the unsteered entropy of the step that gave this token."""
        if self.entropies is None:
            return True
        low, high = self.steering.min_nudge_entropy, self.steering.max_nudge_entropy
        entropy = self.entropies[position - 1]
        for limit in (low, high):
            if limit is not None:
                self.forward.margin = min(self.forward.margin, abs(entropy - limit))
        return (low is None or entropy >= low) and (high is None or entropy <= high)


def run(tiny: Tiny, steering: Steering, tokens: list[int], prompt: int) -> Forward:
    """One steered run of a whole sequence."""
    entropies = None
    if steering.gates_on_entropy:
        logs = torch.log_softmax(forward(tiny, tokens, lambda layer, h: None), -1)
        entropies = [float(-(row.exp() * row).sum()) for row in logs]
    steerer = Steerer(tiny, steering, prompt, entropies)
    steerer.forward.logits = forward(tiny, tokens, steerer.at_block)
    return steerer.forward


def forward(tiny: Tiny, tokens: list[int], at_block: Callable[[int, Tensor], None]) -> Tensor:
    """Logits after every token."""
    handles = [
        block.register_forward_hook(lambda _b, _i, out, layer=layer: at_block(layer, residual_of(out)[0]))
        for layer, block in enumerate(decoder_layers(tiny.plain))
    ]
    try:
        with torch.no_grad():
            logits: Tensor = tiny.plain(torch.tensor([tokens]), use_cache=False).logits[0].float()
            return logits
    finally:
        for handle in handles:
            handle.remove()


def known_after(tiny: Tiny, steering: Steering, path: Path) -> int:
    """The latest block that the conditions of a scope and of those around it read."""
    scopes = dict(all_scopes(steering))
    around = [scopes[path[: depth + 1]] for depth in range(len(path))]
    return max(tiny.saes[key.sae].layer for scope in around for key in features_of(scope.when))


def all_scopes(steering: Steering, path: Path = ()) -> list[tuple[Path, Scope]]:
    """Every scope with its path, each before those inside it."""
    found: list[tuple[Path, Scope]] = []
    for number, scope in enumerate(steering.scopes):
        found.append(((*path, number), scope))
        if isinstance(scope.action, Steering):
            found += all_scopes(scope.action, (*path, number))
    return found
