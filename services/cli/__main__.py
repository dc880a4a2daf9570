"""The `hearth` command."""

from __future__ import annotations

from services.cli.app import app


def main() -> None:
    """Runs the command line; exits with 0, or 1 where something failed, 2 where the command was not understood."""
    app(prog_name="hearth")


if __name__ == "__main__":
    main()
