"""The judges by name: what a search for edits maximises.

A judge is an async callable from texts to scores in 0..1, made for one job. Who adds one says in its docstring what
0 and 1 mean and which measurement shows that it agrees with people (gold.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from services.autosteer.objective import Scores
from services.autosteer.spec import JudgeChoice, Prompt
from services.autosteer.upstream import Inference

Encode = Callable[[Sequence[str]], Float[NDArray[np.float32], "texts width"]]
"""The sentence encoder: vectors of norm 1."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A text to be judged, beside the one that the unsteered model writes to the same prompt with the same seed."""

    prompt: Prompt
    text: str
    plain: str
    likelihood: float
    """Mean log probability of its tokens under the unsteered model, in nats."""
    loss: float
    """Nats a token by which the unsteered model finds the text less likely than its own."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What is wanted, in words and examples."""

    behavior: str
    """In words; made of the examples where there are none."""
    instruction: str
    """As a system prompt says it."""
    positive: tuple[str, ...] = ()
    """What texts that show it say."""
    negative: tuple[str, ...] = ()
    """What texts that do not say."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What judges are made of."""

    brief: Brief
    encode: Encode
    inference: Inference
    key: str = ""
    """Bearer token for an endpoint; never stored."""


class Judge(Protocol):
    """Scores texts. Raises DependencyUnavailable where it needs something that does not answer."""

    @property
    def name(self) -> str:
        """For reports."""

    async def __call__(self, asked: Sequence[Asked]) -> list[Scores]:
        """The scores of each text, in order."""

    async def close(self) -> None:
        """Lets go of connections."""


MakeJudge = Callable[[JudgeChoice, Bench], Judge]
REGISTERED: dict[str, MakeJudge] = {}
"""What has registered itself; roster.py sees to it that all have."""


def judge(name: str) -> Callable[[MakeJudge], MakeJudge]:
    """Registers what makes a judge."""

    def register(make: MakeJudge) -> MakeJudge:
        if name in REGISTERED:
            raise ValueError(f"judge {name!r} is registered twice; registered: {', '.join(REGISTERED)}")
        REGISTERED[name] = make
        return make

    return register
