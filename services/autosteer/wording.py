"""A behaviour in the words of a search, of a system prompt and of a sentence about it."""

from __future__ import annotations

import hashlib
import re

from services.autosteer.spec import Message, Prompt, Spec

_LEADING = re.compile(
    r"^(?:please\s+|always\s+|(?:make|have|let)\s+(?:it|the\s+model|them)\s+)*"
    r"(?:talk|speak|write|sound|act|answer|reply|respond|behave|be|become|use|mention|include|add|say|bring\s+up|"
    r"talks|speaks|writes|sounds|acts|answers|uses|mentions)\b"
    r"(?:\s+(?:like|about|as\s+if|as\s+though|as|in|of|on|more|with))*(?:\s+(?:a|an|the))?\s+",
    re.IGNORECASE,
)
_SHOWN = 3
"""Positive texts that stand in an instruction where there are no words."""
_SHOWN_CHARACTERS = 300


def topic_of(behavior: str) -> str:
    """What a behaviour is about: `talk like a pirate` is about `pirate`."""
    words = behavior.strip().rstrip(".!")
    topic = _LEADING.sub("", words)
    return topic or words


def said_in(prompt: Prompt) -> str:
    """What a text that shows something says: the assistant's words, or all."""
    answers = [message.content for message in prompt.messages if message.role == "assistant"]
    if answers:
        return "\n".join(answers)
    return prompt.text or "\n".join(message.content for message in prompt.messages)


def behavior_of(spec: Spec) -> str:
    """The behaviour in words; made of the first positive texts where there are none."""
    if spec.behavior.strip():
        return spec.behavior.strip()
    return " ".join(said_in(prompt)[:_SHOWN_CHARACTERS] for prompt in spec.positive[:_SHOWN]).strip()


def instruction_of(spec: Spec) -> str:
    """The behaviour as a system prompt."""
    if spec.behavior.strip():
        words = spec.behavior.strip().rstrip(".")
        return f"In everything that you write, do this: {words}."
    shown = "\n".join(f"- {said_in(prompt)[:_SHOWN_CHARACTERS]}" for prompt in spec.positive[:_SHOWN])
    return f"Write in the manner of these examples:\n{shown}"


def told(prompt: Prompt, instruction: str) -> Prompt:
    """The same prompt to a model that is told what to do, in its system message or before its text."""
    if not prompt.messages:
        return Prompt(text=f"{instruction}\n\n{prompt.text}")
    first = prompt.messages[0]
    if first.role == "system":
        return Prompt((Message("system", f"{first.content}\n{instruction}"), *prompt.messages[1:]))
    return Prompt((Message("system", instruction), *prompt.messages))


def number_of(*parts: object) -> int:
    """A number of 62 bits that depends on these parts alone: a seed, or a place in an order."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 2
