"""The work folder: one JSON file for each behaviour that is done, and where the one in hand is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bench.behaviors.outcome import Judges, Outcome, Setup
from services.autosteer.codec import from_json, to_json
from services.autosteer.spec import Trial

T = TypeVar("T")


class OtherSetup(ValueError):
    """The folder holds what was measured in another way."""


class Work:
    """One folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def outcome(self, name: str) -> Outcome | None:
        """What a behaviour came to; None where it is not done."""
        return _read(Outcome, self.folder / f"{name}.json")

    def outcomes(self, names: Mapping[str, object]) -> list[Outcome]:
        """Of all of these that are done."""
        return [outcome for name in names if (outcome := self.outcome(name)) is not None]

    def check(self, setup: Setup, names: Mapping[str, object]) -> None:
        """Raises OtherSetup where what is there does not stand in one table with what is to come."""
        wanted = to_json(setup)
        for each in self.outcomes(names):
            found = to_json(each.setup)
            other = [
                f"{key} {found[key]!r}, not {wanted[key]!r}" for key in wanted if found[key] != wanted[key]
            ]
            if other:
                raise OtherSetup(
                    f"{self.folder} holds {each.name!r} with {'; '.join(other)}: name another folder with --work"
                )

    def keep(self, outcome: Outcome) -> None:
        """Keeps what a behaviour came to; where its job was is no longer needed."""
        _write(self.folder / f"{outcome.name}.json", to_json(outcome))
        self._job(outcome.name).unlink(missing_ok=True)

    def judges(self) -> Judges:
        """Who was tried on the gold set."""
        return _read(Judges, self.folder / "judges" / "agreement.json") or Judges()

    def keep_judges(self, judges: Judges) -> None:
        """Keeps how far judges agree with the gold set."""
        _write(self.folder / "judges" / "agreement.json", to_json(judges))

    def checkpoints(self, name: str, setup: Setup) -> FileCheckpoints:
        """Where the pipeline's job for a behaviour is."""
        return FileCheckpoints(self._job(name), setup)

    def _job(self, name: str) -> Path:
        return self.folder / "jobs" / f"{name}.json"


class FileCheckpoints:
    """services.autosteer.job.Checkpoints in one file; a job of another set-up counts as none."""

    def __init__(self, path: Path, setup: Setup) -> None:
        self._path = path
        self._kept: dict[str, Any] = {"setup": to_json(setup), "stages": {}, "trials": {}}
        found = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if found.get("setup") == json.loads(json.dumps(self._kept["setup"])):
            self._kept = found

    async def get(self, stage: str) -> Any:
        """See Checkpoints."""
        return self._kept["stages"].get(stage)

    async def put(self, stage: str, value: Any) -> None:
        """See Checkpoints."""
        self._kept["stages"][stage] = value
        _write(self._path, self._kept)

    async def trials(self) -> list[Trial]:
        """See Checkpoints."""
        kept = self._kept["trials"]
        return [from_json(Trial, kept[number]) for number in sorted(kept, key=int)]

    async def add_trial(self, trial: Trial) -> None:
        """See Checkpoints."""
        self._kept["trials"].setdefault(str(trial.number), to_json(trial))
        _write(self._path, self._kept)


def _read(kind: type[T], path: Path) -> T | None:
    return from_json(kind, json.loads(path.read_text("utf-8"))) if path.exists() else None


def _write(path: Path, value: Any) -> None:
    """Whole or not at all, whenever the run is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, ensure_ascii=False), "utf-8")
    os.replace(part, path)
