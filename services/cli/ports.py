"""Whether a port can be listened on, and which is free."""

from __future__ import annotations

import errno
import socket


def port_problem(host: str, port: int) -> str:
    """Why nothing can listen there; empty where it can."""
    try:
        with _listen(host, port):
            return ""
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return f"Port {port} is taken by another program."
        if error.errno == errno.EACCES:
            return f"Port {port} may not be used by this account; ports from 1024 on may."
        return f"Cannot listen on {host}, port {port}: {error.strerror or error}."


def free_port(host: str) -> int:
    """A port on which nothing listens."""
    with _listen(host, 0) as listening:
        port: int = listening.getsockname()[1]
        return port


def reachable(host: str) -> str:
    """The name under which this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "localhost", "[::]": "localhost", "::": "localhost"}.get(host, host)


def _listen(host: str, port: int) -> socket.socket:
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    return socket.create_server((name, port), family=family)
