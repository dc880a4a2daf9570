"""`python -m services.saelab`: the same commands as `hearth sae`."""

from __future__ import annotations

from services.saelab.cli import sae_app

if __name__ == "__main__":
    sae_app(prog_name="python -m services.saelab")
