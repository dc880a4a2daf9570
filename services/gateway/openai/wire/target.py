"""Which model answers, and how it is steered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format

from hearth.v1 import steering_pb2, variant_service_pb2
from services.errors import InvalidField, NotFound
from services.gateway.callers import Caller
from services.gateway.ember.wire.controller import steering as of_controller
from services.gateway.gateway import Gateway
from services.gateway.models import ServedModel
from services.gateway.openai.bodies import GenerationBody
from services.gateway.rest.wire.values import check_message
from services.rpc.channel import RpcFailure, rpc_failures

VARIANT = "variant:"
"""What the name of a saved variant begins with."""


@dataclass(frozen=True, slots=True)
class Target:
    """A model, steered or not."""

    name: str
    """As answers call it: the model's id, or `variant:ID`."""
    model: ServedModel
    steering: steering_pb2.Steering | None


async def target_of(body: GenerationBody, gateway: Gateway, caller: Caller) -> Target:
    """The target of a request. Raises InvalidField, ModelNotServed, NotFound, RpcFailure."""
    if body.controller is not None and body.steering is not None:
        raise InvalidField("steering", "is given together with `controller`; allowed: one of them")
    if body.model.startswith(VARIANT):
        for name in ("controller", "steering"):
            if getattr(body, name) is not None:
                raise InvalidField(
                    name, "is given together with a variant, which is one; allowed: one of them"
                )
        variant = await variant_of(body.model, gateway, caller)
        return Target(f"{VARIANT}{variant.id}", await gateway.models.find(variant.model), variant.steering)
    model = await gateway.models.find(body.model)
    if body.controller is not None:
        return Target(model.id, model, of_controller(body.controller, model))
    return Target(model.id, model, None if body.steering is None else _parsed(body.steering))


async def variant_of(name: str, gateway: Gateway, caller: Caller) -> variant_service_pb2.Variant:
    """The caller's variant of that name, `variant:ID`. Raises NotFound where there is none, for whatever reason."""
    request = variant_service_pb2.GetVariantRequest(id=name.removeprefix(VARIANT))
    try:
        with rpc_failures():
            answer = await gateway.services.variants.GetVariant(request, metadata=caller.metadata)
    except RpcFailure as failure:
        if failure.code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
            raise _no_variant(name) from failure
        raise
    if answer.variant.HasField("delete_time"):
        raise _no_variant(name)
    return answer.variant


def _no_variant(name: str) -> NotFound:
    return NotFound(f"{name[:60]!r} is none of your variants", field="model")


def _parsed(value: dict[str, Any]) -> steering_pb2.Steering:
    check_message(steering_pb2.Steering.DESCRIPTOR, value, "steering")
    try:
        return json_format.ParseDict(value, steering_pb2.Steering())
    except (json_format.ParseError, ValueError) as error:  # what the checks do not know of
        raise InvalidField("steering", str(error)[:500]) from None
