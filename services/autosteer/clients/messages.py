"""Plain values as messages of hearth.v1, and answers as plain values."""

from __future__ import annotations

from hearth.v1 import feature_service_pb2 as features_pb
from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from services.autosteer.spec import Prompt
from services.autosteer.upstream import Ask, Contrasted, Entry
from services.steering.edits import Steering
from services.steering.wire import steering_to_proto

_ROLES = {
    "system": prompt_pb2.ROLE_SYSTEM,
    "user": prompt_pb2.ROLE_USER,
    "assistant": prompt_pb2.ROLE_ASSISTANT,
}
_KINDS = {
    features_pb.FEATURE_CLASS_CONCEPT: "concept",
    features_pb.FEATURE_CLASS_LEXICAL: "lexical",
    features_pb.FEATURE_CLASS_SYNTACTIC: "syntactic",
    features_pb.FEATURE_CLASS_POSITION: "position",
    features_pb.FEATURE_CLASS_TEMPLATE: "template",
    features_pb.FEATURE_CLASS_DEAD: "dead",
}


def prompt_message(prompt: Prompt) -> prompt_pb2.Prompt:
    """A prompt."""
    if not prompt.messages:
        return prompt_pb2.Prompt(text=prompt.text)
    messages = [prompt_pb2.ChatMessage(role=_ROLES[m.role], content=m.content) for m in prompt.messages]
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))


def steering_message(steering: Steering) -> steering_pb2.Steering | None:
    """A steering; None where it does nothing."""
    return None if steering.empty else steering_to_proto(steering)


def generate_request(model: str, ask: Ask) -> pb.GenerateRequest:
    """The request for a text."""
    return pb.GenerateRequest(
        model=model,
        prompt=prompt_message(ask.prompt),
        steering=steering_message(ask.steering),
        sampling=pb.Sampling(temperature=ask.temperature, max_tokens=ask.max_tokens, seed=ask.seed),
    )


def contrasted(message: pb.FeatureContrast) -> Contrasted:
    """How a feature tells texts apart."""
    return Contrasted(message.index, message.auroc, message.effect_size, message.q_value)


def entry(message: features_pb.Feature, similarity: float | None = None) -> Entry:
    """A feature of the catalogue."""
    return Entry(
        index=message.key.index,
        label=message.label,
        density=message.density,
        scale=message.scale,
        kind=_KINDS.get(message.feature_class, ""),
        promoted=tuple(each.token for each in message.promoted),
        output_score=message.output_score if message.HasField("output_score") else None,
        steerability=message.steerability if message.HasField("steerability") else None,
        similarity=similarity,
    )


def hit(message: features_pb.FeatureHit) -> Entry:
    """A feature that was found."""
    known = message.HasField("label_similarity")
    return entry(message.feature, message.label_similarity if known else None)
