"""What of OpenAI's contract cannot be honoured: refused by name, unless its value asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.errors import InvalidField
from services.gateway.openai.bodies import ChatBody, CompletionBody, GenerationBody, MessageBody


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that only values which ask for nothing may have."""

    harmless: tuple[Any, ...]
    problem: str


_NO_TOOLS = "tools are not supported"
REFUSED: Mapping[str, Refused] = {
    "tools": Refused(([],), f"{_NO_TOOLS}; allowed: an empty list"),
    "tool_choice": Refused(("none", "auto"), f'{_NO_TOOLS}; allowed: "none" or "auto"'),
    "functions": Refused(([],), f"{_NO_TOOLS}; allowed: an empty list"),
    "function_call": Refused(("none", "auto"), f'{_NO_TOOLS}; allowed: "none" or "auto"'),
    "response_format": Refused(
        ({"type": "text"},), 'answers cannot be forced into a form; allowed: {"type": "text"}'
    ),
    "modalities": Refused((["text"],), 'only text is written; allowed: ["text"]'),
    "audio": Refused((), "only text is written; allowed: null"),
    "prediction": Refused((), "predicted outputs are not supported; allowed: null"),
    "web_search_options": Refused((), "there is no web search; allowed: null"),
    "moderation": Refused(
        (), "there is no moderation; a scope of `steering` may end an answer; allowed: null"
    ),
    "reasoning_effort": Refused(("none",), 'the models do not reason apart; allowed: "none"'),
    "verbosity": Refused(("medium",), 'cannot be set; allowed: "medium"'),
    "logit_bias": Refused(({},), "logits are not biased; `steering` changes what is said; allowed: {}"),
    "presence_penalty": Refused((0,), "penalties are not supported; allowed: 0"),
    "frequency_penalty": Refused((0,), "penalties are not supported; allowed: 0"),
    "echo": Refused((False,), "the prompt is not returned, nor its log probabilities; allowed: false"),
    "suffix": Refused(("",), "text cannot be inserted before other text; allowed: null"),
}
"""By field; null is always allowed."""
IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""What changes no answer: OpenAI's own bookkeeping."""
_MESSAGE_REFUSED: Mapping[str, Refused] = {
    "tool_calls": Refused(([],), f"{_NO_TOOLS}; allowed: an empty list"),
    "function_call": Refused((), f"{_NO_TOOLS}; allowed: null"),
    "audio": Refused((), "only text is read; allowed: null"),
}
_MESSAGE_IGNORED = frozenset({"name", "refusal", "annotations"})
_PART_IGNORED = frozenset({"prompt_cache_breakpoint"})
_STREAM_IGNORED = frozenset({"include_obfuscation"})


def check_chat(body: ChatBody) -> None:
    """Raises InvalidField where a chat asks for what there is not."""
    _check_generation(body)
    if body.top_logprobs and not body.logprobs:
        raise InvalidField("top_logprobs", "needs `logprobs`; allowed: 0, or together with it")
    for number, message in enumerate(body.messages):
        _check_message(message, f"messages[{number}]")


def check_completion(body: CompletionBody, most_samples: int) -> None:
    """Raises InvalidField where a completion asks for what there is not."""
    best_of = (body.model_extra or {}).get("best_of")
    if best_of is not None and best_of != body.samples:
        raise InvalidField("best_of", f"all answers are returned; allowed: `n`, which is {body.samples}")
    _check_generation(body, frozenset({"best_of"}))
    if not body.prompts:
        raise InvalidField("prompt", "is empty; allowed: at least one text")
    if len(body.prompts) * body.samples > most_samples:
        raise InvalidField(
            "n", f"{len(body.prompts)} prompts, {body.samples} answers each; allowed: {most_samples} in all"
        )


def _check_generation(body: GenerationBody, known: frozenset[str] = frozenset()) -> None:
    _check_extra(body.model_extra, "", REFUSED, IGNORED | known)
    if body.stream_options is not None:
        if not body.stream:
            raise InvalidField("stream_options", "needs `stream`; allowed: null, or together with it")
        _check_extra(body.stream_options.model_extra, "stream_options.", {}, _STREAM_IGNORED)


def _check_message(message: MessageBody, where: str) -> None:
    _check_extra(message.model_extra, f"{where}.", _MESSAGE_REFUSED, _MESSAGE_IGNORED)
    if message.content is None and message.role != "assistant":
        raise InvalidField(f"{where}.content", "is not set; allowed: a text, or a list of parts")
    for number, part in enumerate(message.content if isinstance(message.content, list) else ()):
        place = f"{where}.content[{number}]"
        if part.type != "text":
            raise InvalidField(f"{place}.type", f"is {part.type[:50]!r}; allowed: text")
        if part.text is None:
            raise InvalidField(f"{place}.text", "is not set; allowed: a text")
        _check_extra(part.model_extra, f"{place}.", {}, _PART_IGNORED)


def _check_extra(
    extra: Mapping[str, Any] | None, where: str, refused: Mapping[str, Refused], ignored: frozenset[str]
) -> None:
    for name, value in (extra or {}).items():
        if name in ignored or (value is None and name in refused):
            continue
        if name not in refused:
            shown = name[:100].encode("ascii", "backslashreplace").decode()
            raise InvalidField(f"{where}{shown}", "there is no such field; docs/openai.md lists them")
        if not any(value == each for each in refused[name].harmless):
            raise InvalidField(f"{where}{name}", refused[name].problem)
