"""Sentence encoders of BERT's architecture with torch alone, so that a process that starts can search within seconds.

Importing sentence-transformers takes 12 s of CPU, torch 3 s (docs/decisions/0005). The vectors are those of
sentence-transformers up to rounding (tests/encoder/test_bert.py). Source of the architecture: Devlin et al., 2019,
arXiv:1810.04805; of mean pooling: Reimers and Gurevych, 2019, arXiv:1908.10084.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
_MODULES = ["Transformer", "Pooling", "Normalize"]
_READ = {"model_type": "bert", "hidden_act": "gelu"}
_BATCH = 64
"""Texts at once; those of like length go together."""


class _Linear(NamedTuple):
    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"]

    def __call__(self, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
        return functional.linear(x, self.weight, self.bias)


class _Norm(NamedTuple):
    weight: Float[Tensor, " width"]
    bias: Float[Tensor, " width"]
    epsilon: float

    def __call__(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows width"]:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class _Block(NamedTuple):
    """One of the encoder's blocks; query, key and value in one product."""

    attend: _Linear
    attended: _Linear
    attended_norm: _Norm
    widen: _Linear
    narrow: _Linear
    narrow_norm: _Norm
    heads: int

    def __call__(
        self, x: Float[Tensor, "texts tokens width"], mask: Bool[Tensor, "texts 1 1 tokens"] | None
    ) -> Float[Tensor, "texts tokens width"]:
        texts, tokens, width = x.shape
        parts = self.attend(x).view(texts, tokens, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.attended_norm(x + self.attended(mixed.transpose(1, 2).reshape(texts, tokens, width)))
        return self.narrow_norm(x + self.narrow(functional.gelu(self.widen(x))))


def is_bert(folder: Path) -> bool:
    """Whether a folder of sentence-transformers holds what BertEncoder reads: BERT, mean pooling, unit vectors."""
    needed = [folder / name for name in (WEIGHTS, TOKENIZER, "config.json", "modules.json")]
    if not all(path.is_file() for path in needed):
        return False
    config, modules = _json(folder / "config.json"), _json(folder / "modules.json")
    if [module["type"].rpartition(".")[2] for module in modules] != _MODULES:
        return False
    pooling = _json(folder / modules[1]["path"] / "config.json")
    modes = [name for name, value in pooling.items() if name.startswith("pooling_mode_") and value]
    absolute = config.get("position_embedding_type", "absolute") == "absolute"
    return absolute and modes == ["pooling_mode_mean_tokens"] and _READ.items() <= config.items()


class BertEncoder:
    """Texts to vectors of norm 1."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Reads a folder for which `is_bert` holds. Raises OSError or ValueError where it is damaged."""
        config = _json(folder / "config.json")
        weights = _weights(folder / WEIGHTS, device)
        epsilon, heads = config["layer_norm_eps"], config["num_attention_heads"]
        self._device = device
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _norm(weights, "embeddings.LayerNorm", epsilon)
        self._blocks = [
            _block(weights, f"encoder.layer.{number}", epsilon, heads)
            for number in range(config["num_hidden_layers"])
        ]
        self._tokenizer = _tokenizer(folder / TOKENIZER)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_most_tokens(folder, config))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Float[NDArray[np.float32], "texts width"]:
        """The vectors of texts, of any lengths; what is longer than the encoder reads is cut."""
        vectors = np.empty((len(texts), self._words.shape[1]), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch([text.strip() for text in texts])]
        for places in _batches(tokens):
            vectors[places] = self._encoded([tokens[place] for place in places]).cpu().numpy()
        return vectors

    def _encoded(self, tokens: list[list[int]]) -> Float[Tensor, "texts width"]:
        longest = max(map(len, tokens))
        ids: Int[Tensor, "texts tokens"] = torch.tensor(
            [[*text, *[0] * (longest - len(text))] for text in tokens], device=self._device
        )
        lengths = torch.tensor([len(text) for text in tokens], device=self._device)
        read = torch.arange(longest, device=self._device) < lengths[:, None]
        mask = None if len({*map(len, tokens)}) == 1 else read[:, None, None]
        x = self._norm(functional.embedding(ids, self._words) + self._places[:longest])
        for block in self._blocks:
            x = block(x, mask)
        mean = (x * read[..., None]).sum(1) / lengths[:, None]
        return functional.normalize(mean, dim=-1)


def _batches(tokens: list[list[int]]) -> Iterator[list[int]]:
    """The texts' places, those of like length together."""
    order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def _most_tokens(folder: Path, config: Mapping[str, Any]) -> int:
    """How many tokens of a text are read, the two special ones included."""
    settings = folder / "sentence_bert_config.json"
    most = _json(settings).get("max_seq_length") if settings.is_file() else None
    return int(most or config["max_position_embeddings"])


def _weights(file: Path, device: str) -> dict[str, Tensor]:
    try:
        found = load_file(file, device)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return {name.removeprefix("bert."): tensor.float() for name, tensor in found.items()}


def _tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing more exact
        raise ValueError(f"{file} is damaged: {error}") from error


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _linear(weights: Mapping[str, Tensor], *names: str) -> _Linear:
    """One layer, or several that read the same input in one."""
    return _Linear(*(torch.cat([weights[f"{name}.{part}"] for name in names]) for part in ("weight", "bias")))


def _norm(weights: Mapping[str, Tensor], name: str, epsilon: float) -> _Norm:
    return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)


def _block(weights: Mapping[str, Tensor], name: str, epsilon: float, heads: int) -> _Block:
    own = f"{name}.attention.self"
    return _Block(
        attend=_linear(weights, f"{own}.query", f"{own}.key", f"{own}.value"),
        attended=_linear(weights, f"{name}.attention.output.dense"),
        attended_norm=_norm(weights, f"{name}.attention.output.LayerNorm", epsilon),
        widen=_linear(weights, f"{name}.intermediate.dense"),
        narrow=_linear(weights, f"{name}.output.dense"),
        narrow_norm=_norm(weights, f"{name}.output.LayerNorm", epsilon),
        heads=heads,
    )
