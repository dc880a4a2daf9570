"""Documents of a corpus, their split into training and held-out, and the files they lie in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from services.saelab.errors import CorpusError
from services.saelab.outputs import whole

TRAIN, HELDOUT = "train.jsonl", "heldout.jsonl"
MANIFEST = "manifest.json"
SELF_WRITTEN = "self-written"
"""The source of documents that the model wrote itself."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """One whole document: plain text, or a conversation that the model's own template renders."""

    id: str
    """Hash of the text it was made from: equal texts are one document, always in the same split."""
    source: str
    text: str = ""
    messages: tuple[Message, ...] = ()

    @property
    def is_chat(self) -> bool:
        """Whether it is a conversation."""
        return bool(self.messages)

    @property
    def characters(self) -> int:
        """Length of its text."""
        return len(self.text) + sum(len(message.content) for message in self.messages)


def document_id(text: str) -> str:
    """The id of a text; case and spacing do not matter."""
    return hashlib.blake2b(" ".join(text.lower().split()).encode(), digest_size=8).hexdigest()


def fraction(key: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the document's id and the purpose alone."""
    digest = hashlib.blake2b(f"{purpose} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def is_heldout(key: str, share: float) -> bool:
    """Whether the document of that id is held out, where `share` of all documents are."""
    return fraction(key, "held-out") < share


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """Writes documents as JSON lines; the file is whole or not there."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        for document in documents:
            row = {key: value for key, value in asdict(document).items() if value}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_documents(path: Path) -> Iterator[Document]:
    """Reads documents from JSON lines. Raises CorpusError with the line at fault."""
    try:
        file = path.open(encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"no corpus at {path.parent} ({error.strerror}); make one with `hearth sae corpus`"
        ) from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                messages = tuple(Message(**message) for message in row.get("messages", ()))
                yield Document(row["id"], row["source"], row.get("text", ""), messages)
            except (ValueError, KeyError, TypeError) as error:
                raise CorpusError(
                    f"{path}, line {number} is no document ({error}); make the corpus again"
                ) from error
