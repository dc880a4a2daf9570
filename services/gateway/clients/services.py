"""The connections of the gateway to the services, and the stubs that everything calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hearth.v1 import autosteer_service_pb2_grpc, feature_service_pb2_grpc, variant_service_pb2_grpc
from hearth.v1 import inference_service_pb2_grpc as inference_grpc
from services.gateway.settings import GatewaySettings
from services.rpc.by_model import ModelChannel, connect_by_model
from services.rpc.channel import connect as channel_to

INFERENCE = "hearth.v1.InferenceService"
HEALTH_SECONDS = 2.0
"""How long a service may take to say whether it serves."""


@dataclass(frozen=True, slots=True)
class Services:
    """The stubs. Every call takes a caller's `metadata`; channels connect at first use, and again after an outage."""

    inference: inference_grpc.InferenceServiceAsyncStub
    features: feature_service_pb2_grpc.FeatureServiceAsyncStub
    variants: variant_service_pb2_grpc.VariantServiceAsyncStub
    autosteer: autosteer_service_pb2_grpc.AutoSteerServiceAsyncStub
    channels: dict[str, grpc.aio.Channel]
    """By the name of the process."""

    async def serving(self) -> dict[str, bool]:
        """Whether each process answers its health check with SERVING, by its name."""
        answers = await asyncio.gather(*map(_serves, self.channels.values()))
        return dict(zip(self.channels, answers, strict=True))

    async def close(self) -> None:
        """Closes the channels; what still runs on them is cancelled."""
        for channel in self.channels.values():
            await channel.close()


def connect(settings: GatewaySettings) -> Services:
    """Stubs of all services. Called on the event loop that uses them.

    Raises OSError where a file of TLS is of no use.
    """
    to_inference = connect_by_model(settings.inference, settings.inference_by_model, tls=settings.tls)
    channels = {
        **_by_server(to_inference),
        "features": channel_to(settings.features, tls=settings.tls),
        "autosteer": channel_to(settings.autosteer, tls=settings.tls),
    }
    # The generated functions return the stub of the channel's kind, which their types do not say for all versions.
    inference: inference_grpc.InferenceServiceAsyncStub = inference_grpc.InferenceServiceStub(to_inference)
    features: feature_service_pb2_grpc.FeatureServiceAsyncStub = feature_service_pb2_grpc.FeatureServiceStub(
        channels["features"]
    )
    variants: variant_service_pb2_grpc.VariantServiceAsyncStub = variant_service_pb2_grpc.VariantServiceStub(
        channels["features"]
    )
    autosteer: autosteer_service_pb2_grpc.AutoSteerServiceAsyncStub = (
        autosteer_service_pb2_grpc.AutoSteerServiceStub(channels["autosteer"])
    )
    return Services(inference, features, variants, autosteer, channels)


def _by_server(channel: grpc.aio.Channel) -> dict[str, grpc.aio.Channel]:
    """Inference's servers, by the names under which they are told to be away."""
    if not isinstance(channel, ModelChannel):
        return {"inference": channel}
    others = {model: each for model, each in channel.by_model.items() if each is not channel.first}
    return {"inference": channel.first} | {f"inference of {model}": each for model, each in others.items()}


async def _serves(channel: grpc.aio.Channel) -> bool:
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS
        )
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
