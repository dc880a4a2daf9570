"""Messages of inference: requests from bodies, and answers as Ember writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from services.errors import InvalidField
from services.gateway.ember.bodies import (
    AttributionBody,
    ContrastBody,
    ControllerBody,
    InspectBody,
    LogitsBody,
    MessageBody,
)
from services.gateway.ember.cards import Card, in_units, named
from services.gateway.ember.wire.controller import steering
from services.gateway.models import ServedModel

_ROLES = {
    "system": prompt_pb2.ROLE_SYSTEM,
    "user": prompt_pb2.ROLE_USER,
    "assistant": prompt_pb2.ROLE_ASSISTANT,
}
MOST_LOGITS = 1000


def chat(messages: Sequence[MessageBody]) -> prompt_pb2.Prompt:
    """A chat as a prompt."""
    said = (prompt_pb2.ChatMessage(role=_ROLES[each.role], content=each.content) for each in messages)
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=said))


def tokenize(messages: Sequence[MessageBody], model: ServedModel, *, open_turn: bool) -> pb.TokenizeRequest:
    """Asks for a chat's tokens."""
    return pb.TokenizeRequest(model=model.id, prompt=chat(messages), add_generation_prompt=open_turn)


def tokens(answer: pb.TokenizeResponse) -> list[dict[str, Any]]:
    """A chat's tokens."""
    return [{"id": token.id, "value": _text(token)} for token in answer.tokens]


def inspect(body: InspectBody, model: ServedModel) -> pb.InspectRequest:
    """Asks for activations, steered."""
    return pb.InspectRequest(
        model=model.id,
        sae=model.default_sae,
        prompt=chat(body.messages),
        steering=_silent(body.controller, model),
        feature_indices=body.include_feature_indexes,
    )


def firing(runs: Sequence[pb.InspectResponse]) -> list[int]:
    """The features that fire anywhere."""
    return sorted({index for run in runs for index in run.activations.indices})


def prompt_tokens(runs: Sequence[pb.InspectResponse]) -> int:
    """How long the prompt was."""
    return sum(len(run.tokens) for run in runs)


def inspected(runs: Sequence[pb.InspectResponse], cards: Mapping[int, Card]) -> list[dict[str, Any]]:
    """Each token with the features that fire there, the largest first."""
    return [
        {"token": _text(token), "attributions": _attributions(run.activations, number, cards)}
        for run in runs
        for number, token in enumerate(run.tokens)
    ]


def continued(answer: pb.TokenizeResponse) -> prompt_pb2.Prompt:
    """A chat up to the end of what was said last, so that it goes on from there."""
    end = answer.spans[-1].content_end
    return prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=(token.id for token in answer.tokens[:end])))


def word(text: str, model: ServedModel) -> pb.TokenizeRequest:
    """Asks for the token of a word."""
    return pb.TokenizeRequest(model=model.id, prompt=prompt_pb2.Prompt(text=text))


def token_of(text: str, answer: pb.TokenizeResponse, field: str) -> int:
    """The id of the token that a word is. Raises InvalidField for a word of several tokens."""
    pieces = [(token.id, _text(token)) for token in answer.tokens]
    # A tokenizer may put its own tokens, or a space, before any text.
    for wanted, found in (
        (text, [piece for _, piece in pieces]),
        (text.strip(), [piece.strip() for _, piece in pieces]),
    ):
        if wanted in found[-1:]:
            return pieces[-1][0]
    raise InvalidField(field, f"{text[:100]!r} is {len(pieces)} tokens; allowed: single tokens of the model")


def logits(
    body: LogitsBody, model: ServedModel, prompt: prompt_pb2.Prompt, named_tokens: Sequence[int]
) -> pb.ComputeLogitsRequest:
    """Asks for the largest logits, or for those of some tokens."""
    return pb.ComputeLogitsRequest(
        model=model.id,
        prompt=prompt,
        steering=_silent(body.controller, model),
        top_k=0 if named_tokens else body.top_k or MOST_LOGITS,
        token_ids=named_tokens,
    )


def top_logits(answer: pb.ComputeLogitsResponse) -> dict[str, float]:
    """By token; of two that read alike, the larger."""
    found: dict[str, float] = {}
    for each in answer.top:
        found.setdefault(_text(each.token), each.logit)
    return found


def named_logits(
    answer: pb.ComputeLogitsResponse, words: Sequence[str], top_k: int | None
) -> dict[str, float]:
    """By the words that were asked for, largest first."""
    found = {text: each.logit for text, each in zip(words, answer.named, strict=True)}
    return dict(sorted(found.items(), key=lambda pair: -pair[1])[:top_k])


def contrast(body: ContrastBody, model: ServedModel) -> pb.ContrastRequest:
    """Asks what tells the second set from the first: by what the assistant says where it speaks in all, else by all."""
    chats = [*body.dataset_1, *body.dataset_2]
    answered = all(any(message.role == "assistant" for message in messages) for messages in chats)
    return pb.ContrastRequest(
        model=model.id,
        sae=model.default_sae,
        positive=map(chat, body.dataset_2),
        negative=map(chat, body.dataset_1),
        pooling=pb.POOLING_MEAN,
        role=prompt_pb2.ROLE_ASSISTANT if answered else prompt_pb2.ROLE_UNSPECIFIED,
        top_k=max(body.k_to_add, body.k_to_remove),
    )


def sides(body: ContrastBody, answer: pb.ContrastResponse) -> tuple[list[int], list[int]]:
    """Indices of the features of the first and of the second set."""
    return (
        [each.index for each in answer.negative[: body.k_to_remove]],
        [each.index for each in answer.positive[: body.k_to_add]],
    )


def contrasted(sides: tuple[list[int], list[int]], cards: Mapping[int, Card]) -> dict[str, Any]:
    """The features of both sets."""
    first, second = ([cards[index] for index in side] for side in sides)
    return {"dataset_1_features": named(first), "dataset_2_features": named(second)}


def attribute(
    tokenized: pb.TokenizeResponse, body: AttributionBody, model: ServedModel
) -> pb.AttributeRequest:
    """Asks why a token was written; one past the end is the one that the model would write.

    Raises InvalidField where there is no such token, or none before it.
    """
    ids, index = [token.id for token in tokenized.tokens], body.start_index
    if body.end_index != index:
        raise InvalidField(
            "endIndex", f"is {body.end_index}; allowed: startIndex, {index}: one token at a time"
        )
    place = index + len(ids) if index < 0 else index
    if not 1 <= place <= len(ids):
        raise InvalidField(
            "startIndex",
            f"is {index}, but the chat has {len(ids)} tokens; allowed: 1 to {len(ids)}, or from the end",
        )
    request = pb.AttributeRequest(
        model=model.id,
        sae=model.default_sae,
        prompt=prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=ids[:place])),
    )
    if place < len(ids):
        request.target_token = ids[place]
    return request


def attributed_features(answer: pb.AttributeResponse) -> list[int]:
    """The features that an attribution names."""
    return [each.index for each in answer.features]


def attributed(answer: pb.AttributeResponse, cards: Mapping[int, Card], size: int) -> dict[str, Any]:
    """Each feature with its effect on the logit, and where it fires."""
    effects = [
        {
            **cards[each.index].named(),
            "value": each.effect,
            "tokens": [
                {"index": at.position, "activation_strength": in_units(at.activation, cards[each.index])}
                for at in each.positions
            ],
        }
        for each in answer.features
    ]
    return {"to_ablate": effects, "num_input_tokens": size}


def _silent(controller: ControllerBody | None, model: ServedModel) -> steering_pb2.Steering | None:
    return None if controller is None else steering(controller, model, events=False)


def _text(token: prompt_pb2.Token) -> str:
    return token.piece.decode("utf-8", "replace")


def _attributions(sparse: pb.SparseRows, row: int, cards: Mapping[int, Card]) -> list[dict[str, Any]]:
    start, end = sparse.starts[row : row + 2]
    fired = zip(sparse.indices[start:end], sparse.values[start:end], strict=True)
    # In units of each feature's scale they stand in another order than raw.
    return sorted(
        (
            {
                "id": cards[index].id,
                "index_in_sae": index,
                "activation_strength": in_units(value, cards[index]),
            }
            for index, value in fired
        ),
        key=lambda each: -each["activation_strength"],
    )
