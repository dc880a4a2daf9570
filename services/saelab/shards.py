"""Shards of residual activations on disk: written whole or not at all, checked when read."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from services.saelab.errors import CorruptShard, RunMismatch, SaeLabError
from services.saelab.outputs import told_if_full, write_json, write_text

RUN = "run.json"
SECONDS = "seconds.txt"
_ADVICE = "delete it and run `hearth sae activations` again, which makes it anew"


@dataclass(frozen=True, slots=True)
class Shard:
    """The used tokens of some windows, in random order of windows."""

    activations: Float[Tensor, "tokens d_model"]
    """bfloat16, in the residual stream's own units."""
    norms: Float[Tensor, " tokens"]
    """float32 norm of each, before rounding."""
    sinks: int
    """Tokens left out as attention sinks, the first positions of windows not among them."""


class ShardFolder:
    """A folder of numbered shards and a run.json that says what run they belong to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def claim(self, run: dict[str, Any]) -> None:
        """Starts, or goes on with, the run of these settings. Raises RunMismatch where another's shards are here."""
        with told_if_full(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / RUN
        if path.exists():
            found = self.run()
            keys = (run.keys() | found.keys()) - {"tokens"}  # More tokens are more shards of the same run.
            changed = sorted(key for key in keys if run.get(key) != found.get(key))
            if changed:
                raise RunMismatch(
                    f"{self.folder} holds activations of another run (different: {', '.join(changed)}): "
                    "choose another folder, or delete this one"
                )
        write_json(path, run)

    @property
    def seconds(self) -> float:
        """Time spent collecting, in all runs together; 0 where it was not recorded."""
        path = self.folder / SECONDS
        return float(path.read_text("utf-8")) if path.exists() else 0.0

    def add_seconds(self, seconds: float) -> None:
        """Adds to the time spent collecting."""
        write_text(self.folder / SECONDS, f"{self.seconds + seconds:.3f}\n")

    def run(self) -> dict[str, Any]:
        """What run the shards belong to. Raises SaeLabError where there is none."""
        try:
            run: dict[str, Any] = json.loads((self.folder / RUN).read_text("utf-8"))
        except FileNotFoundError:
            raise SaeLabError(f"no activations in {self.folder}: collect them first") from None
        except ValueError as error:
            raise SaeLabError(
                f"{self.folder / RUN} is broken ({error}); delete the folder and collect again"
            ) from error
        return run

    def path(self, index: int) -> Path:
        """Where shard `index` lies."""
        return self.folder / f"shard-{index:05}.safetensors"

    def indices(self) -> list[int]:
        """The shards that are there, in order."""
        return sorted(
            int(path.stem.removeprefix("shard-")) for path in self.folder.glob("shard-*.safetensors")
        )

    def first(self, tokens: int) -> list[int]:
        """The first shards, up to the one that reaches so many tokens. Raises SaeLabError where there are none."""
        chosen, total = [], 0
        for index in self.indices():
            if total >= tokens:
                break
            chosen.append(index)
            total += self.tokens(index)
        if not chosen:
            raise SaeLabError(f"no activations in {self.folder}: make them with `hearth sae activations`")
        return chosen

    def write(self, index: int, shard: Shard) -> None:
        """Writes a shard; it appears under its name only when it is whole. A full disk raises SaeLabError."""
        partial = self.path(index).with_suffix(".partial")
        tensors = {"activations": shard.activations.contiguous(), "norms": shard.norms.contiguous()}
        metadata = {"sinks": str(shard.sinks), "crc32": str(_checksum(tensors))}
        try:
            save_file(tensors, partial, metadata)
            partial.replace(self.path(index))
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise SaeLabError(
                f"shard {index} could not be written to {self.folder}: {error}; free some space and "
                "run the same command again, which goes on from here"
            ) from error

    def read(self, index: int) -> Shard:
        """Reads a shard. Raises CorruptShard where it is not what was written."""
        path = self.path(index)
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in ("activations", "norms")}
                metadata = file.metadata() or {}
        except (OSError, SafetensorError) as error:
            raise CorruptShard(f"{path} cannot be read ({error}): {_ADVICE}") from error
        if metadata.get("crc32") != str(_checksum(tensors)):
            raise CorruptShard(f"{path} is not what was written (its checksum differs): {_ADVICE}")
        return Shard(tensors["activations"], tensors["norms"], int(metadata["sinks"]))

    def tokens(self, index: int) -> int:
        """How many tokens a shard holds, by its header alone."""
        try:
            with safe_open(self.path(index), "pt") as file:
                return int(file.get_slice("activations").get_shape()[0])
        except (OSError, SafetensorError) as error:
            raise CorruptShard(f"{self.path(index)} cannot be read ({error}): {_ADVICE}") from error

    def __iter__(self) -> Iterator[Shard]:
        """All shards, in order."""
        return (self.read(index) for index in self.indices())


def _checksum(tensors: dict[str, Tensor]) -> int:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].contiguous().view(torch.uint8).numpy().data, crc)
    return crc
