"""From what the stages measured to the rows of features.parquet."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from jaxtyping import Float, Int
from torch import Tensor

from services.saelab import feature_table
from services.saelab.activation_statistics import HISTOGRAM_EDGES
from services.saelab.examples import ExamplePicker, Source, strong_tokens
from services.saelab.feature_bench import Bench, FeatureSettings
from services.saelab.feature_classes import ActiveToken, classify
from services.saelab.feature_rows import FeatureClass, FeatureRow, FeatureTableInfo, Neighbor, TokenWeight
from services.saelab.features import CLASS_KEPT, Measured, Progress, measure
from services.saelab.logit_lens import lens, listed, ranked
from services.saelab.neighbors import decoder_neighbors


def make_features(
    settings: FeatureSettings, progress: Progress = lambda stage, done, total: None
) -> feature_table.FeatureTable:
    """Runs the stages and writes features.parquet beside the SAE. Raises what features.measure() raises."""
    bench = Bench(settings)
    measured = measure(bench, progress)
    feature_table.write(settings.sae, _info(bench, measured), rows(bench, measured))
    return feature_table.read(settings.sae)


def _info(bench: Bench, measured: Measured) -> FeatureTableInfo:
    settings, sae = bench.settings, bench.sae
    return FeatureTableInfo(
        sae_id=sae.id,
        weights_digest=sae.weights_digest,
        model=str(sae.card.get("model") or settings.model),
        hook_point=sae.hook_point,
        features=sae.weights.d_sae,
        histogram_edges=HISTOGRAM_EDGES,
        texts_digest=bench.text_digest,
        text_tokens=measured.activating.tokens,
        reference_tokens=measured.statistics.tokens,
        hearth_version=version("hearth"),
        settings=measured.runs,
    )


def rows(bench: Bench, measured: Measured) -> Iterator[FeatureRow]:
    """The rows, in order of features."""
    settings, sae, statistics = bench.settings, bench.sae, measured.statistics
    assert sae.scales is not None
    written = Source(bench.text, measured.activating, settings.activating.before)
    sources = [written]
    if measured.elsewhere is not None:
        sources.append(Source(bench.corpus_text, measured.elsewhere, CLASS_KEPT.before))
    picker = ExamplePicker(written, settings.activating.after, bench.tokenizer, settings.examples)
    tokens = _Tokens(bench, measured)
    decoder = decoder_neighbors(sae.weights.W_dec, measured.live, settings.neighbors)
    coactive = statistics.neighbors, statistics.similarities
    density = statistics.density
    for index in range(sae.weights.d_sae):
        steered = measured.steered.get(index)
        yield FeatureRow(
            index=index,
            density=float(density[index]),
            scale=float(sae.scales[index]),
            max_activation=float(statistics.maxima[index]),
            histogram=tuple(statistics.histogram[index].tolist()),
            feature_class=_class(
                strong_tokens(sources, bench.spelling, index), live=bool(measured.live[index])
            ),
            output_score=None if measured.effects is None else float(measured.effects.scores[index]),
            steering=() if steered is None else steered.doses,
            steerability=None if steered is None else steered.steerability,
            promoted=tokens.listed(index, "promoted"),
            suppressed=tokens.listed(index, "suppressed"),
            examples=picker.examples(index),
            decoder_neighbors=_neighbors(*decoder, index),
            coactivation_neighbors=_neighbors(*coactive, index),
        )


class _Tokens:
    """Promoted and suppressed tokens: as measured, or else by the unembedding alone."""

    def __init__(self, bench: Bench, measured: Measured) -> None:
        self._vocabulary, self._live = bench.vocabulary, measured.live
        count, effects = bench.settings.effects.count, measured.effects
        if effects is not None:
            self._words = {"promoted": effects.promoted, "suppressed": effects.suppressed}
            self._weights = {
                "promoted": effects.promoted_weights,
                "suppressed": effects.suppressed_weights,
            }
            return
        weights = lens(bench.model.model, bench.sae.weights.W_dec, bench.vocabulary)
        self._words = {
            "promoted": ranked(weights, bench.vocabulary, count, promoted=True),
            "suppressed": ranked(weights, bench.vocabulary, count, promoted=False),
        }
        self._weights = {name: weights.gather(1, words.clamp_min(0)) for name, words in self._words.items()}

    def listed(self, feature: int, which: str) -> tuple[TokenWeight, ...]:
        """One feature's tokens; none for a dead one, whose direction means nothing."""
        if not self._live[feature]:
            return ()
        return listed(self._words[which][feature], self._weights[which][feature], self._vocabulary)


def _class(tokens: list[ActiveToken], *, live: bool) -> FeatureClass:
    if not live:
        return FeatureClass.DEAD
    # Active in the reference corpus, but nowhere in the texts that were read: nothing speaks for another class.
    return classify(tokens) if tokens else FeatureClass.CONCEPT


def _neighbors(
    indices: Int[Tensor, "features count"], similarities: Float[Tensor, "features count"], feature: int
) -> tuple[Neighbor, ...]:
    pairs = zip(indices[feature].tolist(), similarities[feature].tolist(), strict=True)
    return tuple(Neighbor(index, similarity) for index, similarity in pairs if index >= 0)
