"""Files of tensors and configuration, read with names and shapes checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from services.inference.sae.errors import SaeFormatError


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The tensors of one file by name, in the file's own types."""

    path: Path
    tensors: dict[str, Tensor]

    def take(self, name: str, *shape: int | None) -> Tensor:
        """The tensor as contiguous float32 on the CPU; None in the shape stands for any size.

        Raises SaeFormatError where it is missing, is not of floating point, or has another shape.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise SaeFormatError(
                self.path, name, f"a tensor {_shape_text(shape)}", f"only {_listed(self.tensors)}"
            )
        fits = tensor.dim() == len(shape) and all(
            want in (None, have) for want, have in zip(shape, tensor.shape, strict=True)
        )
        if not fits:
            raise SaeFormatError(
                self.path, name, f"shape {_shape_text(shape)}", f"{_shape_text(tensor.shape)}"
            )
        if not tensor.is_floating_point():
            raise SaeFormatError(self.path, name, "floating point numbers", str(tensor.dtype))
        if not _is_whole(tensor):
            raise SaeFormatError(self.path, name, "a number stored for each element", "fewer numbers")
        return tensor.to("cpu", torch.float32).contiguous()

    def __contains__(self, name: str) -> bool:
        return name in self.tensors


def _is_whole(tensor: Tensor) -> bool:
    """Whether every element has a number of its own. Pickles can spread one over any shape, which would fill memory."""
    if tensor.layout is not torch.strided:
        return False
    return tensor.untyped_storage().nbytes() >= tensor.numel() * tensor.element_size()


def read_safetensors(path: Path) -> TensorFile:
    """All tensors of a safetensors file. Raises SaeFormatError where it is missing or broken."""
    try:
        return TensorFile(path, load_file(path))
    except FileNotFoundError:
        raise SaeFormatError(path, "", "a safetensors file", "no such file") from None
    except SafetensorError as error:
        raise SaeFormatError(path, "", "a safetensors file", f"one that does not parse ({error})") from error


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes contiguous tensors; the file is whole, or as it was before.

    The permissions are the usual ones: safetensors' own writer makes files private to the user.
    """
    _write_whole(path, save(tensors))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON object; the file is whole, or as it was before."""
    _write_whole(path, (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())


def _write_whole(path: Path, contents: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(contents)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One JSON object with its path, so that what is wrong in it can be named."""

    path: Path
    values: dict[str, Any]

    def whole_number(self, key: str) -> int:
        """The positive whole number under a key. Raises SaeFormatError where it is missing or something else."""
        value = self.values.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SaeFormatError(self.path, key, "a positive whole number", repr(value))
        return value

    def positive(self, key: str) -> float:
        """The positive, finite number under a key. Raises SaeFormatError where it is missing or something else."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < float("inf"):
            raise SaeFormatError(self.path, key, "a positive number", repr(value))
        return float(value)

    def require(self, key: str, allowed: tuple[Any, ...], default: Any) -> Any:
        """The value under a key, which must be one of those allowed."""
        value = self.values.get(key, default)
        if value not in allowed:
            choices = " or ".join(repr(choice) for choice in allowed)
            raise SaeFormatError(self.path, key, choices, repr(value))
        return value


def read_json(path: Path) -> ConfigFile:
    """The JSON object in a file. Raises SaeFormatError where it is missing or is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SaeFormatError(path, "", "a JSON file", "no such file") from None
    except (ValueError, RecursionError) as error:
        raise SaeFormatError(path, "", "a JSON file", f"one that does not parse ({error})") from error
    if not isinstance(values, dict):
        raise SaeFormatError(path, "", "a JSON object", type(values).__name__)
    return ConfigFile(path, values)


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"


def _listed(tensors: dict[str, Tensor]) -> str:
    return ", ".join(sorted(tensors)[:12]) or "no tensors"
