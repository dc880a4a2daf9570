"""Whether the process in this container serves: `python -m services.rpc.probe`, for an image's HEALTHCHECK.

Asks the health port that HEARTH_HEALTH_PORT names, or the URL that is given (`http://127.0.0.1:8080/healthz`). Ends
with 0 if it serves, else with 1.
"""

from __future__ import annotations

import sys
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.rpc.health_port import HealthSettings

SECONDS = 3.0
"""How long the answer may take."""


def answers(url: str) -> bool:
    """Whether an HTTP server answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # an address of this machine
            return bool(answer.status == 200)
    except OSError:
        return False


def serves(port: int, service: str = "") -> bool:
    """Whether a health check of a service, or of the process as a whole, is answered with SERVING."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        asked = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(arguments: list[str]) -> int:
    """0 if it serves, else 1."""
    if arguments:
        return int(not answers(arguments[0]))
    port = HealthSettings().health_port
    if not port:
        raise SystemExit("HEARTH_HEALTH_PORT names no port to ask.")
    return int(not serves(port))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
