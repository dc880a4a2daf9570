"""Channels to the mesh, and how a call on them is made: deadline, metadata, retries, load balancing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
R = TypeVar("R")
DEFAULT_DEADLINE = 600.0
"""Seconds that a call may take whose method has no timeout in the service config."""
OWNER_KEY, AUTHORIZATION_KEY = "x-hearth-owner", "authorization"


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, R]):
    """A method of the API: it takes a Q, and answers an R or a stream of them."""

    service: str
    name: str

    @property
    def path(self) -> str:
        """As it goes over the wire."""
        return f"/hearth.v1.{self.service}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Where each process is called: `host:port`, or `dns:///name:port` to spread calls over all a name's addresses."""

    inference: str = "localhost:50051"
    features: str = "localhost:50052"
    autosteer: str = "localhost:50053"

    @classmethod
    def behind(cls, address: str) -> Mesh:
        """A mesh behind one address that answers for all services, such as Envoy's."""
        return cls(inference=address, features=address, autosteer=address)

    def by_service(self) -> dict[str, str]:
        """The address of each service."""
        return {
            "InferenceService": self.inference,
            "FeatureService": self.features,
            "VariantService": self.features,
            "AutoSteerService": self.autosteer,
        }


def metadata(api_key: str, owner: str) -> tuple[tuple[str, str], ...]:
    """What goes with every call: the key, and on whose behalf it is made where no key says so."""
    key = ((AUTHORIZATION_KEY, f"Bearer {api_key}"),) if api_key else ()
    return (*key, (OWNER_KEY, owner)) if owner else key


def options() -> list[tuple[str, Any]]:
    """Of every channel: retries and round robin as the service config says, and pings that find a dead server."""
    # gRPC's own timeouts from a service config neither reach the server nor keep the time (grpc/grpc issues 34547 and
    # 40633): each call states its own instead.
    config = service_config()
    methods = [{k: v for k, v in each.items() if k != "timeout"} for each in config["methodConfig"]]
    return [
        ("grpc.service_config", json.dumps(config | {"methodConfig": methods})),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]


@cache
def service_config() -> dict[str, Any]:
    """The API's service config: timeout, retries and load balancing by method."""
    text = (resources.files("hearth_client.v1") / "service_config.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


@cache
def timeouts() -> dict[str, float]:
    """Seconds that a method may take, by its path."""
    return {
        f"/{name['service']}/{name['method']}": float(config["timeout"].removesuffix("s"))
        for config in service_config()["methodConfig"]
        for name in config["name"]
    }


def deadline_of(method: Method[Any, Any], chosen: float | None) -> float:
    """Seconds that a call may take: those chosen, else the method's own."""
    return timeouts().get(method.path, DEFAULT_DEADLINE) if chosen is None else chosen
