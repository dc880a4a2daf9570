"""Envoy's configurations: `make envoy` writes edge.yaml, plain.yaml and secrets/ beside this file.

edge.yaml is for production: TLS for clients, mTLS to the services. plain.yaml is for one machine, without TLS. Which
method is retried, and for how long one may run, is read from protos/service_config.json; what streams, from the schema.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT), str(ROOT / "protos/gen")]

from certificates import NAMES, secrets, shows, socket  # noqa: E402
from routes import method_routes  # noqa: E402

SECRETS = "/etc/envoy/secrets"
PAGES = ["https://hearth.example"]
"""Origins whose pages may call the services; to be changed to one's own."""
LOCAL_PAGES = r"http://(localhost|127\.0\.0\.1)(:[0-9]+)?"
_MONITOR = "downstream_connections.v3.DownstreamConnectionsConfig"
GRPC_WEB_HEADERS = (
    "authorization,content-type,grpc-timeout,traceparent,x-grpc-web,x-hearth-owner,x-request-id,x-user-agent"
)
EXPOSED_HEADERS = "grpc-message,grpc-status,grpc-status-details-bin,retry-after,x-request-id"
"""What pages may read; without grpc-status-details-bin they would see no details of an error."""
KIB = 1 << 10


@dataclass(frozen=True)
class Plan:
    """What differs between configurations."""

    port: int
    admin_port: int = 9901
    host: str = "0.0.0.0"
    tls: bool = False
    addresses: Mapping[str, Sequence[tuple[str, int]]] = field(
        default_factory=lambda: {
            "inference": [("inference", 50051)],
            "features": [("features", 50052)],
            "autosteer": [("autosteer", 50053)],
            "gateway": [("gateway", 8080)],
        }
    )
    """Host and port of each service; a name stands for all addresses that DNS has for it."""
    secrets: str = SECRETS


SERVICES = {
    "inference": "hearth.v1.InferenceService",
    "features": "hearth.v1.FeatureService",
    "autosteer": "hearth.v1.AutoSteerService",
}
"""The service by whose health a process of several is judged."""


def configuration(plan: Plan) -> dict[str, Any]:
    """The whole bootstrap."""
    return {
        "node": {"id": "edge", "cluster": "hearth"},
        "admin": {"address": _address("127.0.0.1", plan.admin_port)},
        "static_resources": {
            "listeners": [_listener(plan)],
            "clusters": [
                *(_grpc_cluster(name, service, plan) for name, service in SERVICES.items()),
                _gateway_cluster(plan),
            ],
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{NAMES}.extensions.resource_monitors.{_MONITOR}",
                        "max_active_downstream_connections": 20_000,
                    },
                }
            ]
        },
    }


def _listener(plan: Plan) -> dict[str, Any]:
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": _connections(plan)}
        ]
    }
    if plan.tls:
        chain["transport_socket"] = socket(
            "DownstreamTlsContext",
            {"alpn_protocols": ["h2", "http/1.1"], **shows("edge", plan.secrets)},
        )
    return {
        "name": "edge",
        "address": _address(plan.host, plan.port),
        "per_connection_buffer_limit_bytes": 32 * KIB,
        "filter_chains": [chain],
    }


def _connections(plan: Plan) -> dict[str, Any]:
    filters = {
        "grpc_web": "grpc_web.v3.GrpcWeb",
        "cors": "cors.v3.Cors",
        "router": "router.v3.Router",
    }
    return {
        "@type": f"{NAMES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_name": "hearth",
        "stream_idle_timeout": "660s",  # longer than the longest call, which may be silent
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {
            "idle_timeout": "3600s",
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 256 * KIB,
            "initial_connection_window_size": 1024 * KIB,
        },
        "access_log": [_access_log()],
        "http_filters": [
            {
                "name": f"envoy.filters.http.{name}",
                "typed_config": {"@type": f"{NAMES}.extensions.filters.http.{kind}"},
            }
            for name, kind in filters.items()
        ],
        "route_config": _routes(plan),
    }


def _routes(plan: Plan) -> dict[str, Any]:
    origins = [{"exact": page} for page in PAGES] if plan.tls else [{"safe_regex": {"regex": LOCAL_PAGES}}]
    cors = {
        "@type": f"{NAMES}.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": origins,
        "allow_methods": "POST",
        "allow_headers": GRPC_WEB_HEADERS,
        "expose_headers": EXPOSED_HEADERS,
        "max_age": "3600",
    }
    policy = {"typed_per_filter_config": {"envoy.filters.http.cors": cors}}
    grpc = [route | policy for route in method_routes()]
    everything_else = {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "gateway",
            "timeout": "0s",  # server-sent events; the gateway ends what takes too long
            "retry_policy": {"retry_on": "connect-failure", "num_retries": 2},
        },
    }
    host = {"name": "hearth", "domains": ["*"], "routes": [*grpc, everything_else]}
    routes = {"name": "hearth", "virtual_hosts": [host]}
    if plan.tls:  # on whose behalf a call is made, its key says; nobody outside may say it
        routes["request_headers_to_remove"] = ["x-hearth-owner"]  # type: ignore[assignment]
    return routes


def _grpc_cluster(name: str, service: str, plan: Plan) -> dict[str, Any]:
    return _cluster(name, plan) | {
        "typed_extension_protocol_options": {
            f"{_HTTP}.HttpProtocolOptions": {
                "@type": f"{NAMES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "10s"},
                    }
                },
            }
        },
        "health_checks": [_health_check({"grpc_health_check": {"service_name": service}})],
    }


_HTTP = "envoy.extensions.upstreams.http.v3"


def _gateway_cluster(plan: Plan) -> dict[str, Any]:
    check = _health_check({"http_health_check": {"path": "/healthz"}})
    return _cluster("gateway", plan) | {"health_checks": [check]}


def _health_check(kind: dict[str, Any]) -> dict[str, Any]:
    return {
        "timeout": "2s",
        "interval": "2s",
        "no_traffic_interval": "2s",
        "unhealthy_interval": "1s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        **kind,
    }


def _cluster(name: str, plan: Plan) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(host, port)}} for host, port in plan.addresses[name]]
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "dns_refresh_rate": "2s",
        "lb_policy": "ROUND_ROBIN",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},  # who is not well is not asked
        "ignore_health_on_host_removal": True,
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": 4096,
                    "max_pending_requests": 4096,
                    "max_requests": 4096,
                    "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 20},
                }
            ]
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }
    if plan.tls and name != "gateway":  # which speaks HTTP, in the same network
        context = {"sni": name, **shows("envoy", plan.secrets, trusts=name)}
        cluster["transport_socket"] = socket("UpstreamTlsContext", context)
    return cluster


def _access_log() -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.stdout",
        "typed_config": {
            "@type": f"{NAMES}.extensions.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": {
                "json_format": {
                    "time": "%START_TIME%",
                    "method": "%REQ(:METHOD)%",
                    "path": "%PATH(NQ)%",
                    "http": "%RESPONSE_CODE%",
                    "grpc": "%GRPC_STATUS%",
                    "ms": "%DURATION%",
                    "flags": "%RESPONSE_FLAGS%",
                    "upstream": "%UPSTREAM_HOST%",
                    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            },
        },
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def text(document: Mapping[str, Any]) -> str:
    """The document as YAML, with a line that says where it comes from."""
    plain = json.loads(json.dumps(document))  # no anchors for what stands in several places
    return "# Written by deploy/envoy/configure.py; do not edit.\n" + yaml.safe_dump(
        plain, sort_keys=False, width=110
    )


FILES: dict[str, Callable[[], str]] = {
    "edge.yaml": lambda: text(configuration(Plan(port=8443, tls=True))),
    "plain.yaml": lambda: text(configuration(Plan(port=8081, host="127.0.0.1"))),
    **{f"secrets/{name}.yaml": partial(text, secret) for name, secret in secrets().items()},
}

if __name__ == "__main__":
    for name, make in FILES.items():
        (HERE / name).parent.mkdir(exist_ok=True)
        (HERE / name).write_text(make(), encoding="utf-8")
