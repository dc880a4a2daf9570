"""The steered texts of a search, each written once: a journal by question, feature and amount."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference.host import ModelHost
from services.inference.sae.base import Sae
from services.saelab.journal import Journal
from services.saelab.lab_engine import lab_engine, tell_all
from services.saelab.residual import HookedModel
from services.saelab.steered_texts import Opening, SteeredTexts


@dataclass(frozen=True, slots=True)
class Wanted:
    """One text."""

    question: str
    feature: int
    """-1 for the text that is not steered."""
    amount: float
    """Of the nudge, as a share of the median norm: strength x the strength constant. 0 for one not steered."""

    @classmethod
    def plain(cls, question: str) -> Wanted:
        """What the model writes unsteered."""
        return cls(question, -1, 0.0)

    @classmethod
    def nudged(cls, question: str, feature: int, amount: float) -> Wanted:
        """What it writes steered; amounts are told apart by four digits."""
        return cls(question, feature, round(amount, 4))


@dataclass(frozen=True, slots=True)
class Text:
    """What was written."""

    text: str
    likelihood: float
    """Mean log-likelihood a token under the unsteered model, in nats."""


class TextBook:
    """Writes what is missing, through our own engine, and keeps it: a kill loses one round of texts."""

    def __init__(
        self,
        path: Path,
        sae: Sae,
        folder: Path,
        model: str,
        hooked: Callable[[], HookedModel],
        *,
        new_tokens: int,
        rows: int,
        threads: int,
        device: str,
    ) -> None:
        """`folder` is the SAE's, `path` the journal's; `rows` texts are written side by side."""
        run: dict[str, Any] = {
            "weights": sae.weights_digest,
            "median_norm": sae.median_norm,
            "model": model,
            "new_tokens": new_tokens,
        }
        self._journal = Journal(path, run)
        self._constant = sae.strength_constant
        self._rows, self._new_tokens, self._hooked = rows, new_tokens, hooked
        self._engine: Callable[[], AbstractContextManager[ModelHost]] = lambda: lab_engine(
            model, folder, rows, threads, device
        )
        self._stack = ExitStack()
        self._writer: tuple[ModelHost, SteeredTexts] | None = None
        self._texts: dict[Wanted, Text] = {}
        self._take(self._journal.rows)

    def _take(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            key = Wanted(row["question"], row["feature"], row["amount"])
            self._texts[key] = Text(row["text"], row["likelihood"])

    def __getitem__(self, wanted: Wanted) -> Text:
        """A text that was written."""
        return self._texts[wanted]

    def write(
        self, wanted: Iterable[Wanted], progress: Callable[[int, int], None] = lambda done, total: None
    ) -> None:
        """Writes the texts that are not there yet. Raises SaeLabError, SetupError."""
        every = list(dict.fromkeys(wanted))
        missing = [one for one in every if one not in self._texts]
        missing.sort(key=lambda one: one.question)
        for start in range(0, len(missing), self._rows):
            progress(len(every) - len(missing) + start, len(every))
            rows = self._write(missing[start : start + self._rows])
            self._journal.add(rows)
            self._take(rows)
        progress(len(every), len(every))

    def _write(self, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
        if self._writer is None:
            host = self._stack.enter_context(self._engine())
            self._writer = host, SteeredTexts(host, self._hooked(), self._new_tokens)
        host, texts = self._writer
        prompts = {one.question: texts.prompt(Opening(one.question, is_chat=True)) for one in wanted}
        asks = [
            texts.ask(prompts[one.question], max(0, one.feature), one.amount / self._constant)
            for one in wanted
        ]
        told = list(zip(wanted, tell_all(host, asks), strict=True))
        rows = []
        for question, prompt in prompts.items():
            mine = [(one, text) for one, text in told if one.question == question]
            read = texts.read(prompt, [text for _, text in mine])
            likelihoods = [value for some in read for value in some.likelihood.tolist()]
            for (one, text), likelihood in zip(mine, likelihoods, strict=True):
                rows.append(
                    {
                        "question": question,
                        "feature": one.feature,
                        "amount": one.amount,
                        "text": texts.words(text),
                        "likelihood": likelihood,
                    }
                )
        return rows

    def close(self) -> None:
        """Stops the engine, closes the journal."""
        self._stack.close()
        self._journal.close()
