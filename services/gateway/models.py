"""The models that inference serves, as the gateway knows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.errors import ModelNotServed


@dataclass(frozen=True, slots=True)
class ServedSae:
    """An SAE that is loaded on a model."""

    id: str
    hook_point: str
    layer: int
    feature_count: int
    strength_constant: float
    """A nudge of strength 1 is so many median residual norms."""
    has_scales: bool
    """Whether the features' activation scales are known."""
    weights_digest: str


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that is served."""

    id: str
    context_length: int
    """In tokens, prompt and answer together."""
    has_chat_template: bool
    weights_digest: str
    saes: tuple[ServedSae, ...]

    @property
    def default_sae(self) -> str:
        """The SAE that features without one are of: the first. Empty where the model has none."""
        return self.saes[0].id if self.saes else ""

    @property
    def feature_count(self) -> int:
        """The features of the default SAE."""
        return self.saes[0].feature_count if self.saes else 0


class Models:
    """The list of models, asked for again when it is older than `seconds`; one question at a time."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Sequence[ServedModel]]],
        aliases: Mapping[str, str],
        seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`aliases` maps other names to served ones."""
        self._ask, self._aliases, self._seconds, self._now = ask, aliases, seconds, now
        self._known: Sequence[ServedModel] = ()
        self._until = float("-inf")
        self._asking = asyncio.Lock()

    async def all(self) -> Sequence[ServedModel]:
        """All models that are served. Raises RpcFailure where inference does not answer."""
        if self._now() >= self._until:
            async with self._asking:
                if self._now() >= self._until:
                    self._known = await self._ask()
                    self._until = self._now() + self._seconds
        return self._known

    async def find(self, name: str) -> ServedModel:
        """The model of a name or alias; where the name is empty, the first. Raises ModelNotServed, RpcFailure."""
        served = await self.all()
        wanted = self._aliases.get(name, name)
        for model in served:
            if wanted in ("", model.id):
                return model
        raise ModelNotServed(name, [model.id for model in served])
