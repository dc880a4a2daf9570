"""Envoy's routes of the API's methods: for how long each may run, and whether it is made again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from hearth.v1 import autosteer_service_pb2, feature_service_pb2, inference_service_pb2, variant_service_pb2
from services.rpc.channel import service_config

MODULES = {
    "inference": (inference_service_pb2,),
    "features": (feature_service_pb2, variant_service_pb2),
    "autosteer": (autosteer_service_pb2,),
}
"""By the process that serves them."""
SLACK_SECONDS = 5.0
"""How much longer than its deadline a call may take, so that the server's own words for it arrive."""
_ANOTHER_HOST = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    },
}
UNSENT = "connect-failure,refused-stream"
"""When a call is made again that must not happen twice: it has not reached a server."""
UNANSWERED = f"{UNSENT},reset-before-request,unavailable"
"""When a call is made again that may happen twice: no word of an answer has come."""


def method_routes() -> Iterator[dict[str, Any]]:
    """A route for each method, and one for each service that answers UNIMPLEMENTED to what it does not know."""
    by_method = _by_method()
    for cluster, modules in MODULES.items():
        for module in modules:
            for service in module.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    path = f"/{service.full_name}/{method.name}"
                    yield _route({"path": path}, cluster, method, by_method[path])
                yield {
                    "match": {"prefix": f"/{service.full_name}/"},
                    "route": {"cluster": cluster, "timeout": "15s"},
                }


def _route(
    match: dict[str, str], cluster: str, method: MethodDescriptor, known: dict[str, Any]
) -> dict[str, Any]:
    # Streams end at the caller's deadline or at the server's, never at Envoy's.
    seconds = 0 if method.server_streaming else float(known["timeout"].removesuffix("s")) + SLACK_SECONDS
    retry: dict[str, Any] = {"retry_on": UNSENT, "num_retries": 2}
    if policy := known.get("retryPolicy"):
        assert method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
        retry = {
            "retry_on": UNANSWERED,
            "num_retries": policy["maxAttempts"] - 1,
            "retry_back_off": {
                "base_interval": policy["initialBackoff"],
                "max_interval": policy["maxBackoff"],
            },
        }
    return {
        "match": match,
        "route": {
            "cluster": cluster,
            "timeout": f"{seconds:g}s",
            "retry_policy": {
                **retry,
                "retry_host_predicate": [_ANOTHER_HOST],
                "host_selection_retry_max_attempts": 3,
            },
        },
    }


def _by_method() -> dict[str, dict[str, Any]]:
    return {
        f"/{name['service']}/{name['method']}": config
        for config in service_config()["methodConfig"]
        for name in config["name"]
    }
