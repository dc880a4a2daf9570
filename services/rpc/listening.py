"""Where a server listens, with TLS or without, and what is said where it cannot."""

from __future__ import annotations

import errno
import socket

import grpc

from services.rpc.credentials import server_credentials
from services.rpc.tls import TlsSettings

NO_SHARING = ("grpc.so_reuseport", 0)
"""Else a second server on the same port would silently take half of the calls."""


def listen(server: grpc.aio.Server, host: str, port: int, option: str, tls: TlsSettings | None = None) -> int:
    """Adds the port to a server and returns it; 0 takes a free one. Exits with a message where that cannot be.

    `option` is what changes the port.
    """
    # Asked first, because gRPC writes lines of its own about a taken port, in which the message would drown.
    if port and (problem := _problem(host, port)) and problem.errno == errno.EADDRINUSE:
        raise SystemExit(
            f"Port {port} is taken by another program, perhaps a Hearth that already runs. "
            f"Stop it, or choose another port with {option}."
        )
    address = f"{host}:{port}"
    try:
        if tls is not None and tls.serves:
            return server.add_secure_port(address, _credentials(tls))
        return server.add_insecure_port(address)
    except RuntimeError as error:
        problem = _problem(host, port)
        why = problem.strerror or problem if problem else error
        raise SystemExit(
            f"Cannot listen on {host}, port {port}: {why}. Choose another port with {option}."
        ) from None


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    try:
        return server_credentials(tls)
    except OSError as problem:
        raise SystemExit(f"Cannot speak TLS: {problem}.") from None


def _problem(host: str, port: int) -> OSError | None:
    """Why nothing can listen there, which gRPC does not tell: found by trying the same with a plain socket."""
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        with socket.create_server((name, port), family=family):
            return None
    except OSError as error:
        return error
