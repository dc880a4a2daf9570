"""Texts that the model writes while one feature is nudged, greedily, and how the unsteered model finds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.host import ModelHost
from services.inference.sampling import Sampling
from services.inference.tokenizer import Message
from services.saelab.lab_engine import Ask, Told
from services.saelab.residual import HookedModel
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering

_READ_TOGETHER = 16
"""Texts whose logits are in memory together."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a text begins with."""

    text: str
    is_chat: bool
    """Whether it is a question that the model answers, or the beginning of a text that it goes on with."""


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """Texts after one prompt, as the unsteered model reads them."""

    h: Float[Tensor, "texts length d_model"]
    """The residual stream at their tokens, padded at the end."""
    likelihood: Float[Tensor, " texts"]
    """Mean log-likelihood a token, in nats, the token that ends a text included."""


class SteeredTexts:
    """Writes on the engine that serves the model, and reads with the same model unsteered."""

    def __init__(self, host: ModelHost, model: HookedModel, new_tokens: int) -> None:
        """`host` serves one SAE."""
        self._host, self._model = host, model
        self._sampling = Sampling(temperature=0, max_tokens=new_tokens)
        (self._sae_id,) = host.saes
        self._end = int(host.tokenizer.plain.eos_token_id or 0)

    def prompt(self, opening: Opening) -> tuple[int, ...]:
        """Tokens of an opening. A model without a chat template goes on with the question."""
        tokenizer = self._host.tokenizer
        if opening.is_chat and tokenizer.has_chat_template:
            return tuple(tokenizer.encode_chat([Message("user", opening.text)], open_turn=True).ids)
        return tuple(tokenizer.encode_text(opening.text))

    def ask(self, prompt: tuple[int, ...], feature: int, strength: float) -> Ask:
        """What asks for the text; unsteered at strength 0."""
        edit = Edit(FeatureKey(self._sae_id, feature), Operation.NUDGE, strength)
        return Ask(prompt, Steering((edit,) if strength else ()), self._sampling)

    def words(self, text: Told) -> str:
        """What is read in it."""
        return str(self._host.tokenizer.plain.decode(list(text.tokens), skip_special_tokens=True)).strip()

    def read(self, prompt: tuple[int, ...], texts: Sequence[Told]) -> Iterator[ReadAgain]:
        """Reads the texts after their prompt, some at a time, in order."""
        for start in range(0, len(texts), _READ_TOGETHER):
            yield self._read(prompt, texts[start : start + _READ_TOGETHER])

    def _read(self, prompt: tuple[int, ...], texts: Sequence[Told]) -> ReadAgain:
        scored = [[*text.tokens, *([self._end] if text.ended else [])] for text in texts]
        length = max(1, *map(len, scored))
        padded = torch.tensor([[prompt[-1], *ids, *([self._end] * (length - len(ids)))] for ids in scored])
        h, logits = self._model.continued(
            torch.tensor(prompt[:-1], device=self._model.device), padded.to(self._model.device)
        )
        before = logits[:, :-1].float()
        taken = before.gather(-1, padded[:, 1:, None].to(before.device))[..., 0] - before.logsumexp(-1)
        sizes = torch.tensor([max(1, len(ids)) for ids in scored])
        counted = torch.arange(length) < sizes[:, None]
        return ReadAgain(h[:, 1:].float().cpu(), (taken.cpu() * counted).sum(1) / sizes)
