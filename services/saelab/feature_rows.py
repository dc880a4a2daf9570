"""What is known of one feature, and of a table of them; feature_table.py keeps them on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class FeatureClass(StrEnum):
    """What a feature is about; the rules are in feature_classes.py."""

    CONCEPT = "concept"
    """A meaning that different words share."""
    LEXICAL = "lexical"
    """One word, or forms of it."""
    SYNTACTIC = "syntactic"
    """Function words, punctuation, parts of words, line breaks."""
    POSITION = "position"
    """A place in the text or in a turn, whatever stands there."""
    TEMPLATE = "template"
    """The chat template's own tokens."""
    DEAD = "dead"
    """Never active."""
    UNCLASSIFIED = "unclassified"
    """Not looked at: imported from an export without examples of it."""


@dataclass(frozen=True, slots=True)
class TokenWeight:
    """A token that a feature's decoder direction promotes or suppresses."""

    token: str
    """As readable text: a leading space is kept."""
    id: int
    weight: float
    """Nats by which a nudge of strength 0.5 changes its logit, above the mean over features (see output_effects.py);
    where that was not measured, its weight through the unembedding alone (logit_lens.py). Negative where suppressed."""


@dataclass(frozen=True, slots=True)
class Dose:
    """What a nudge did, measured."""

    strength: float
    """In strength units."""
    gain: float
    """How far the text moved towards what the feature means; see steerability.py."""
    loss: float
    """Nats a token by which the unsteered model finds the text less likely than its own."""
    distinct: float
    """Share of the text's runs of three words that are different: a loop is likely, but not fluent."""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """Another feature like this one."""

    index: int
    similarity: float
    """Cosine of the decoder directions, or of the activation patterns over tokens."""


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of text that the model wrote itself, around a token at which the feature is active."""

    kind: Literal["top", "quantile"]
    """One of the largest activations, or one drawn from a slice of all activations."""
    quantile: float
    """Share of the feature's activations (in this text) that are at most that of the peak: 1 is the largest."""
    tokens: tuple[str, ...]
    """Readable pieces that put together give the text."""
    activations: tuple[float, ...]
    """Of the feature at each token, raw; 0 where it is inactive, and at tokens that are never encoded."""
    peak: int
    """Which of the tokens the example was chosen for."""
    role: str
    """Whose turn the peak is in: `user`, `assistant`, `system`; `template` on the template's own tokens; empty in text
    that is no conversation."""
    document: str
    """Id of the document. Examples of one document are not independent."""

    @property
    def text(self) -> str:
        """The whole stretch."""
        return "".join(self.tokens)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One feature."""

    index: int
    density: float
    """Share of the reference corpus's tokens on which it is active."""
    scale: float
    """Its activation scale, as the SAE's side file has it: 1.0 in activation units is this much, raw."""
    max_activation: float
    """Largest activation over the reference corpus, raw."""
    histogram: tuple[int, ...]
    """Activations over the reference corpus, counted in the bins between FeatureTableInfo.histogram_edges."""
    feature_class: FeatureClass
    output_score: float | None = None
    """Nats by which a nudge of strength 0.5 raises the promoted tokens above all others, in contexts by which they were
    not chosen (output_effects.py); near 0 where the feature has no effect of its own. None where not measured."""
    steering: tuple[Dose, ...] = ()
    """In order of strength; empty where not measured."""
    steerability: float | None = None
    """The best gain among fluent doses; 0 where measured and none is fluent, None where not measured."""
    promoted: tuple[TokenWeight, ...] = ()
    """Largest first."""
    suppressed: tuple[TokenWeight, ...] = ()
    """Most negative first."""
    examples: tuple[Example, ...] = ()
    """The top ones first, largest first, then those of quantiles, larger first."""
    decoder_neighbors: tuple[Neighbor, ...] = ()
    """Most similar first."""
    coactivation_neighbors: tuple[Neighbor, ...] = ()
    """Most similar first."""

    @property
    def is_live(self) -> bool:
        """Whether it is ever active."""
        return self.feature_class is not FeatureClass.DEAD


@dataclass(frozen=True, slots=True)
class FeatureTableInfo:
    """Which SAE the table is about, and what was measured."""

    sae_id: str
    weights_digest: str
    """Of the SAE's weights: a table for other weights is refused by whoever joins them."""
    model: str
    hook_point: str
    features: int
    """Number of rows."""
    histogram_edges: tuple[float, ...]
    """In units of the feature's scale; one more than bins. What lies outside is in the first and the last bin."""
    texts_digest: str
    """SHA-256 of the file of self-written text."""
    text_tokens: int
    """Tokens of it that were read."""
    reference_tokens: int
    """Tokens of the reference corpus."""
    hearth_version: str
    settings: dict[str, Any] = field(default_factory=dict)
    """How each stage was run: enough to do it again."""
