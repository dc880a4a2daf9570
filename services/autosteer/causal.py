"""The causal filter: what becomes likelier when a candidate is nudged, one batch of reads for each, nothing generated.

A candidate's lift is the rise of the positive texts' log probability a token, less that of the negative texts: what the
nudge promotes beyond what it does to any text. Its sign is the lift's. What the negative texts lose is the price: the
model's confidence on ordinary text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from services.autosteer.candidates import leading
from services.autosteer.doses import nudge
from services.autosteer.drafting import Pair
from services.autosteer.objective import mean
from services.autosteer.spec import Candidate, Prompt
from services.autosteer.together import together
from services.autosteer.upstream import Inference, Likelihood
from services.autosteer.wording import said_in
from services.steering.edits import Steering

PROBE_SHARE = 0.25
"""Of the norm: a dose at which texts stay fluent."""
PROBE_WORDS = 14
"""Of each text so many words are read."""
TOGETHER = 4
"""Candidates that are read at a time; each is a batch."""
FULL_LIFT = 0.5
"""Nats a token that count as the best there is."""
LOST_MOST = 2.0
"""A candidate that takes more nats a token from ordinary text breaks the model."""
TURNED = -0.3
"""A lift below this turns the sign, but for the top hit's: nobody would take that down. Nearer to 0 it is chance."""
TRUSTED = 2
"""The best candidates by meaning stay whatever their lift: a probe of few texts may err."""
_BEFORE = Prompt(text="Answer:")


async def causal_filter(
    candidates: Sequence[Candidate],
    pairs: Sequence[Pair],
    texts: int,
    keep: int,
    strength_constant: float,
    inference: Inference,
    told: Callable[[int, int], Awaitable[None]],
    goes_on: Callable[[], bool] = lambda: True,
) -> list[Candidate]:
    """The best `keep` of the candidates, each with its lift and sign; `told` hears how many are done of how many.

    Where `goes_on` says that time is out, those that are left stay as they are, without a lift.
    """
    positive = _probes([pair.positive for pair in pairs], texts)
    negative = _probes([pair.negative for pair in pairs], texts)
    read = [(_BEFORE, text) for text in (*positive, *negative)]
    if not positive or not negative or not candidates:
        return leading(candidates, keep)
    plain = await inference.score(read, Steering())
    places = asyncio.Semaphore(TOGETHER)
    done = 0

    async def one(candidate: Candidate) -> Candidate:
        nonlocal done
        async with places:
            if not goes_on():
                return candidate
            edits = nudge(candidate.feature, PROBE_SHARE, strength_constant)
            steered = await inference.score(read, Steering(edits))
        done += 1
        await told(done, len(candidates))
        return probed(candidate, plain, steered, len(positive))

    found = await together(one(candidate) for candidate in candidates)
    return kept(found, keep)


def probed(
    candidate: Candidate, plain: Sequence[Likelihood], steered: Sequence[Likelihood], positives: int
) -> Candidate:
    """The candidate with its lift, its sign and a score that counts both meaning and effect."""
    rises = [after.per_token - before.per_token for before, after in zip(plain, steered, strict=True)]
    up, down = mean(rises[:positives]), mean(rises[positives:])
    lift = up - down
    sign = -1 if lift < TURNED and not candidate.top_hit else 1
    effect = min(1.0, sign * lift / FULL_LIFT)
    broken = -down > LOST_MOST
    return replace(
        candidate, lift=lift, sign=sign, score=candidate.score + 0.5 * effect - (1.0 if broken else 0.0)
    )


def kept(candidates: Sequence[Candidate], keep: int) -> list[Candidate]:
    """The best by score; the first few that came in stay in any case. `candidates` come best by meaning first."""
    trusted = list(candidates[: min(TRUSTED, keep)])
    chosen = leading([*trusted, *sorted(candidates[len(trusted) :], key=_by_score)], keep)
    return sorted(chosen, key=_by_score)


def _by_score(candidate: Candidate) -> tuple[float, int]:
    return -candidate.score, candidate.feature.index


def _probes(prompts: Sequence[Prompt], count: int) -> list[str]:
    """The beginnings of the first texts that are different."""
    said = dict.fromkeys(" ".join(said_in(prompt).split()[:PROBE_WORDS]) for prompt in prompts)
    return [f" {text}" for text in said if text][:count]
