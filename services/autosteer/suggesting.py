"""What is answered at once, without a job: examples of a behaviour, and conditions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.autosteer.condition_fit import SuggestedCondition, suggest_condition
from services.autosteer.drafting import Pair, draft_pairs
from services.autosteer.judges.registry import Encode
from services.autosteer.spec import Spec
from services.autosteer.upstream import FeatureCatalogue, Inference
from services.autosteer.wording import behavior_of, instruction_of
from services.errors import InvalidField, ModelNotServed, SaeNotServed

T = TypeVar("T")


class Suggesting:
    """Drafts examples and fits conditions."""

    def __init__(
        self,
        inference_of: Callable[[str], Inference],
        catalogue: FeatureCatalogue,
        encode: Callable[[], Awaitable[Encode]],
    ) -> None:
        """`inference_of` makes a client for an owner, `encode` loads the sentence encoder."""
        self._inference_of, self._catalogue, self._encode = inference_of, catalogue, encode

    async def contrast(self, owner: str, spec: Spec, count: int) -> list[Pair]:
        """At most `count` pairs, no two the same. Raises InvalidField, DependencyUnavailable."""
        inference = self._inference_of(owner)
        served = await _named(inference.served(spec.model, spec.sae))
        drafted = await draft_pairs(
            behavior_of(spec),
            instruction_of(spec),
            count,
            inference,
            await self._encode(),
            seed=spec.seed,
            has_chat_template=served.has_chat_template,
        )
        return list(dict.fromkeys(drafted))

    async def condition(self, owner: str, spec: Spec, seconds: float | None = None) -> SuggestedCondition:
        """A condition that holds where a text shows what the spec says, in about `seconds`.

        Raises InvalidField, DependencyUnavailable.
        """
        encode, inference = await self._encode(), self._inference_of(owner)
        return await _named(suggest_condition(spec, inference, self._catalogue, encode, seconds))


async def _named(asked: Awaitable[T]) -> T:
    """What is awaited; errors name the fields of these requests, in which there is no spec."""
    try:
        return await asked
    except ModelNotServed as error:
        raise InvalidField("model", error.message) from error
    except SaeNotServed as error:
        raise InvalidField("sae", error.message.removeprefix("spec.sae: ")) from error
    except InvalidField as error:
        path = error.field.removeprefix("spec").removeprefix(".")
        raise InvalidField(path or "positive", error.message.removeprefix(f"{error.field}: ")) from error
