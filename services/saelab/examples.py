"""From the activations that were kept of a feature: the examples to show, and the tokens to tell its class by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from services.inference.tokenizer import Tokenizer
from services.saelab.activating import Activating
from services.saelab.annotated import ROLES, AnnotatedText, pieces
from services.saelab.feature_classes import ActiveToken
from services.saelab.feature_rows import Example
from services.saelab.kept import Kept
from services.saelab.vocabulary import Spelling

STRONG = 0.5
"""An activation is strong if it is at least this share of the feature's largest in the text."""
_ALIKE = slice(-3, 2)
"""Two examples are alike if the tokens from three before the peak to one after it are the same."""


@dataclass(frozen=True, slots=True)
class ExampleSettings:
    """How many examples a feature gets, at most."""

    top: int = 10
    """Those of the largest activations."""
    slices: int = 5
    """Slices of equally many activations, by size."""
    of_slice: int = 2
    """Examples drawn from each."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    place: int
    value: float
    around: Float[np.ndarray, " context"]


@dataclass(frozen=True, slots=True)
class Source:
    """A text, and where features are active in it."""

    text: AnnotatedText
    found: Activating
    before: int
    """Tokens of a context before the active one."""

    def top(self, feature: int) -> list[_Candidate]:
        """The largest activations that were kept, largest first."""
        return self._candidates(self.found.top, feature)

    def sample(self, feature: int) -> list[_Candidate]:
        """Those that were drawn, largest first."""
        return sorted(self._candidates(self.found.sample, feature), key=lambda c: -c.value)

    def _candidates(self, kept: Kept, feature: int) -> list[_Candidate]:
        places, contexts = kept.places[feature].numpy(), kept.contexts[feature].numpy()
        return [
            _Candidate(int(place), float(around[self.before]), around)
            for place, around in zip(places, contexts, strict=True)
            if place >= 0
        ]


def strong_tokens(sources: Sequence[Source], spelling: Spelling, feature: int) -> list[ActiveToken]:
    """The tokens of all texts that a feature is most active on: what it is about, where weak activations are noise."""
    found = [(source.text, candidate) for source in sources for candidate in source.top(feature)]
    least = STRONG * max((candidate.value for _, candidate in found), default=0.0)
    return [_active(text, c, spelling) for text, c in found if c.value >= least]


def _active(text: AnnotatedText, candidate: _Candidate, spelling: Spelling) -> ActiveToken:
    place = candidate.place
    start, end = text.bounds(place)
    tokens = text.tokens[start:end]
    word, begins = spelling.word(tokens, place - start)
    return ActiveToken(
        spelling.names[tokens[place - start]],
        word,
        begins < place - start,
        int(text.roles[place]),
        int(text.turn_positions[place]),
        candidate.value,
    )


class ExamplePicker:
    """Picks examples out of what was kept."""

    def __init__(self, source: Source, after: int, tokenizer: Tokenizer, settings: ExampleSettings) -> None:
        """`after` is the number of a context's tokens after the active one."""
        self._source, self._text, self._after = source, source.text, after
        self._tokenizer, self._settings = tokenizer, settings

    def examples(self, feature: int) -> tuple[Example, ...]:
        """The top ones, then those of quantiles, largest first; all of different documents, no two alike.

        A quantile is the share of the sample that is at most as large.
        """
        sample = self._source.sample(feature)
        values = np.array([candidate.value for candidate in sample[::-1]])
        fresh = _Fresh(self._text)
        chosen: list[Example] = []

        def take(kind: Literal["top", "quantile"], candidates: Iterable[_Candidate], count: int) -> None:
            for candidate in fresh.first(candidates, count):
                share = float(np.searchsorted(values, candidate.value, side="right")) / len(values)
                chosen.append(self._example(kind, share, candidate))

        take("top", self._source.top(feature), self._settings.top)
        edges = np.linspace(0, len(sample), self._settings.slices + 1).round().astype(int)
        for start, end in pairwise(edges):
            # From the middle of the slice outwards, so that the examples stand for it.
            middle = (start + end - 1) / 2
            order = sorted(range(start, end), key=lambda number, middle=middle: abs(number - middle))  # type: ignore[misc]
            take("quantile", [sample[number] for number in order], self._settings.of_slice)
        kinds = {"top": 0, "quantile": 1}
        return tuple(sorted(chosen, key=lambda e: (kinds[e.kind], -e.activations[e.peak])))

    def _example(self, kind: Literal["top", "quantile"], quantile: float, candidate: _Candidate) -> Example:
        start, end = self._text.bounds(candidate.place)
        first = max(start, candidate.place - self._source.before)
        last = min(end, candidate.place + self._after + 1)
        offset = first - (candidate.place - self._source.before)
        values = candidate.around[offset : offset + last - first]
        return Example(
            kind,
            round(quantile, 3),
            tuple(pieces(self._tokenizer, self._text.tokens[first:last].tolist())),
            tuple(_shortened(value) for value in values.tolist()),
            candidate.place - first,
            ROLES[self._text.roles[candidate.place]],
            self._text.ids[self._text.documents[candidate.place]],
        )


class _Fresh:
    """Lets through what is of another document than anything before, and not alike."""

    def __init__(self, text: AnnotatedText) -> None:
        self._text = text
        self._documents: set[int] = set()
        self._seen: set[bytes] = set()

    def first(self, candidates: Iterable[_Candidate], count: int) -> list[_Candidate]:
        """The first so many that are new; they are old from now on."""
        found: list[_Candidate] = []
        for candidate in candidates:
            if len(found) == count:
                break
            document = int(self._text.documents[candidate.place])
            around = self._alike(candidate.place)
            if document not in self._documents and around not in self._seen:
                self._documents.add(document)
                self._seen.add(around)
                found.append(candidate)
        return found

    def _alike(self, place: int) -> bytes:
        start = max(0, place + _ALIKE.start)
        near: Int[np.ndarray, " near"] = self._text.tokens[start : place + _ALIKE.stop]
        return near.tobytes()


def _shortened(value: float) -> float:
    """Three significant digits: enough to see, and half the size on disk."""
    return float(f"{value:.3g}")
