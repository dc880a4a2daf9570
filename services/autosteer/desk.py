"""Has texts written and judged: many at once, the same prompts and seeds for everything that is compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.autosteer.judges.registry import Asked, Judge
from services.autosteer.judges.rules import HOPELESS_LOSS, fault
from services.autosteer.objective import BROKEN, Scores, fluency_of, sample_of
from services.autosteer.spec import Prompt, Sample
from services.autosteer.together import both, together
from services.autosteer.upstream import Ask, Inference, Likelihood
from services.autosteer.wording import number_of
from services.steering.edits import Edit, Steering

PLACES = 48
"""Generations in flight: enough to fill an engine's batch of 32 while others come and go."""


@dataclass(frozen=True, slots=True)
class Place:
    """A prompt with its seed: what is written there differs by steering alone."""

    prompt: Prompt
    seed: int

    @classmethod
    def of(cls, prompt: Prompt, job_seed: int) -> Place:
        """The place of a prompt in a job."""
        return cls(prompt, number_of("place", job_seed, prompt))


@dataclass(frozen=True, slots=True)
class Plain:
    """What the unsteered model writes, and how likely it finds that, in nats a token."""

    text: str
    likelihood: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text to write at a place."""

    place: Place
    edits: tuple[Edit, ...] = ()
    instead: Prompt | None = None
    """Read in place of the prompt: the same with a system prompt."""

    @property
    def is_plain(self) -> bool:
        """Whether it is what stands there unsteered."""
        return not self.edits and self.instead is None


class Desk:
    """Writes and judges for one job."""

    def __init__(
        self,
        inference: Inference,
        judge: Judge,
        *,
        tokens: int,
        temperature: float,
        places: int = PLACES,
        saw: Callable[[int, float], None] = lambda texts, seconds: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`saw` hears how many texts were judged and how many seconds of the clock `now` that took."""
        self._inference, self._judge = inference, judge
        self._tokens, self._temperature = tokens, temperature
        self._places, self._saw, self._now = asyncio.Semaphore(places), saw, now
        self._plain: dict[Place, Plain] = {}

    async def write(self, wanted: Sequence[Wanted]) -> list[str]:
        """The texts, in order."""
        return await together(self._one(each) for each in wanted)

    async def plain(self, places: Sequence[Place]) -> list[Plain]:
        """What stands there unsteered; written once."""
        new = [place for place in dict.fromkeys(places) if place not in self._plain]
        texts = await self.write([Wanted(place) for place in new])
        likelihoods = await self._likelihoods(new, texts)
        for place, text, likelihood in zip(new, texts, likelihoods, strict=True):
            self._plain[place] = Plain(text, likelihood)
        return [self._plain[place] for place in places]

    async def losses(self, wanted: Sequence[Wanted]) -> list[tuple[str, float]]:
        """Texts with their loss in nats a token; infinite for those that the rules find broken. No judge is asked."""
        steered = [each for each in wanted if not each.is_plain]
        # Both at once: the more texts are written together, the less each of them costs.
        plain, new = await both(self.plain([each.place for each in wanted]), self._written(steered))
        written = iter(new)
        found = [
            (stands.text, stands.likelihood) if each.is_plain else next(written)
            for each, stands in zip(wanted, plain, strict=True)
        ]
        return [
            (text, float("inf") if fault(text) else stands.likelihood - likelihood)
            for stands, (text, likelihood) in zip(plain, found, strict=True)
        ]

    async def _written(self, wanted: Sequence[Wanted]) -> list[tuple[str, float]]:
        """Texts with their likelihoods; 0 for those that the rules find broken, which nobody reads."""
        texts = await self.write(wanted)
        whole = [n for n, text in enumerate(texts) if not fault(text)]
        read = await self._likelihoods([wanted[n].place for n in whole], [texts[n] for n in whole])
        known = dict(zip(whole, read, strict=True))
        return [(text, known.get(n, 0.0)) for n, text in enumerate(texts)]

    async def judged(self, wanted: Sequence[Wanted]) -> list[Sample]:
        """Texts with their scores. The judge sees only those that the rules let through."""
        started = self._now()
        written = await self.losses(wanted)
        plain = await self.plain([each.place for each in wanted])
        asked = {
            n: Asked(wanted[n].place.prompt, text, plain[n].text, plain[n].likelihood - loss, loss)
            for n, (text, loss) in enumerate(written)
            if loss <= HOPELESS_LOSS
        }
        scores = dict(zip(asked, await self._judge(list(asked.values())), strict=True))
        self._saw(len(wanted), self._now() - started)
        return [
            sample_of(each.place.prompt.question, each.place.seed, text, scores.get(n, _hopeless(loss)))
            for n, (each, (text, loss)) in enumerate(zip(wanted, written, strict=True))
        ]

    async def _one(self, wanted: Wanted) -> str:
        place = wanted.place
        async with self._places:
            return await self._inference.generate(
                Ask(
                    wanted.instead or place.prompt,
                    Steering(wanted.edits),
                    place.seed,
                    self._tokens,
                    self._temperature,
                )
            )

    async def _likelihoods(self, places: Sequence[Place], texts: Sequence[str]) -> list[float]:
        """Under the unsteered model, after the place's own prompt; 0 for an empty text."""
        filled = [n for n, text in enumerate(texts) if text.strip()]
        read: list[Likelihood] = []
        if filled:
            read = await self._inference.score([(places[n].prompt, texts[n]) for n in filled], Steering())
        found = [0.0] * len(texts)
        for n, likelihood in zip(filled, read, strict=True):
            found[n] = likelihood.per_token
        return found


def _hopeless(loss: float) -> Scores:
    return BROKEN if loss == float("inf") else Scores(0.0, 0.0, fluency_of(loss))
