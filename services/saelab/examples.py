"""From the activations that were kept of a feature: the examples to show, and the tokens to tell its class by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from services.inference.tokenizer import Tokenizer
from services.saelab.activating import Activating, ActivatingSettings
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
    around: Float[np.ndarray, " context"]


class ExamplePicker:
    """Picks examples out of what was kept."""

    def __init__(
        self,
        text: AnnotatedText,
        found: Activating,
        kept: ActivatingSettings,
        tokenizer: Tokenizer,
        spelling: Spelling,
        settings: ExampleSettings,
    ) -> None:
        self._text, self._found, self._kept = text, found, kept
        self._tokenizer, self._spelling, self._settings = tokenizer, spelling, settings

    def examples(self, feature: int) -> tuple[Example, ...]:
        """The top ones, then those of quantiles, largest first; all of different documents, no two alike.

        A quantile is the share of the sample that is at most as large.
        """
        sample = sorted(self._candidates(self._found.sample, feature), key=lambda c: -self._value(c))
        values = np.array([self._value(candidate) for candidate in sample[::-1]])
        fresh = _Fresh(self._text)
        chosen: list[Example] = []

        def take(kind: Literal["top", "quantile"], candidates: Iterable[_Candidate], count: int) -> None:
            for candidate in fresh.first(candidates, count):
                share = float(np.searchsorted(values, self._value(candidate), side="right")) / len(values)
                chosen.append(self._example(kind, share, candidate))

        take("top", self._candidates(self._found.top, feature), self._settings.top)
        edges = np.linspace(0, len(sample), self._settings.slices + 1).round().astype(int)
        for start, end in pairwise(edges):
            # From the middle of the slice outwards, so that the examples stand for it.
            middle = (start + end - 1) / 2
            order = sorted(range(start, end), key=lambda number, middle=middle: abs(number - middle))  # type: ignore[misc]
            take("quantile", [sample[number] for number in order], self._settings.of_slice)
        kinds = {"top": 0, "quantile": 1}
        return tuple(sorted(chosen, key=lambda e: (kinds[e.kind], -e.activations[e.peak])))

    def strong_tokens(self, feature: int) -> list[ActiveToken]:
        """The tokens that the feature is most active on: what it is about, where weak activations are mostly noise."""
        top = self._candidates(self._found.top, feature)
        return [self._active(c) for c in top if self._value(c) >= STRONG * self._value(top[0])]

    def _candidates(self, kept: Kept, feature: int) -> list[_Candidate]:
        places, contexts = kept.places[feature].numpy(), kept.contexts[feature].numpy()
        return [_Candidate(int(place), contexts[n]) for n, place in enumerate(places) if place >= 0]

    def _value(self, candidate: _Candidate) -> float:
        return float(candidate.around[self._kept.before])

    def _example(self, kind: Literal["top", "quantile"], quantile: float, candidate: _Candidate) -> Example:
        start, end = self._text.bounds(candidate.place)
        first = max(start, candidate.place - self._kept.before)
        last = min(end, candidate.place + self._kept.after + 1)
        offset = first - (candidate.place - self._kept.before)
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

    def _active(self, candidate: _Candidate) -> ActiveToken:
        place = candidate.place
        start, end = self._text.bounds(place)
        tokens = self._text.tokens[start:end]
        word, begins = self._spelling.word(tokens, place - start)
        return ActiveToken(
            self._spelling.names[tokens[place - start]],
            word,
            begins < place - start,
            int(self._text.roles[place]),
            int(self._text.turn_positions[place]),
            self._value(candidate),
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
