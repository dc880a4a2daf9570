"""Documents out of what users have: text, JSON lines, Parquet, folders of these, and data sets of the hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from services.saelab.documents import SELF_WRITTEN, Document, Message, document_id
from services.saelab.errors import CorpusError

HUB = "hf:"
"""Before the name of a data set on the hub: hf:owner/name[:config][:split][:column]."""
_COLUMNS = ("messages", "conversations", "text", "content")
"""Where documents are looked for unless a column is named, in this order."""
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "chatgpt": "assistant"}
"""ShareGPT's names for who speaks."""
_BATCH = 256
"""Rows of Parquet in memory together."""

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Each row with the place to name where it is at fault."""


def documents_of(name: str) -> Iterator[Document]:
    """The documents of an input, one after the other: nothing of it is in memory twice.

    `name` is a file (.txt: one document; .jsonl, .parquet, .arrow: one a row), a folder of such files, or
    hf:owner/name; a column may be named behind a colon. Rows whose column is null are passed over. Raises CorpusError
    with the file, row and column at fault.
    """
    if name.startswith(HUB):
        yield from _of_rows(*_hub(name))
        return
    path, column = _column_of(name)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in _READERS or file.suffix == ".txt")
        if not files:
            choices = ", ".join(sorted((*_READERS, ".txt")))
            raise CorpusError(f"{path} holds no documents: no file ends with {choices}")
        for file in files:
            yield from _of_file(file, column if file.suffix in _READERS else "", path.name)
    else:
        yield from _of_file(path, column, path.stem)


def _column_of(name: str) -> tuple[Path, str]:
    """The path, and the column behind its last colon where the path alone is no file."""
    path = Path(name)
    before, colon, column = name.rpartition(":")
    if colon and not path.exists() and Path(before).exists():
        return Path(before), column
    return path, ""


def _of_file(path: Path, column: str, source: str) -> Iterator[Document]:
    if reader := _READERS.get(path.suffix):
        yield from _of_rows(reader(path, column), column, source)
        return
    if column:
        raise CorpusError(f"{path} has no columns, so {column!r} cannot be read from it")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read as text: {error}") from error
    yield Document(document_id(text), source, text)


def _json_lines(path: Path, column: str) -> Rows:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                place = f"{path}, line {number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise CorpusError(f"{place} is no JSON: {error}") from error
                if not isinstance(row, dict):
                    raise CorpusError(f"{place} is no JSON object")
                yield place, row
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error}") from error


def _parquet(path: Path, column: str) -> Rows:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path} is no Parquet file: {error}") from error
    with file:
        wanted = [name for name in ([column] if column else _COLUMNS) if name in file.schema_arrow.names]
        columns = wanted or None  # None of them: the error lists what there is.
        yield from _batches(path, file.iter_batches(_BATCH, columns=columns))


def _arrow(path: Path, column: str) -> Rows:
    """What the `datasets` library saves to disk: Arrow's stream format."""
    import pyarrow

    try:
        with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
            yield from _batches(path, stream)
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path} is no Arrow stream: {error}") from error


def _batches(path: Path, batches: Iterable[Any]) -> Rows:
    import pyarrow

    row = 0
    try:
        for batch in batches:
            for values in batch.to_pylist():
                row += 1
                yield f"{path}, row {row}", values
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(f"{path} is broken after row {row}: {error}") from error


_READERS: dict[str, Callable[[Path, str], Rows]] = {
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".arrow": _arrow,
}


def _hub(name: str) -> tuple[Rows, str, str]:
    """The rows of a data set, streamed; its column and source."""
    repository, config, split, column, *rest = [*name.removeprefix(HUB).split(":"), "", "", ""]
    if not repository or any(rest):
        raise CorpusError(f"{name}: expected hf:owner/name[:config][:split][:column]")
    try:
        from datasets import load_dataset
    except ImportError:
        raise CorpusError(
            f"{name} needs the library `datasets`: install hearth[datasets], or download the data set's Parquet "
            "files and name their folder"
        ) from None

    def rows() -> Rows:
        try:
            loaded = load_dataset(repository, config or None, split=split or "train", streaming=True)
            for number, row in enumerate(loaded, 1):
                yield f"{name}, row {number}", row
        except CorpusError:
            raise
        except Exception as error:  # The library passes on what its many file formats and transports raise.
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise CorpusError(f"{name} cannot be had: {said[0]}") from error

    return rows(), column, repository.rstrip("/").rpartition("/")[2]


def _of_rows(rows: Rows, column: str, source: str) -> Iterator[Document]:
    for place, row in rows:
        names = [column] if column else [name for name in _COLUMNS if name in row]
        if not names or (column and column not in row):
            missing = repr(column) if column else "neither `text` nor `messages`"
            raise CorpusError(
                f"{place} has {'no column ' if column else ''}{missing}; it has {', '.join(map(repr, row))} "
                "(name one behind a colon)"
            )
        found = next(((name, row[name]) for name in names if row[name] is not None), None)
        if found is not None:
            # Documents of `hearth sae write` stay known as such.
            own = row.get("source") == SELF_WRITTEN
            yield _document(found[1], SELF_WRITTEN if own else source, f"{place}, column {found[0]!r}")


def _document(value: Any, source: str, place: str) -> Document:
    if isinstance(value, str):
        return Document(document_id(value), source, value)
    try:
        messages = tuple(_message(message) for message in value)
    except (KeyError, TypeError) as error:
        raise CorpusError(
            f"{place}: expected text or a list of messages with role and content, found {_shown(value)}"
        ) from error
    whole = "\n".join(message.content for message in messages)
    return Document(document_id(whole), source, messages=messages)


def _message(message: dict[str, Any]) -> Message:
    if "from" in message:
        speaker = message["from"]
        role, content = _ROLES.get(speaker, speaker), message["value"]
    else:
        role, content = message["role"], message["content"]
    if not isinstance(role, str) or not isinstance(content, str):
        raise TypeError
    return Message(role, content)


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
