"""Tokens and text: prompts into ids, where each message lies, and each token's bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as BackendTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from services.errors import InvalidField


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; role is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class MessageSpan:
    """Where a message lies in the tokens: the whole with the template's tokens, and its content. Ends exclusive."""

    message: int
    start: int
    end: int
    content_start: int
    content_end: int


@dataclass(frozen=True, slots=True)
class TokenizedChat:
    """A rendered chat."""

    ids: list[int]
    spans: list[MessageSpan]


class Tokenizer:
    """A model's tokenizer with its chat template."""

    def __init__(self, path: str | Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, BackendTokenizer):
            raise ValueError(f"{path}: only fast tokenizers (tokenizer.json) are supported")
        self.plain, self._backend = tokenizer, backend
        self._special = set(tokenizer.all_special_ids)
        self._byte_level = '"ByteLevel"' in _decoder_json(backend)
        self._pieces: dict[int, bytes] = {}
        self.size = backend.get_vocab_size(with_added_tokens=True)
        self.longest_piece = max(len(name.encode()) for name in backend.get_vocab(with_added_tokens=True))
        """No token stands for more bytes."""

    @property
    def has_chat_template(self) -> bool:
        """Whether chats can be rendered."""
        return self.plain.chat_template is not None

    @property
    def digest(self) -> str:
        """SHA-256 over the tokenizer without its chat template."""
        return hashlib.sha256(self._backend.to_str().encode()).hexdigest()

    @property
    def template_digest(self) -> str:
        """SHA-256 over the chat template; empty where there is none."""
        template = self.plain.chat_template
        return "" if template is None else hashlib.sha256(str(template).encode()).hexdigest()

    def is_special(self, token: int) -> bool:
        """Whether a token stands for no text."""
        return token in self._special

    def text_bytes(self, token: int) -> bytes:
        """A token's bytes in an answer: special tokens stand for none."""
        return b"" if token in self._special else self.piece(token)

    def encode_text(self, text: str) -> list[int]:
        """Plain text with the tokenizer's own special tokens."""
        return list(self._backend.encode(text, add_special_tokens=True).ids)

    def encode_continuation(self, text: str) -> list[int]:
        """Text that goes on from something: without special tokens."""
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_chat(self, messages: Sequence[Message], open_turn: bool) -> TokenizedChat:
        """A chat through the template. Raises InvalidField where the template refuses it."""
        if not self.has_chat_template:
            raise InvalidField("prompt.chat", "this model has no chat template; allowed: text or token_ids")
        text = self._render(messages, open_turn)
        encoded = self._backend.encode(text, add_special_tokens=False)
        starts = [s for s, _ in encoded.offsets]
        ends = [e for _, e in encoded.offsets]
        spans = []
        for number, (start, end, content_start, content_end) in enumerate(self._places(messages, text)):
            first = _first_at_or_after(starts, start)
            inside = _first_past(ends, content_start)
            spans.append(
                MessageSpan(
                    number,
                    first,
                    _first_at_or_after(starts, end),
                    inside,
                    max(inside, _first_at_or_after(starts, content_end)),
                )
            )
        return TokenizedChat(list(encoded.ids), spans)

    def piece(self, token: int) -> bytes:
        """A token's bytes; they need not be valid UTF-8. Special tokens give their name."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._bytes_of(token)
        return piece

    def _bytes_of(self, token: int) -> bytes:
        name = self._backend.id_to_token(token)
        if name is None:
            return b""
        if token in self._special:
            return name.encode()
        if self._byte_level:
            try:
                return bytes(_BYTE_OF[c] for c in name)
            except KeyError:
                return name.encode()  # an added token, not in byte-level spelling
        if match := re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", name):
            return bytes([int(match[1], 16)])
        return name.replace("\u2581", " ").encode()

    def _render(self, messages: Sequence[Message], open_turn: bool) -> str:
        listed = [{"role": m.role, "content": m.content} for m in messages]
        try:
            text: Any = self.plain.apply_chat_template(
                listed, tokenize=False, add_generation_prompt=open_turn
            )
        except Exception as refusal:
            raise InvalidField(
                "prompt.chat.messages", f"the model's chat template refuses them: {refusal}"
            ) from None
        assert isinstance(text, str)
        return text

    def _places(self, messages: Sequence[Message], text: str) -> list[tuple[int, int, int, int]]:
        """Character places of each message: start, end, content start, content end."""
        places = []
        start = 0
        for number, message in enumerate(messages):
            last = number == len(messages) - 1
            end = start
            rendered = self._prefix(messages[: number + 1])
            if rendered is not None and text.startswith(rendered):
                end = len(rendered)
            elif last:
                end = len(text)
            if number == 0:
                start = self._skip_preamble(message, text[:end])
            content = message.content if message.content in text[start:end] else message.content.strip()
            inside = text.find(content, start, end)
            inside = start if inside < 0 else inside
            places.append((start, end, inside, min(inside + len(content), end)))
            start = end
        return places

    def _prefix(self, messages: Sequence[Message]) -> str | None:
        try:
            return self._render(messages, False)
        except InvalidField:
            return None

    def _skip_preamble(self, message: Message, block: str) -> int:
        """Where the first message starts: after what the template puts before any chat (a default system prompt)."""
        once, twice = self._prefix([message]), self._prefix([message, message])
        if once is None or twice is None or not twice.startswith(once):
            return 0
        alone = twice[len(once) :]
        return len(block) - len(alone) if block.endswith(alone) else 0


def _decoder_json(backend: BackendTokenizer) -> str:
    return json.dumps(json.loads(backend.to_str()).get("decoder"))


def _first_at_or_after(starts: list[int], place: int) -> int:
    return next((n for n, start in enumerate(starts) if start >= place), len(starts))


def _first_past(ends: list[int], place: int) -> int:
    return next((n for n, end in enumerate(ends) if end > place), len(ends))


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes as printable characters."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(b): b for b in printable}
    others = (b for b in range(256) if b not in printable)
    alphabet.update({chr(256 + n): b for n, b in enumerate(others)})
    return alphabet


_BYTE_OF = _byte_alphabet()
