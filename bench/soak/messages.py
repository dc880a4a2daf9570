"""The requests of the researchers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict, ParseDict

from hearth.v1 import autosteer_service_pb2 as autosteer_pb
from hearth.v1 import feature_service_pb2 as feature_pb
from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from hearth.v1 import variant_service_pb2 as variant_pb


@dataclass(frozen=True, slots=True)
class Chat:
    """A question, all that its answer depends on."""

    question: str
    seed: int
    tokens: int
    steering: steering_pb2.Steering
    temperature: float = 0.8
    top_p: float = 1.0

    def message(self, model: str) -> pb.GenerateRequest:
        """For gRPC."""
        return pb.GenerateRequest(
            model=model,
            prompt=_asks(self.question),
            steering=self.steering,
            sampling=pb.Sampling(
                max_tokens=self.tokens, seed=self.seed, temperature=self.temperature, top_p=self.top_p
            ),
        )

    def body(self, model: str, variant: str = "") -> dict[str, Any]:
        """For OpenAI's contract; `variant` has the steering where it is named."""
        steering = {} if variant else {"steering": MessageToDict(self.steering)}
        return {
            "model": f"variant:{variant}" if variant else model,
            "messages": [{"role": "user", "content": self.question}],
            "max_tokens": self.tokens,
            "seed": self.seed,
            "temperature": self.temperature,
            "top_p": self.top_p,
            **steering,
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "seed": self.seed,
            "tokens": self.tokens,
            "steering": MessageToDict(self.steering),
            "temperature": self.temperature,
            "top_p": self.top_p,
        }

    @classmethod
    def of(cls, data: dict[str, Any]) -> Chat:
        """From what `as_json` gave."""
        return cls(**{**data, "steering": ParseDict(data["steering"], steering_pb2.Steering())})


def nudge(index: int, strength: float) -> steering_pb2.Steering:
    """One nudge of the model's first SAE."""
    edit = steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=index), nudge=strength)
    return steering_pb2.Steering(edits=[edit])


def search(query: str) -> feature_pb.SearchFeaturesRequest:
    return feature_pb.SearchFeaturesRequest(query=query, top_k=10)


def lookup(indices: Sequence[int]) -> feature_pb.BatchGetFeaturesRequest:
    return feature_pb.BatchGetFeaturesRequest(
        keys=[steering_pb2.FeatureKey(index=index) for index in indices]
    )


def inspect(model: str, text: str) -> pb.InspectRequest:
    return pb.InspectRequest(model=model, prompt=prompt_pb2.Prompt(text=text), top_k=8)


def contrast(model: str, first: Sequence[str], second: Sequence[str]) -> pb.ContrastRequest:
    return pb.ContrastRequest(model=model, positive=_texts(first), negative=_texts(second), top_k=10)


def batch_inspect(model: str, texts: Sequence[str]) -> pb.BatchInspectRequest:
    return pb.BatchInspectRequest(model=model, prompts=_texts(texts), pooling=pb.POOLING_MAX, top_k=32)


def variant(name: str, model: str, index: int, strength: float) -> variant_pb.Variant:
    return variant_pb.Variant(name=name, model=model, steering=nudge(index, strength))


def create(wanted: variant_pb.Variant, request_id: str) -> variant_pb.CreateVariantRequest:
    return variant_pb.CreateVariantRequest(variant=wanted, request_id=request_id)


def get_variant(identity: str) -> variant_pb.GetVariantRequest:
    return variant_pb.GetVariantRequest(id=identity)


def contest(index: int, label: str, request_id: str) -> feature_pb.UpdateFeatureRequest:
    feature = feature_pb.Feature(key=steering_pb2.FeatureKey(index=index), label=label)
    return feature_pb.UpdateFeatureRequest(
        feature=feature, update_mask=FieldMask(paths=["label"]), request_id=request_id
    )


def job(model: str, behavior: str, seconds: int, seed: int) -> autosteer_pb.AutoSteerSpec:
    spec = autosteer_pb.AutoSteerSpec(
        model=model, behavior=behavior, tier=autosteer_pb.AUTO_STEER_TIER_QUICK, seed=seed
    )
    spec.budget.seconds = seconds
    return spec


def create_job(spec: autosteer_pb.AutoSteerSpec, request_id: str) -> autosteer_pb.CreateAutoSteerJobRequest:
    return autosteer_pb.CreateAutoSteerJobRequest(spec=spec, request_id=request_id)


def _asks(question: str) -> prompt_pb2.Prompt:
    message = prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=question)
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=[message]))


def _texts(texts: Sequence[str]) -> list[prompt_pb2.Prompt]:
    return [prompt_pb2.Prompt(text=text) for text in texts]
