"""Receipts: read from files, asked for again, and compared with what comes now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.cli.replaying import Difference
from services.errors import InvalidField

M = TypeVar("M", bound=Message)

_MARKS = ("weightsDigest", "weights_digest"), ("engineVersion", "engine_version")
"""An object that has one of each is a receipt."""
_FACTS = (
    ("model", "model"),
    ("weights", "weights_digest"),
    ("configuration", "config_digest"),
    ("tokenizer", "tokenizer_digest"),
    ("template", "template_digest"),
    ("version", "engine_version"),
    ("dtype", "dtype"),
    ("device", "platform"),
)
_SHOWN_EDITS = 3
_BEFORE, _BEHIND = 24, 40
"""Characters shown around the place where texts part."""


def receipts_in(text: str, name: str) -> list[pb.Receipt]:
    """All receipts in a JSON text, however deep: one, a list, or an object a line. Raises InvalidField with `name`."""
    found = [_message(each, pb.Receipt(), name) for value in _values(text, name) for each in _marked(value)]
    if not found:
        raise InvalidField(name, "holds no receipt (an object with weightsDigest and engineVersion)")
    return found


def prompts_in(text: str, name: str) -> list[prompt_pb2.Prompt]:
    """All prompts in a JSON text: one hearth.v1.Prompt or plain text, a list, or one a line. Raises InvalidField."""
    found = []
    for value in _values(text, name):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, str):
                found.append(prompt_pb2.Prompt(text=each))
            else:
                found.append(_message(each, prompt_pb2.Prompt(), name))
    return found


def token_digest(ids: Iterable[int]) -> str:
    """SHA-256 over token ids, as hearth.v1.Receipt has it."""
    return hashlib.sha256(b"".join(number.to_bytes(4, "little") for number in ids)).hexdigest()


def request_of(receipt: pb.Receipt, model: str, prompt: prompt_pb2.Prompt) -> pb.GenerateRequest:
    """Asks for the same again."""
    return pb.GenerateRequest(
        model=model, prompt=prompt, steering=receipt.steering, sampling=receipt.sampling, receipt=True
    )


def differences(then: pb.Receipt, now: pb.Receipt) -> tuple[Difference, ...]:
    """What is not as it was, what it was made with first and the text last."""
    return (*_made_with(then, now), *_edits(then, now), *_asked(then, now), *_text(then, now))


def _made_with(then: pb.Receipt, now: pb.Receipt) -> Iterator[Difference]:
    for what, field in _FACTS:
        if getattr(then, field) != getattr(now, field):
            yield Difference(what, getattr(then, field), getattr(now, field))
    for what, field in (("SAE", "sae_digests"), ("units", "sae_unit_digests")):
        before, after = getattr(then, field), getattr(now, field)
        for sae in sorted({*before, *after}):
            if before.get(sae, "") != after.get(sae, ""):
                yield Difference(what, before.get(sae, ""), after.get(sae, ""), f"of {sae}")


def _edits(then: pb.Receipt, now: pb.Receipt) -> Iterator[Difference]:
    """Edits that mean other numbers than they did, though they are asked for in the same."""
    if len(then.edits) != len(now.edits):
        yield Difference("steering", f"{len(then.edits)} edits", f"{len(now.edits)} edits")
        return
    both = zip(then.edits, now.edits, strict=True)
    pairs = [(a, b) for a, b in both if (a.edit, a.values.raw) != (b.edit, b.values.raw)]
    for before, after in pairs[:_SHOWN_EDITS]:
        kind = before.edit.WhichOneof("operation") or "edit"
        where = f"{kind} of feature {before.edit.feature.index}"
        yield Difference("steering", _units(before), _units(after), where)
    if len(pairs) > _SHOWN_EDITS:
        yield Difference("steering", "", "", f"{len(pairs) - _SHOWN_EDITS} more edits")


def _units(edit: pb.EditInUnits) -> str:
    values = edit.values
    return f"raw {values.raw:g}, strength {values.strength:g}, activation {values.activation_units:g}"


def _asked(then: pb.Receipt, now: pb.Receipt) -> Iterator[Difference]:
    for what in ("steering", "sampling"):
        if getattr(then, what) != getattr(now, what):
            yield Difference(what, _json(getattr(then, what)), _json(getattr(now, what)), "as asked")
    if then.prompt_digest and then.prompt_digest != now.prompt_digest:
        yield Difference("prompt", then.prompt_digest, now.prompt_digest)


def _text(then: pb.Receipt, now: pb.Receipt) -> Iterator[Difference]:
    same = then.text_digest == now.text_digest
    if not then.HasField("completion"):
        if not same:
            yield Difference(
                "text", then.text_digest, now.text_digest, "of which the receipt has the digest alone"
            )
        return
    before, after = list(then.completion.ids), list(now.completion.ids)
    if same and before == after:
        return
    token = _shared(before, after)
    place = _shared(then.text, now.text)
    shown = slice(max(0, place - _BEFORE), place + _BEHIND)
    yield Difference(
        "text", then.text[shown], now.text[shown], f"from token {token + 1}, character {place + 1} on"
    )


def _shared(then: Sequence[object], now: Sequence[object]) -> int:
    """How long the beginning is that both have."""
    return next(
        (n for n, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now))
    )


def _values(text: str, name: str) -> Iterator[Any]:
    """What a text holds: one JSON value, or one a line."""
    try:
        yield json.loads(text)
        return
    except ValueError as error:
        problem = error
    lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            shown = problem if number == 1 else error
            raise InvalidField(name, f"is no JSON, nor has it one value a line: {shown}") from None


def _marked(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _marked(each)
    elif isinstance(value, dict):
        if all(any(spelled in value for spelled in mark) for mark in _MARKS):
            yield value
        else:
            yield from _marked(list(value.values()))


def _message(value: Any, message: M, name: str) -> M:
    try:
        return json_format.ParseDict(value, message)
    except (json_format.ParseError, AttributeError) as error:
        kind = message.DESCRIPTOR.full_name
        raise InvalidField(name, f"is no {kind}: {str(error)[:300]}") from None


def _json(message: Message) -> str:
    return json_format.MessageToJson(message, indent=None)


def model_for(receipt: pb.Receipt, served: Sequence[pb.Model]) -> str:
    """The served model that a receipt is tried on: that of its id, that of its weights, or the only one."""
    for fits in (
        [each.id for each in served if each.id == receipt.model],
        [each.id for each in served if each.weights_digest == receipt.weights_digest],
        [each.id for each in served] if len(served) == 1 else [],
    ):
        if fits:
            return fits[0]
    return receipt.model
