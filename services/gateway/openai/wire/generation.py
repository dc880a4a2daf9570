"""One Generate call as plain pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.gateway.callers import Caller
from services.gateway.gateway import Gateway
from services.gateway.openai.params import in_words_of
from services.gateway.openai.pieces import Candidate, Delta, Drawn, Ended, Event, Piece, Started
from services.rpc.channel import rpc_failures

_REASONS: dict[int, str] = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    # An Abort is a guard that the caller has set: who reads `stop` would take the answer for whole.
    pb.FINISH_REASON_ABORTED: "content_filter",
}


async def generated(
    request: pb.GenerateRequest, gateway: Gateway, caller: Caller, names: Mapping[str, str]
) -> AsyncGenerator[Piece]:
    """What comes of a request; leaving it early cancels the call. Raises RpcFailure.

    `names` are those that the caller has for the request's fields.
    """
    call = gateway.services.inference.Generate(request, metadata=caller.metadata)
    try:
        with in_words_of(names), rpc_failures():
            async for response in call:
                piece = piece_of(response)
                if piece is not None:
                    yield piece
    finally:
        call.cancel()  # nothing happens to one that is over


def piece_of(response: pb.GenerateResponse) -> Piece | None:
    """A message as a piece; None for scopes that tell nothing."""
    match response.WhichOneof("event"):
        case "delta":
            delta = response.delta
            return Delta(delta.text, len(delta.token_ids), tuple(map(_drawn, delta.logprobs)))
        case "scope_triggered":
            event = response.scope_triggered.event
            return Event(event) if event else None
        case "started":
            return Started(response.started.prompt_tokens)
        case "finished":
            return _ended(response.finished)
        case _:
            return None


def _drawn(message: pb.TokenLogprob) -> Drawn:
    return Drawn(_candidate(message.token, message.logprob), tuple(_candidates(message.top)))


def _candidates(messages: Iterable[pb.TopLogprob]) -> Iterable[Candidate]:
    return (_candidate(each.token, each.logprob) for each in messages)


def _candidate(token: prompt_pb2.Token, logprob: float) -> Candidate:
    return Candidate(token.piece, logprob)


def _ended(finished: pb.GenerationFinished) -> Ended:
    extra: dict[str, Any] = {}
    if finished.abort_message:
        extra["abort_message"] = finished.abort_message
    if finished.HasField("report"):
        extra["report"] = _json(finished.report)
    if finished.HasField("receipt"):
        extra["receipt"] = _json(finished.receipt)
    usage = finished.usage
    reason = _REASONS.get(finished.reason, "stop")
    return Ended(reason, usage.completion_tokens, usage.cached_prompt_tokens, extra)


def _json(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message)
