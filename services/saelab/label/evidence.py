"""What the texts say of a feature: the atoms that its activation falls on, and the words around it.

Everything is counted on documents that labels are made from, never on those that they are tested on, and weighted by
the activation: a strong one says more. An atom's contribution, share x log(share / frequency), is its part of the
Kullback-Leibler divergence between the feature's tokens and all tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.saelab.annotated import TEMPLATE
from services.saelab.feature_classes import function_words, stem
from services.saelab.label.atoms import Atom, AtomIndex, Kind
from services.saelab.label.detectors import DETECTORS
from services.saelab.label.reading import Reading

_CANDIDATES = {"words": 16, "pieces": 12, "after": 6, "before": 6, "detectors": 10}
_LEAST_SHARE = 0.03
"""Atoms with a smaller share of the activation say nothing of the feature."""
_LEAST_LIFT = 2.0
"""Atoms that are less often more frequent than elsewhere say nothing of it either."""
_BEFORE, _AFTER = 14, 5
"""Units before and after the strongest tokens that count as their surroundings: the feature has read what is before."""
_SURROUNDINGS = 80
"""Strong activations whose surroundings are read, one of each document and word."""
_PRIOR = 200.0
"""Strength of the prior of the log-odds, in words."""
_LEAST_COUNT = 3
"""A keyword stands in the surroundings of so many different documents."""
_LEAST_Z = 2.0
"""Log-odds of a keyword in standard deviations."""
_KEYWORDS = 12
_LEAST_DOCUMENTS = 2
"""An atom is found in so many documents, where the feature is active in more than that."""
_LEAST_LETTERS = 2
"""Of a part of a word."""


@dataclass(frozen=True, slots=True)
class Found:
    """An atom on which activation falls."""

    atom: Atom
    share: float
    """Of the activation."""
    frequency: float
    """Of the atom among all encoded tokens."""
    tokens: NDArray[np.bool_]
    """[firings], on which of the feature's tokens it is true."""

    @property
    def contribution(self) -> float:
        """share x log(share / frequency), in nats."""
        return self.share * float(np.log(max(self.share, 1e-9) / max(self.frequency, 1e-7)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one feature."""

    firings: int
    """Tokens at which it is active."""
    documents: int
    """Documents that they are in."""
    weights: Float[NDArray[np.float32], " firings"]
    """Share of the activation at each."""
    words: tuple[Found, ...]
    """Whole words and signs; largest contribution first, as all below."""
    pieces: tuple[Found, ...]
    """Parts of words."""
    after: tuple[Found, ...]
    """Words before."""
    before: tuple[Found, ...]
    """Words after."""
    detectors: tuple[Found, ...]
    keywords: tuple[str, ...]
    """Words that stand around strong activations more than elsewhere (log-odds with a Dirichlet prior)."""


class EvidenceReader:
    """Reads the evidence of features."""

    def __init__(self, reading: Reading, index: AtomIndex) -> None:
        firings = reading.firings
        self._reading, self._index, self._firings = reading, index, firings
        self._learnt = firings.for_labels & firings.used
        self._total = max(1, int(self._learnt.sum()))
        self._detected = np.stack([detect(reading) for detect in DETECTORS.values()], axis=1)
        self._detector_frequency = self._detected[self._learnt].mean(0)
        self._form = reading.unit_form[reading.unit]
        self._word = reading.form_word[self._form]
        before, after = (np.full(len(reading.unit_form), -1, np.int32) for _ in range(2))
        inside = reading.unit_window[1:] == reading.unit_window[:-1]
        before[1:][inside] = reading.unit_word[:-1][inside]
        after[:-1][inside] = reading.unit_word[1:][inside]
        self._before, self._after = before[reading.unit], after[reading.unit]
        self._piece, self._pieces = _piece_numbers(reading)
        self._text = firings.roles != TEMPLATE
        self._word_frequency = self._frequencies(self._word, len(reading.words))
        self._before_frequency = self._frequencies(self._before + 1, len(reading.words) + 1)
        self._after_frequency = self._frequencies(self._after + 1, len(reading.words) + 1)
        self._piece_frequency = self._frequencies(self._piece, len(self._pieces))
        plain = np.array([_is_keyword(word) for word in reading.words])[reading.unit_word]
        plain[reading.unit[~self._text]] = False
        self._is_keyword = plain
        learnt_units = np.zeros(len(reading.unit_form), np.bool_)
        learnt_units[reading.unit[self._learnt]] = True
        counts = np.bincount(reading.unit_word[learnt_units], minlength=len(reading.words))
        self._keyword_prior = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))

    def _frequencies(self, values: NDArray[np.int32], size: int) -> NDArray[np.float64]:
        return np.bincount(values[self._learnt], minlength=size) / self._total

    def read(self, feature: int) -> Evidence:
        """The evidence of a feature, empty where it is never active in these documents."""
        tokens, values = self._firings.of(feature)
        learnt = self._firings.for_labels[tokens]
        tokens, values = tokens[learnt], values[learnt]
        weights = values / max(float(values.sum()), 1e-9)
        return Evidence(
            len(tokens),
            len(np.unique(self._firings.documents[tokens])),
            weights,
            self._words(tokens, weights),
            self._word_pieces(tokens, weights),
            self._besides(self._before, self._before_frequency, tokens, weights, Kind.AFTER),
            self._besides(self._after, self._after_frequency, tokens, weights, Kind.BEFORE),
            self._detections(tokens, weights),
            self._keywords(tokens, values),
        )

    def _words(self, tokens: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[Found, ...]:
        def atom(word: int, inside: NDArray[np.bool_]) -> Atom:
            forms = np.bincount(self._form[tokens[inside]], weights[inside])
            form = self._reading.forms[int(forms.argmax())]
            always = forms.max() > 0.9 * forms.sum()
            return Atom(Kind.LITERAL, form if always else form.lower())

        return self._found(self._word, self._word_frequency, tokens, weights, "words", atom)

    def _word_pieces(self, tokens: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[Found, ...]:
        return self._found(
            self._piece,
            self._piece_frequency,
            tokens,
            weights,
            "pieces",
            lambda piece, inside: Atom(Kind.LITERAL, self._pieces[piece]),
        )

    def _besides(
        self,
        word: NDArray[np.int32],
        frequency: NDArray[np.float64],
        tokens: NDArray[np.int32],
        weights: NDArray[np.float32],
        kind: Kind,
    ) -> tuple[Found, ...]:
        """Atoms of the words before or after; -1 is the window's edge."""
        words = self._reading.words
        return self._found(
            word + 1,
            frequency,
            tokens,
            weights,
            kind,
            lambda w, inside: Atom(kind, words[w - 1] if w else ""),
        )

    def _found(
        self,
        of_token: NDArray[np.int32],
        frequency: NDArray[np.float64],
        tokens: NDArray[np.int32],
        weights: NDArray[np.float32],
        kind: str,
        atom: Callable[[int, NDArray[np.bool_]], Atom],
    ) -> tuple[Found, ...]:
        """The values with the largest contributions; what is on the chat template is left to the detectors."""
        values = np.where(self._text[tokens], of_token[tokens], -1)
        inside_text = values >= 0
        shares = np.bincount(values[inside_text], weights[inside_text], minlength=len(frequency))
        contributions = np.where(
            shares > 0, shares * np.log(np.maximum(shares, 1e-9) / np.maximum(frequency, 1e-7)), -np.inf
        )
        best = np.argsort(-contributions)[: _CANDIDATES[kind]]
        few = len(np.unique(self._firings.documents[tokens])) <= _LEAST_DOCUMENTS
        found = []
        for value in best:
            if shares[value] < max(_LEAST_SHARE, _LEAST_LIFT * frequency[value]):
                continue
            inside = values == value
            documents = len(np.unique(self._firings.documents[tokens[inside]]))
            made = atom(int(value), inside)
            if made.text.strip() and (documents >= _LEAST_DOCUMENTS or few):
                found.append(Found(made, float(shares[value]), float(frequency[value]), inside))
        return tuple(found)

    def _detections(self, tokens: NDArray[np.int32], weights: NDArray[np.float32]) -> tuple[Found, ...]:
        hits = self._detected[tokens]
        shares = weights @ hits
        found = [
            Found(
                Atom(Kind.DETECTOR, phrase), float(shares[n]), float(self._detector_frequency[n]), hits[:, n]
            )
            for n, phrase in enumerate(DETECTORS)
            if shares[n] >= _LEAST_SHARE and shares[n] > self._detector_frequency[n]
        ]
        return tuple(sorted(found, key=lambda f: -f.contribution)[: _CANDIDATES["detectors"]])

    def _keywords(self, tokens: NDArray[np.int32], values: NDArray[np.float32]) -> tuple[str, ...]:
        reading, firings = self._reading, self._firings
        seen: set[tuple[int, int]] = set()
        counts: Counter[int] = Counter()
        total = 0
        for place in np.argsort(-values, kind="stable"):
            token = tokens[place]
            key = (int(firings.documents[token]), int(self._word[token]))
            if key in seen:
                continue
            seen.add(key)
            unit = int(reading.unit[token])
            low, high = max(0, unit - _BEFORE), min(len(reading.unit_form), unit + _AFTER + 1)
            same = reading.unit_window[low:high] == reading.unit_window[unit]
            total += int(same.sum())
            counts.update(np.unique(reading.unit_word[low:high][same & self._is_keyword[low:high]]).tolist())
            if len(seen) == _SURROUNDINGS:
                break
        scored = []
        for word, count in counts.items():
            prior = _PRIOR * self._keyword_prior[word]
            odds = np.log((count + prior) / (total + _PRIOR - count - prior)) - np.log(
                self._keyword_prior[word] / (1 - self._keyword_prior[word])
            )
            if count >= _LEAST_COUNT:
                scored.append((float(odds / np.sqrt(1.0 / (count + prior))), reading.words[word]))
        scored.sort(reverse=True)
        stems: dict[str, str] = {}
        for z, keyword in scored:
            if z > _LEAST_Z:
                stems.setdefault(stem(keyword), keyword)
        return tuple(stems.values())[:_KEYWORDS]


def _is_keyword(word: str) -> bool:
    return len(word) > 2 and word.isalpha() and word not in function_words()


def _piece_numbers(reading: Reading) -> tuple[NDArray[np.int32], list[str]]:
    """[tokens] the part of a word that each is, as atoms write it; 0 for those that are no part of one."""
    numbers: dict[str, int] = {"": 0}  # Has no text, so it is never found.
    found = np.zeros(len(reading.unit), np.int32)
    for token in np.flatnonzero(~(reading.begins & reading.ends)):
        letters = reading.firings.pieces[token].strip().lower()
        if letters.isalpha() and len(letters) >= _LEAST_LETTERS:
            left = "" if reading.begins[token] else "-"
            right = "" if reading.ends[token] else "-"
            found[token] = numbers.setdefault(f"{left}{letters}{right}", len(numbers))
    return found, list(numbers)
