"""Where the processes that `hearth up` runs answer Prometheus: each on a port of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.cli.failures import fail
from services.cli.ports import free_port, port_problem, reachable
from services.cli.supervisor import Child
from services.rpc.telemetry import TelemetrySettings

PORT = "HEARTH_METRICS_PORT"


def metrics_ports(settings: TelemetrySettings, names: Sequence[str]) -> dict[str, int]:
    """A port for each process, by its name: the one of the settings and those after it, or free ones where it is 0.

    Empty where the settings name none. Ends the program where one is taken.
    """
    first, host = settings.metrics_port, settings.metrics_host
    if first is None:
        return {}
    if not first:
        return {name: free_port(host) for name in names}
    ports = {name: first + place for place, name in enumerate(names)}
    for port in ports.values():
        if problem := port_problem(host, port):
            fail(
                problem,
                f"Metrics take {len(ports)} ports from {first} on; choose others with --metrics-port.",
            )
    return ports


def metered(children: Sequence[Child], ports: Mapping[str, int]) -> list[Child]:
    """The same children; those that have a port know it."""
    return [
        replace(child, environment={**child.environment, PORT: str(ports[child.name])})
        if child.name in ports
        else child
        for child in children
    ]


def told(settings: TelemetrySettings, ports: Mapping[str, int]) -> list[str]:
    """A line for people that says where they are."""
    if not ports:
        return []
    places = ", ".join(f"{name} {port}" for name, port in ports.items())
    return [f"Metrics at http://{reachable(settings.metrics_host)}:PORT/metrics: {places}"]
