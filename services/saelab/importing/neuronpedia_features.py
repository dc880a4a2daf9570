"""The features and activations of a Neuronpedia export.

A line of features has, besides `modelId`, `layer` and `index`: `frac_nonzero` (density), `maxActApprox` (largest
activation), `freq_hist_data_bar_values` and `_heights` (centres and counts of equally wide bars over its non-zero
activations), and `pos_str`, `pos_values`, `neg_str`, `neg_values` (the tokens with the largest and smallest logits).
A line of activations is one context of a feature: `tokens`, `values` (the activation at each), and `binContains`, which
is positive where the context was drawn from an interval of activations (and not for being one of the largest).
Source: see neuronpedia.py, and sae_dashboard/neuronpedia/neuronpedia_converter.py, which computes them.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from sys import intern

from services.saelab.importing.labels import Target
from services.saelab.importing.neuronpedia import Source
from services.saelab.importing.rows import Row, json_rows

TOP, SPREAD = 8, 4
"""Examples kept of a feature: so many of the largest, and so many from as many intervals of smaller activations."""
BEFORE, AFTER = 40, 16
"""Tokens kept around an example's peak."""
WHOLE = 64
"""Features, evenly spread, of which the largest example is also kept whole: what replay.py runs through the model."""


@dataclass(frozen=True, slots=True)
class ExportedFeature:
    """What the export's features say of one."""

    index: int
    density: float | None
    max_activation: float | None
    centres: tuple[float, ...]
    """Of the bars, in order; raw activations."""
    heights: tuple[float, ...]
    """Activations in each bar."""
    promoted: tuple[tuple[str, float], ...]
    """Tokens and their logits."""
    suppressed: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class ExportedExample:
    """A stretch of a context around its largest activation."""

    tokens: tuple[str, ...]
    """As the export spells them."""
    values: array[float]
    """The feature's activation at each."""
    peak: int
    """Which of them has the largest."""
    drawn: bool
    """Whether it stands for an interval of activations, and not for the largest."""

    @property
    def maximum(self) -> float:
        """The activation at the peak."""
        return self.values[self.peak]


@dataclass(slots=True)
class Examples:
    """The examples of all features, as far as they are kept."""

    kept: dict[int, list[ExportedExample]] = field(default_factory=dict)
    """By feature, largest first."""
    whole: dict[int, ExportedExample] = field(default_factory=dict)
    """The largest one of some features, not cut."""


Progress = Callable[[int, int], None]


def read_features(
    files: Iterable[Path], target: Target, source: Source, progress: Progress = lambda done, total: None
) -> dict[int, ExportedFeature]:
    """The features of an export by index; `progress` counts files. Raises LabelFileError, ImportRefused."""
    files, found = tuple(files), dict[int, ExportedFeature]()
    places: dict[int, str] = {}
    for number, file in enumerate(files, 1):
        for row in json_rows(file):
            source.check(row)
            feature = _feature(row, target)
            if feature.index in found:
                first = places[feature.index]
                raise row.wrong(
                    "index", f"one line for each feature ({feature.index} stands at {first} already)"
                )
            found[feature.index], places[feature.index] = feature, row.place
        progress(number, len(files))
    return found


def read_examples(
    files: Iterable[Path], target: Target, source: Source, progress: Progress = lambda done, total: None
) -> Examples:
    """The largest examples of each feature, and some of its smaller activations; the rest is read and forgotten."""
    files, keep = tuple(files), _Keep(target.features)
    for number, file in enumerate(files, 1):
        for row in json_rows(file):
            source.check(row)
            index = row.feature("index", target.features)
            if (example := _example(row)) is not None:
                keep.add(index, example, row.optional_number("binMin") or 0.0)
        progress(number, len(files))
    return keep.done()


def _feature(row: Row, target: Target) -> ExportedFeature:
    centres, heights = (row.numbers(f"freq_hist_data_bar_{name}") for name in ("values", "heights"))
    if len(centres) != len(heights):
        expected = f"as many numbers as freq_hist_data_bar_values has, {len(centres)}"
        raise row.wrong("freq_hist_data_bar_heights", expected, str(len(heights)))
    if any(high < low for low, high in pairwise(centres)) or min(heights, default=0.0) < 0:
        raise row.wrong("freq_hist_data_bar_values", "rising numbers over counts from 0 up")
    return ExportedFeature(
        index=row.feature("index", target.features),
        density=row.optional_number("frac_nonzero", 0.0, 1.0),
        max_activation=row.optional_number("maxActApprox"),
        centres=tuple(centres),
        heights=tuple(heights),
        promoted=_logits(row, "pos"),
        suppressed=_logits(row, "neg"),
    )


def _logits(row: Row, sign: str) -> tuple[tuple[str, float], ...]:
    tokens, values = row.texts(f"{sign}_str"), row.numbers(f"{sign}_values")
    if len(tokens) != len(values):
        expected = f"as many numbers as {sign}_str has tokens, {len(tokens)}"
        raise row.wrong(f"{sign}_values", expected, str(len(values)))
    return tuple(zip(tokens, values, strict=True))


def _example(row: Row) -> ExportedExample | None:
    """The whole context; None where nothing fires in it."""
    tokens, values = row.texts("tokens"), row.numbers("values")
    if not tokens or len(tokens) != len(values):
        raise row.wrong("values", f"as many numbers as there are tokens, {len(tokens)}", str(len(values)))
    peak = max(range(len(values)), key=values.__getitem__)
    if values[peak] <= 0.0:
        return None
    drawn = (row.optional_number("binContains") or 0.0) > 0.0
    return ExportedExample(tuple(tokens), values, peak, drawn)


class _Keep:
    """Examples worth keeping so far."""

    def __init__(self, features: int) -> None:
        self._step = max(1, features // WHOLE)
        self._top: dict[int, list[tuple[float, int, ExportedExample]]] = {}
        self._spread: dict[int, dict[float, ExportedExample]] = {}
        self._whole: dict[int, ExportedExample] = {}
        self._order = count()

    def add(self, index: int, example: ExportedExample, interval: float) -> None:
        """Takes in one example; `interval` names the interval of activations that it was drawn from."""
        if example.drawn:
            self._spread.setdefault(index, {}).setdefault(interval, _cut(example))
            return
        if index % self._step == 0:
            largest = self._whole.get(index)
            if largest is None or example.maximum > largest.maximum:
                self._whole[index] = example
        top, cut = self._top.setdefault(index, []), _cut(example)
        if any(cut.tokens == kept.tokens for _, _, kept in top):
            return  # The same words again, as exports have them where prompts repeat.
        entry = (cut.maximum, -next(self._order), cut)
        if len(top) < TOP:
            heapq.heappush(top, entry)
        elif entry > top[0]:
            heapq.heapreplace(top, entry)

    def done(self) -> Examples:
        """All that was kept."""
        kept = {}
        for index in self._top.keys() | self._spread.keys():
            largest = [example for _, _, example in sorted(self._top.get(index, ()), reverse=True)]
            drawn = [example for _, example in sorted(self._spread.get(index, {}).items(), reverse=True)]
            step = max(1, len(drawn) // SPREAD)
            kept[index] = largest + drawn[::step][:SPREAD]
        return Examples(kept, self._whole)


def _cut(example: ExportedExample) -> ExportedExample:
    start = max(0, example.peak - BEFORE)
    place = slice(start, example.peak + AFTER + 1)
    tokens = tuple(map(intern, example.tokens[place]))
    return ExportedExample(tokens, array("f", example.values[place]), example.peak - start, example.drawn)
