"""Writes openapi.json beside this file: `python -m services.gateway.rest`, which `make protos` runs.

`--check` writes nothing and exits 1 where the committed document is not what schema and routes give.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from services.gateway.rest.document import COMMITTED
from services.gateway.rest.wire.comments import comments_in
from services.gateway.rest.wire.document import document

PROTOS = Path(__file__).resolve().parents[3] / "protos"
BUF = Path(sys.executable).parent / "buf"


def generate() -> str:
    """The document as it is committed. Raises CalledProcessError where the schema does not build."""
    built = subprocess.run(
        [BUF, "build", "--as-file-descriptor-set", "--output", "-"],
        cwd=PROTOS,
        check=True,
        capture_output=True,
    )
    return json.dumps(document(comments_in(built.stdout)), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Writes, or compares; the process's exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed document, write nothing"
    )
    fresh = generate()
    if parser.parse_args().check:
        if COMMITTED.read_text("utf-8") != fresh:
            print(f"stale: {COMMITTED}; run `make protos` and commit it", file=sys.stderr)
            return 1
        return 0
    COMMITTED.write_text(fresh, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
