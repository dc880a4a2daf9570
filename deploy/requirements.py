"""Print what the given extras of pyproject.toml need, one requirement a line, for images: what a release needs is then
installed in a layer of its own, which lasts until pyproject.toml or constraints.txt change."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_OWN_EXTRAS = re.compile(r"hearth\[([a-z,]+)\]")


def requirements(extras: list[str]) -> list[str]:
    """Of the project itself and of its extras, those that an extra takes in included. Raises KeyError for another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found: dict[str, None] = dict.fromkeys(project["dependencies"])
    waiting, seen = list(extras), set[str]()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in project["optional-dependencies"][extra]:
            if own := _OWN_EXTRAS.fullmatch(requirement):
                waiting += own[1].split(",")
            else:
                found[requirement] = None
    return list(found)


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in requirements(sys.argv[1:])))
