"""Which documents labels are made from and tested on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from services.saelab.documents import Document, fraction, read_documents

LONGEST = 4000
"""Characters of a document's text that are read, at most: many documents tell more than long ones."""
LABEL_SHARE = 0.5
"""Share of the documents that labels are made from; they are tested on the others."""


def for_labels(document: str) -> bool:
    """Whether labels are made from the document of that id; else they are tested on it."""
    return fraction(document, "label") < LABEL_SHARE


def draw_documents(files: Sequence[Path]) -> Iterator[Document]:
    """The documents of the files, the same for the same files, so that any first part of them is a fair mixture.

    The sources (conversations made of one are another) take turns, the one with the fewest characters so far being
    next; within one, the order depends on the documents' ids alone. Raises CorpusError where a file is missing or
    broken.
    """
    by_source: dict[str, dict[str, Document]] = {}
    for file in files:
        for document in read_documents(file):
            key = f"{document.source} chat" if document.is_chat else document.source
            by_source.setdefault(key, {}).setdefault(document.id, document)
    queues = {
        source: deque(sorted(documents.values(), key=lambda d: fraction(d.id, "label texts")))
        for source, documents in sorted(by_source.items())
    }
    taken = dict.fromkeys(queues, 0)
    while queues:
        source = min(queues, key=lambda name: taken[name])
        document = queues[source].popleft()
        document = replace(document, text=document.text[:LONGEST])
        taken[source] += document.characters
        yield document
        if not queues[source]:
            del queues[source]
