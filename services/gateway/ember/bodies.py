"""Bodies of Ember's routes, as its SDK sends them. What the SDK sends and nobody reads is left out.

Numbers, roles and UUIDs are checked here; what a model, an SAE or the catalogue must know (lengths, limits, which
features there are) is checked by the services.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

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


class MessageBody(BaseModel):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


Messages = Annotated[list[MessageBody], Field(min_length=1, max_length=128)]
"""A chat."""


class ModelBody(BaseModel):
    """What names a model."""

    model: str = ""
    """A served model's id or an alias; empty means the first that is served."""


class ChatBody(ModelBody):
    """A chat that a model reads."""

    messages: Messages


class InspectBody(ChatBody):
    """Asks which features fire at every token."""

    controller: ControllerBody | None = None
    include_feature_indexes: Annotated[list[Index], Field(max_length=512)] | None = None
    """Only these features; all unless given."""
    aggregate_by: Literal["count", "mean", "max", "sum"] = "count"
    """Changes nothing here: the SDK aggregates what it is sent."""


class LogitsBody(ChatBody):
    """Asks for next-token logits."""

    controller: ControllerBody | None = None
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = 10
    """So many of the largest; without a number all that are named, or 1,000."""
    filter_vocabulary: Annotated[list[str], Field(max_length=1000)] | None = None
    """Only these tokens."""


class ContrastBody(ModelBody):
    """Asks what tells two sets of chats apart."""

    dataset_1: Annotated[list[Messages], Field(min_length=1, max_length=64)]
    dataset_2: Annotated[list[Messages], Field(min_length=1, max_length=64)]
    k_to_add: Annotated[int, Field(ge=1, le=1000)] = 5
    """Features of the second set, at most."""
    k_to_remove: Annotated[int, Field(ge=1, le=1000)] = 5
    """Features of the first set, at most."""


class AttributionBody(ChatBody):
    """Asks which features made the model write one token of a chat."""

    start_index: int = Field(alias="startIndex")
    """The token, counted as inspect counts them; from the end where negative."""
    end_index: int = Field(alias="endIndex")
    """The same."""


class RerankBody(ModelBody):
    """Asks for an order of some features."""

    query: str
    feature_ids: Annotated[list[UUID], Field(max_length=8192)]
    top_k: Annotated[int, Field(ge=0, le=8192)] = 10


class LookupBody(ModelBody):
    """Asks for features by index."""

    indices: Annotated[list[Index], Field(max_length=8192)]


class NeighborsBody(ModelBody):
    """Asks for features like one, or like the centre of some."""

    feature_indices: Annotated[list[Index], Field(min_length=1, max_length=2048)]
    top_k: Annotated[int, Field(ge=1, le=1000)] = 10


class SpecificationBody(ModelBody):
    """What is wanted, in words."""

    specification: str
