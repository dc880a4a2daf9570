"""Labelled passages as pooled activations, and the probes on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from services.inference.sae.base import Sae
from services.saelab.documents import Document, document_id
from services.saelab.heldout import HeldoutSums
from services.saelab.probing import Kind, Labelled, Probe, ProbeResult, is_fitting, measure_probe
from services.saelab.residual import HookedModel, without_sinks


@dataclass(frozen=True, slots=True)
class Passages:
    """Passages with their documents; a sentence of a probe's own is a document of its own."""

    documents: tuple[Document, ...]
    features: Tensor
    """Mean activations over each passage's tokens, [passages, d_sae]."""
    stream: Tensor
    """Mean residual stream, [passages, d_model]."""
    fitting: tuple[bool, ...]
    """Which are of the half that is fitted on: whole documents by their id, every other sentence of a probe's own."""

    @classmethod
    def of_documents(cls, owners: Sequence[Document], sums: HeldoutSums) -> Passages:
        """Those that a pass over held-out text kept."""
        fitting = tuple(is_fitting(owner.id) for owner in owners)
        return cls(tuple(owners), sums.pooled, sums.pooled_stream, fitting)

    @classmethod
    def of_sentences(
        cls, probes: Iterable[Probe], sae: Sae, model: HookedModel, tokenizer: Any, median_norm: float
    ) -> Passages:
        """The probes' own sentences, read one by one."""
        kinds = [kind for probe in probes for kind in (probe.positive, probe.negative)]
        sentences = [sentence for kind in kinds for sentence in kind.sentences]
        features = torch.zeros(len(sentences), sae.weights.d_sae)
        stream = torch.zeros(len(sentences), sae.weights.d_model)
        for row, sentence in enumerate(sentences):
            tokens = torch.tensor([tokenizer(sentence).input_ids], device=model.device)
            hidden = model.residuals(tokens)[0].float().cpu()
            used = torch.arange(len(hidden)) > 0
            h = hidden[without_sinks(hidden.norm(dim=-1), used, median_norm)]
            if len(h):
                features[row], stream[row] = sae.weights.encode(h).mean(0), h.mean(0)
        documents = (Document(document_id(sentence), "", sentence) for sentence in sentences)
        fitting = (number % 2 == 0 for kind in kinds for number in range(len(kind.sentences)))
        return cls(tuple(documents), features, stream, tuple(fitting))

    @classmethod
    def together(cls, parts: Sequence[Passages]) -> Passages:
        """All of them."""
        return cls(
            tuple(document for part in parts for document in part.documents),
            torch.cat([part.features for part in parts]),
            torch.cat([part.stream for part in parts]),
            tuple(half for part in parts for half in part.fitting),
        )

    def of_kind(self, kind: Kind) -> Bool[NDArray[np.bool_], " passages"]:
        """Which passages are of a kind."""
        own = set(kind.sentences)
        return np.array(
            [kind.has(d) if not own else d.source == "" and d.text in own for d in self.documents]
        )


def probe_results(probes: Iterable[Probe], passages: Passages) -> list[ProbeResult]:
    """The results of those probes that have enough passages."""
    found = []
    fitting = np.array(passages.fitting)
    for probe in probes:
        positive, negative = passages.of_kind(probe.positive), passages.of_kind(probe.negative)
        some = np.flatnonzero(positive | negative)
        labelled = Labelled(
            passages.features[some].numpy(), passages.stream[some].numpy(), positive[some], fitting[some]
        )
        if result := measure_probe(probe, labelled):
            found.append(result)
    return found
