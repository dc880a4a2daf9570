"""deploy/Dockerfile, as far as the tests read it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

DOCKERFILE = Path(__file__).parents[2] / "deploy/Dockerfile"
TARGETS = ("inference", "features", "autosteer", "worker", "gateway", "tools")


@dataclass(frozen=True, slots=True)
class Stage:
    """What a stage and those that it comes from say."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """What it says last; empty where it says nothing."""
        return next((text for name, text in reversed(self.instructions) if name == instruction), "")

    @property
    def environment(self) -> dict[str, str]:
        """Its variables, with those that they are made of filled in."""
        found: dict[str, str] = {}
        for name, text in self.instructions:
            if name == "ENV":
                for pair in text.split():
                    key, _, value = pair.partition("=")
                    found[key] = value
        return found

    @property
    def entrypoint(self) -> list[str]:
        words: list[str] = json.loads(self.last("ENTRYPOINT"))
        return words

    @property
    def health_check(self) -> list[str]:
        """The command of its health check."""
        words: list[str] = json.loads(self.last("HEALTHCHECK").partition("CMD ")[2])
        return words

    @property
    def ports(self) -> set[int]:
        return {int(port) for name, text in self.instructions if name == "EXPOSE" for port in text.split()}


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what stands behind it, in one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def stages() -> dict[str, Stage]:
    """By name."""
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for name, text in instructions():
        if name == "FROM":
            base, _, title = text.partition(" AS ")
            current = found[title] = Stage(title, base)
            if base in found:
                current.instructions.extend(found[base].instructions)
        elif current is not None:
            current.instructions.append((name, text))
    return found


def stage(name: str) -> Stage:
    """A target."""
    return stages()[name]
