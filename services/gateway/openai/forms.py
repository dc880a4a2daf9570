"""The two forms of an answer: a message of a chat, and a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.gateway.openai import logprobs
from services.gateway.openai.answers import Form, Progress
from services.gateway.openai.pieces import Drawn


class ChatForm(Form):
    """OpenAI's chat completions: the role comes once, before the first text."""

    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """See Form."""
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message, "logprobs": None if drawn is None else logprobs.of_chat(drawn)}

    def part(self, progress: Progress, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """See Form."""
        return {"delta": {"content": text}, "logprobs": None if drawn is None else logprobs.of_chat(drawn)}

    def opening(self) -> dict[str, Any] | None:
        """The role; OpenAI's SDK adds texts up, and so would the role."""
        return {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "gf_token_index": 0}


class EmberForm(ChatForm):
    """The same as Ember's SDK needs it: the role in every chunk, and no chunk before the first."""

    def part(self, progress: Progress, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """See Form."""
        fields = super().part(progress, text, drawn)
        fields["delta"]["role"] = "assistant"
        return fields

    def opening(self) -> dict[str, Any] | None:
        """None: it would take the first token's place."""
        return None


class TextForm(Form):
    """OpenAI's older completions."""

    whole_object = chunk_object = "text_completion"

    def whole(self, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """See Form."""
        return self.part(Progress(), text, drawn)

    def part(self, progress: Progress, text: str, drawn: Sequence[Drawn] | None) -> dict[str, Any]:
        """See Form."""
        return {
            "text": text,
            "logprobs": None if drawn is None else logprobs.of_text(drawn, progress.offsets),
        }
