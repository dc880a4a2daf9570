"""From what a caller asks for to a job in the queue: everything that could be wrong with it is found here."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from services.autosteer.codec import to_json
from services.autosteer.judges.allowed import check_endpoint
from services.autosteer.ledger import Asking, Ledger
from services.autosteer.limits import check
from services.autosteer.record import JobRecord
from services.autosteer.spec import Spec
from services.autosteer.upstream import Inference
from services.database.repeats import content_digest
from services.errors import InvalidField, ModelNotServed, SaeNotServed

SEEDS = 2**31
"""Seeds that are drawn lie below."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks for."""

    spec: Spec
    has_seed: bool
    """Whether the seed is the caller's."""
    request_id: str = ""


class Creation:
    """Makes jobs."""

    def __init__(
        self,
        ledger: Ledger,
        inference_of: Callable[[str], Inference],
        announce: Callable[[], Awaitable[None]],
        judge_endpoints: Sequence[str] | None = None,
    ) -> None:
        """`announce` wakes a worker; where it cannot, the job is found later. `judge_endpoints`: see the settings."""
        self._judge_endpoints = judge_endpoints
        self._ledger, self._inference_of, self._announce = ledger, inference_of, announce

    async def create(self, owner: str, wish: Wish) -> JobRecord:
        """A job, queued; the same one for a request that is repeated.

        Raises InvalidField, AlreadyExists, QueueFull, and DependencyUnavailable where it cannot be checked now.
        """
        check(wish.spec)
        check_endpoint(wish.spec.judge, self._judge_endpoints)
        asking = Asking(
            owner, wish.request_id, content_digest("create", to_json(wish.spec), str(wish.has_seed))
        )
        if before := await self._ledger.repeated(asking):
            return before
        spec = await self._complete(owner, wish)
        job = await self._ledger.create(spec, asking)
        await self._announce()
        return job

    async def _complete(self, owner: str, wish: Wish) -> Spec:
        """The spec with model, SAE and seed filled in."""
        spec = wish.spec
        try:
            served = await self._inference_of(owner).served(spec.model, spec.sae)
        except ModelNotServed as error:
            raise InvalidField("spec.model", error.message) from error
        except SaeNotServed as error:
            raise InvalidField("spec.sae", error.message.removeprefix("spec.sae: ")) from error
        seed = spec.seed if wish.has_seed else secrets.randbelow(SEEDS)
        return replace(spec, model=served.model, sae=served.sae, seed=seed)
