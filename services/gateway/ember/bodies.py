"""Bodies of Ember's routes, as its SDK sends them. What the SDK sends and nobody reads is left out.

Numbers, roles and UUIDs are checked here; what a model, an SAE or the catalogue must know (lengths, limits, which
features there are) is checked by the services.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, model_validator

Index = Annotated[int, Field(ge=0, lt=2**32)]
"""A feature's index in its SAE."""


class FeatureBody(BaseModel):
    """A feature. Its index names it: a UUID and a label that another server gave it do no harm."""

    index_in_sae: Index


class FeatureGroupBody(BaseModel):
    """Features; a single one may stand in place of the group, as the SDK's own `FeatureGroup.from_json` allows."""

    features: list[FeatureBody] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _group(cls, value: Any) -> Any:
        return {"features": [value]} if isinstance(value, dict) and "index_in_sae" in value else value


class ConditionalBody(BaseModel):
    """Compares the largest activation of a group with a number or with another group's."""

    left_hand: FeatureGroupBody
    operator: Literal[">", "<", "==", ">=", "<=", "!="]
    right_hand: FiniteFloat | FeatureGroupBody


class ConditionalGroupBody(BaseModel):
    """Conditions that are joined. `a & (b | c)` nests a group in a group."""

    conditionals: list[ConditionalBody | ConditionalGroupBody]
    operator: Literal["AND", "OR"] = "AND"


class InterventionBody(BaseModel):
    """One operation on each feature of a group: nudge adds, pin sets, mul multiplies."""

    mode: Literal["nudge", "pin", "mul"]
    features: FeatureGroupBody
    value: FiniteFloat


class ScopeBody(BaseModel):
    """What happens where conditions hold: edits, and an event that is told by its name."""

    conditionals: ConditionalGroupBody
    controller: ControllerBody
    event_name: str | None = None


class ControllerBody(BaseModel):
    """How a model is steered, in Ember's words: what `variant.controller.json()` gives."""

    interventions: list[InterventionBody] = []
    scopes: list[ScopeBody] = []
    nonzero_strength_threshold: FiniteFloat | None = None
    min_nudge_entropy: FiniteFloat | None = None
    max_nudge_entropy: FiniteFloat | None = None
