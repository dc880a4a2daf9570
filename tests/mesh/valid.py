"""Valid requests of every method, with every field set in at least one of them."""

from __future__ import annotations

from google.protobuf.message import Message

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from tests.mesh.conftest import chat

KEY = steering_pb2.FeatureKey(index=1)


def condition() -> steering_pb2.Condition:
    """A condition with every kind of expression."""
    low = steering_pb2.Comparison(
        left=steering_pb2.FeatureSet(features=[KEY]),
        operator=steering_pb2.Comparison.OPERATOR_LESS,
        threshold=50.0,
    )
    sets = steering_pb2.Comparison(
        left=steering_pb2.FeatureSet(features=[KEY]),
        operator=steering_pb2.Comparison.OPERATOR_GREATER_OR_EQUAL,
        features=steering_pb2.FeatureSet(features=[steering_pb2.FeatureKey(index=2)]),
    )
    either = steering_pb2.ConditionGroup(
        conditions=[
            steering_pb2.Condition(comparison=sets),
            steering_pb2.Condition(negation=steering_pb2.Condition(comparison=low)),
            steering_pb2.Condition(comparison=low),
        ]
    )
    both = steering_pb2.ConditionGroup(
        conditions=[steering_pb2.Condition(any=either), steering_pb2.Condition(comparison=low)]
    )
    return steering_pb2.Condition(all=both)


def never() -> steering_pb2.Condition:
    """A condition that never holds."""
    return steering_pb2.Condition(
        comparison=steering_pb2.Comparison(
            left=steering_pb2.FeatureSet(features=[KEY]),
            operator=steering_pb2.Comparison.OPERATOR_GREATER,
            threshold=1000.0,
        )
    )


def steering(scopes: bool = True) -> steering_pb2.Steering:
    """A steering with every field set."""
    edits = [
        steering_pb2.Edit(feature=KEY, nudge=0.1),
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=2), pin=0.1),
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=3), scale=0.5),
    ]
    message = steering_pb2.Steering(
        edits=edits,
        unit=steering_pb2.UNIT_NATURAL,
        positions=steering_pb2.POSITIONS_ALL,
        max_delta=0.9,
        min_nudge_entropy=0.1,
        max_nudge_entropy=20.0,
        nonzero_strength_threshold=0.01,
    )
    message.scopes.append(
        steering_pb2.Scope(when=condition(), steering=steering_pb2.Steering(edits=edits[:1]), latched=True)
    )
    if scopes:
        message.scopes.append(steering_pb2.Scope(when=never(), abort=steering_pb2.Abort(message="no")))
        message.scopes.append(steering_pb2.Scope(when=never(), notify=steering_pb2.Notify(event="seen")))
    return message


def sampling() -> pb.Sampling:
    """A sampling with every field set."""
    return pb.Sampling(
        temperature=0.8,
        top_p=0.9,
        top_k=40,
        max_tokens=2,
        stop=["\n\n\n"],
        seed=1,
        top_logprobs=2,
        logprobs=True,
        ignore_end=True,
    )


def valid_requests() -> list[tuple[str, Message]]:
    """(method, request); each must succeed."""
    text = prompt_pb2.Prompt(text="The sea is deep and blue today.")
    ids = prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=[504, 3426, 314, 260, 504, 504]))
    spoken = chat("Tell me of the sea.", "Be brief.")
    spans = [pb.TokenSpan(start=1, end=4)]
    user = prompt_pb2.ROLE_USER
    return [
        ("ListModels", pb.ListModelsRequest(page_size=5)),
        ("Tokenize", pb.TokenizeRequest(prompt=spoken, add_generation_prompt=True)),
        ("Tokenize", pb.TokenizeRequest(prompt=text)),
        ("Tokenize", pb.TokenizeRequest(prompt=ids)),
        (
            "Generate",
            pb.GenerateRequest(
                prompt=spoken, steering=steering(), sampling=sampling(), report=True, receipt=True
            ),
        ),
        ("Generate", pb.GenerateRequest(prompt=text, sampling=sampling())),
        (
            "ComputeLogits",
            pb.ComputeLogitsRequest(
                prompt=spoken, steering=steering(False), position=3, top_k=5, token_ids=[1, 2]
            ),
        ),
        (
            "ScoreTexts",
            pb.ScoreTextsRequest(
                continuations=[pb.Continuation(prompt=spoken, text="It is deep.")],
                steering=steering(False),
                token_logprobs=True,
            ),
        ),
        (
            "Inspect",
            pb.InspectRequest(prompt=text, steering=steering(False), feature_indices=[1, 2, 3], top_k=2),
        ),
        (
            "BatchInspect",
            pb.BatchInspectRequest(
                prompts=[text], pooling=pb.POOLING_MEAN, spans=spans, feature_indices=[1, 2], top_k=2
            ),
        ),
        ("BatchInspect", pb.BatchInspectRequest(prompts=[spoken], pooling=pb.POOLING_LAST, role=user)),
        (
            "Attribute",
            pb.AttributeRequest(prompt=text, target_token=5, baseline_token=6, position=4, top_k=5),
        ),
        (
            "Contrast",
            pb.ContrastRequest(
                positive=[spoken], negative=[chat("Sums.")], role=user, pooling=pb.POOLING_MAX, top_k=3
            ),
        ),
    ]
