"""What a search may try: a few features, how they share a dose, and how large it is.

Features that mean the same at a small dose each do more for less fluency than one of them at a large dose: what they
have in common adds up, what each does besides does not. So a proposal is a total dose and the features' shares of it,
and the first ones are such sums (docs/decisions/0006).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.autosteer.doses import edits_of
from services.autosteer.spec import Candidate
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit

LEAST_DOSE, MOST_DOSE = 0.1, 0.36
"""Fractions of the norm: below nothing shows, above texts fall apart."""
LEAST_WEIGHT = 0.3
"""Of the largest weight."""
ALONE, JOINED, GENTLE = 0.3, 0.25, 0.2
"""Doses that are tried first."""
WEAKER, STRONGER = 0.7, 1.2
"""Factors of a dose that are tried around the best."""
NONE = -1
"""In place of a feature: the slot stays empty."""

Params = dict[str, float | int]


@dataclass(frozen=True, slots=True)
class Space:
    """What can be tried: some features, best first, none above its ceiling."""

    features: tuple[Candidate, ...]
    slots: int
    strength_constant: float

    def edits(self, params: Mapping[str, float | int]) -> tuple[Edit, ...]:
        """The edits of a proposal; a feature in two slots counts once, with the larger weight."""
        weights: dict[int, float] = {}
        for slot in range(self.slots):
            index = int(params[f"feature {slot}"])
            if index != NONE:
                weights[index] = max(weights.get(index, 0.0), float(params[f"weight {slot}"]))
        norm = math.sqrt(sum(weight * weight for weight in weights.values()))
        shares: dict[FeatureKey, float] = {}
        for index, weight in weights.items():
            each = self.features[index]
            share = min(float(params["dose"]) * weight / norm, each.ceiling or 0.0)
            shares[each.feature] = each.sign * share
        return edits_of(shares, self.strength_constant)

    def starts(self) -> list[Params]:
        """What is tried first: the best together and alone, those that mean it most, what a person would take."""
        best = range(len(self.features))
        nearest = sorted(best, key=lambda n: -self.features[n].meaning)
        by_hand = [n for n in best if self.features[n].top_hit]
        listed = [
            (best[: self.slots], JOINED),
            (nearest[: self.slots], GENTLE),
            (best[:1], ALONE),
            (by_hand[:1], ALONE),
            (best[: self.slots], GENTLE),
            (nearest[: self.slots], JOINED),
            (best[1 : self.slots + 1], JOINED),
            (best[:2], JOINED),
        ]
        found: dict[tuple[frozenset[int], float], Params] = {}
        for chosen, dose in listed:
            if chosen:
                found.setdefault((frozenset(chosen), dose), self._start(chosen, dose))
        return list(found.values())

    def around(self, params: Mapping[str, float | int]) -> list[Params]:
        """What lies next to a proposal: less and more of it, and each of its features left out."""
        doses = [max(LEAST_DOSE, WEAKER * params["dose"]), min(MOST_DOSE, STRONGER * params["dose"])]
        near = [{**params, "dose": dose} for dose in doses]
        filled = [slot for slot in range(self.slots) if params[f"feature {slot}"] != NONE]
        for slot in filled if len(filled) > 1 else []:
            rest = [each for each in filled if each != slot]
            without: Params = {"dose": params["dose"]}
            for place, taken in enumerate([*rest, *(n for n in range(self.slots) if n not in rest)]):
                without[f"feature {place}"] = params[f"feature {taken}"] if taken in rest else NONE
                without[f"weight {place}"] = params[f"weight {taken}"]
            near.append(without)
        return near

    def _start(self, chosen: Sequence[int], dose: float) -> Params:
        params: Params = {"dose": dose}
        for slot in range(self.slots):
            params[f"feature {slot}"] = chosen[slot] if slot < len(chosen) else NONE
            params[f"weight {slot}"] = 1.0
        return params
