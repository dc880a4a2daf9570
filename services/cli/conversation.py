"""A conversation held twice: once plain, once steered, each with its own history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.cli.answers import Answer
from services.cli.questions import Generation, Message, Sampling
from services.cli.syntax import steering_text
from services.steering.edits import Steering


@dataclass(slots=True)
class Conversation:
    """What was said so far on each side, and how it goes on."""

    steering: Steering
    sampling: Sampling
    compare: bool = True
    """Whether a steered answer is shown beside the plain one."""
    report: bool = True
    """Whether to ask what the edits delivered."""
    receipts: bool = False
    """Whether to ask for receipts of both answers."""
    plain: list[Message] = field(default_factory=list)
    steered: list[Message] = field(default_factory=list)

    def begin(self, system: str = "") -> None:
        """Forgets what was said; the system message comes first."""
        first = [Message("system", system)] if system else []
        self.plain, self.steered = list(first), list(first)

    def hear(self, text: str) -> None:
        """Adds what the user says to both sides."""
        self.plain.append(Message("user", text))
        self.steered.append(Message("user", text))

    def remember(self, answers: Sequence[Answer]) -> None:
        """Adds the answers, each to its side; a side that was not asked takes the other's."""
        self.plain.append(Message("assistant", answers[0].text))
        self.steered.append(Message("assistant", answers[-1].text))

    def unsay(self) -> None:
        """Takes back what the user said last, where it was not answered."""
        self.plain.pop()
        self.steered.pop()

    def questions(self) -> list[tuple[Answer, Generation]]:
        """The generations to ask for: plain first, then steered."""
        asked = []
        if self.compare or self.steering.empty:
            plain = Generation(tuple(self.plain), Steering(), self.sampling, receipt=self.receipts)
            asked.append((Answer("Plain"), plain))
        if not self.steering.empty:
            answer = Answer(f"Steered: {steering_text(self.steering)}", steered=True)
            steered = Generation(
                tuple(self.steered), self.steering, self.sampling, self.report, self.receipts
            )
            asked.append((answer, steered))
        return asked
