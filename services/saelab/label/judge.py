"""The offline judge: how well a label fits a context, from the label's text alone, without a language model.

It does what a patient reader would: it looks for the words, signs, positions and formats that the label names
(atoms.py), and compares what label and context are about (MiniLM). It reads labels from any source alike; one that
keeps to no convention is judged by its meaning and the words that it mentions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import csr_array

from services.saelab.label.atoms import Atom, AtomIndex, Kind, atoms_of
from services.saelab.label.contexts import Contexts

_MENTIONED = 0.5
"""What a mention counts for, where what a label says of tokens counts for 1: cosines of contexts with their labels are
0.1 to 0.5."""
_RARE = 1e-3
"""What is true of a larger share of tokens counts for less: of a tenth of them, a third."""


class OfflineJudge:
    """Scores labels on contexts; the scores of one label compare, those of two do not."""

    def __init__(
        self,
        contexts: Contexts,
        index: AtomIndex,
        labels: Sequence[str],
        label_vectors: Float[NDArray[np.float32], "labels width"],
        context_vectors: Float[NDArray[np.float32], "contexts width"],
    ) -> None:
        self._labels, self._contexts_vectors = label_vectors, context_vectors
        atoms = [atoms_of(label) for label in labels]
        columns = {atom: number for number, atom in enumerate(dict.fromkeys(a for row in atoms for a in row))}
        found = [index.tokens(atom) for atom in columns]
        weights = [
            _weight(atom, len(part), len(contexts.number)) for atom, part in zip(columns, found, strict=True)
        ]
        self._says = csr_array(
            (
                [weights[columns[atom]] for row in atoms for atom in row],
                (
                    [number for number, row in enumerate(atoms) for _ in row],
                    [columns[atom] for row in atoms for atom in row],
                ),
            ),
            shape=(len(labels), max(1, len(columns))),
            dtype=np.float32,
        )
        tokens = np.concatenate([*found, np.zeros(0, np.int32)])
        atom = np.repeat(np.arange(len(found)), [len(part) for part in found])
        shape = (len(contexts.number), max(1, len(columns)))
        self._tokens = csr_array((np.ones(len(tokens), np.float32), (tokens, atom)), shape=shape)
        in_context = (np.ones(len(tokens), np.float32), (contexts.number[tokens], atom))
        self._contexts = csr_array(in_context, shape=(len(contexts), shape[1]))

    def detect(
        self, labels: Sequence[int] | NDArray[np.integer], contexts: NDArray[np.integer]
    ) -> Float[NDArray[np.float32], "labels contexts"]:
        """How well each label fits each context."""
        hits = (self._says[labels] @ self._contexts[contexts].T).toarray()
        about = self._labels[labels] @ self._contexts_vectors[contexts].T
        return np.asarray(about + np.log2(1.0 + hits) / 4.0, np.float32)

    def hits(
        self, labels: Sequence[int] | NDArray[np.integer], tokens: NDArray[np.integer]
    ) -> Float[NDArray[np.float32], "labels tokens"]:
        """How much of what each label says is true of each token, nothing else considered."""
        return np.asarray((self._says[labels] @ self._tokens[tokens].T).toarray(), np.float32)


def _weight(atom: Atom, found: int, tokens: int) -> float:
    rarity = min(1.0, float(np.log(max(found, 1) / tokens) / np.log(_RARE)))
    return rarity * (_MENTIONED if atom.kind is Kind.MENTION else 1.0)
