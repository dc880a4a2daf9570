"""The command as a whole: quick to start, told with examples, cancelled cleanly."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.app import app, features, saved
from services.cli.platform import command_as_typed
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference

ROOT = Path(__file__).parents[2]
HEARTH = [sys.executable, "-m", "services.cli"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}", "COLUMNS": "80"}
COMMANDS = [command.name or "" for command in app.registered_commands]
GROUPS = {
    name: [command.name or "" for command in group.registered_commands]
    for name, group in (("features", features), ("variants", saved))
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(run: Run, command: str) -> None:
    if command == "sae":
        pytest.skip("its help is that of the SAE lab")
    done = run(command, "--help")
    assert done.code == 0
    assert f"hearth {command}" in done.out.split("Usage:")[1].split("\n", 1)[1]


def test_help_lists_every_command(run: Run) -> None:
    out = run("--help").out
    assert all(f"│ {command} " in out for command in [*COMMANDS, *GROUPS])
    for group, commands in GROUPS.items():
        out = run(group, "--help").out
        assert all(f"│ {command} " in out for command in commands)


@pytest.mark.parametrize(
    ("group", "command"), [(group, command) for group, commands in GROUPS.items() for command in commands]
)
def test_every_command_of_a_group_has_an_example_in_its_help(run: Run, group: str, command: str) -> None:
    done = run(group, command, "--help")
    assert done.code == 0
    assert f"hearth {group} {command}" in done.out.split("Usage:")[1].split("\n", 1)[1]


@pytest.mark.parametrize(
    "module",
    ["services.cli.app", "services.cli.turns", "services.cli.naming", "services.cli.importing.first"],
)
def test_clients_commands_do_not_load_torch_and_help_not_even_grpc(module: str) -> None:
    heavy = [
        "torch",
        "transformers",
        "sqlalchemy",
        *(["grpc", "pydantic"] if module == "services.cli.app" else []),
    ]
    code = f"import sys, {module}; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_real_process_prints_json_and_nothing_else(address: str) -> None:
    command = [*HEARTH, "chat", "Hi", "--nudge", "12=0.5", "--json", "--address", address]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('{"seed"')


def test_ctrl_c_cancels_the_calls_and_keeps_what_came(address: str, service: FakeInference) -> None:
    service.hang = True
    screen, terminal = pty.openpty()
    command = [*HEARTH, "chat", "Hi", "--nudge", "12=0.5", "--address", address]
    environment = {**ENVIRONMENT, "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        assert service.hanging.wait(60)
        shown = ""
        while "We" not in shown:
            shown += os.read(screen, 65536).decode()
        process.send_signal(signal.SIGINT)
        try:
            while chunk := os.read(screen, 65536):
                shown += chunk.decode()
        except OSError:  # how a closed terminal ends
            pass
        assert process.wait(30) == 130
    os.close(screen)
    assert service.cancelled.wait(10)
    assert "Stopped." in shown
    assert "Traceback" not in shown


def test_a_command_to_copy_is_named_as_the_running_one_was_typed() -> None:
    assert sys.argv[0].endswith(command_as_typed().rpartition("/")[2])
