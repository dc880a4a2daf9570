"""Finding for everyday topics the feature that steers best: visibly towards the topic, at a dose that stays fluent.

Three rounds choose: all candidates at two doses on the first questions, the best of them at all doses, the best of
those on more questions. Each round goes by steering_choice.py. What is reported is then measured on other questions:
the choice cannot flatter it. Texts are greedy, and judged by steering_rules.py. Failures are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from services.encoder.minilm import Encode
from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.sae.sidefile import write_side_file
from services.saelab.activations import load_tokenizer
from services.saelab.errors import SaeLabError
from services.saelab.feature_rows import Dose
from services.saelab.outputs import told_if_full, write_json
from services.saelab.residual import HookedModel
from services.saelab.steering_book import TextBook, Wanted
from services.saelab.steering_candidates import CandidateSettings, candidates
from services.saelab.steering_choice import safest
from services.saelab.steering_found import (
    STEERING,
    Found,
    Sample,
    calibrated_constant,
    named,
    rows_of,
)
from services.saelab.steering_report import write_report
from services.saelab.steering_rules import Topic, Topics, distinct_runs, read_topics

TOPICS = Path(__file__).with_name("steering_topics.toml")
SCREENING = (0.4, 0.5)
"""Strengths at which candidates are tried first,"""
SCREENING_QUESTIONS = 3
"""on so many of the questions to choose by."""
CALIBRATED_WITHIN = 0.05
"""A strength constant that is off by no more than this share is left as it is."""


@dataclass(frozen=True, slots=True)
class SteerSettings:
    """What to try."""

    sae: Path
    """Folder of the SAE, evaluated already: median norm and scales are needed. steering.json is written there."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    journal: Path
    """File that keeps the texts: a killed search goes on."""
    topics: Path = TOPICS
    """Topics with sentences and word stems, and the questions."""
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    """Features that are tried for each topic."""
    semifinalists: int = 4
    """Candidates tried at all doses,"""
    finalists: int = 2
    """and of these, those tried on all questions to choose by."""
    strengths: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7)
    """Doses, in strength units."""
    calibrate: bool = False
    """Set the strength constant so that 0.5 is the middle of the best doses, and search again with it."""
    new_tokens: int = 48
    """Length of each text."""
    rows: int = 32
    """Texts written side by side."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 2
    """CPU threads."""


Progress = Callable[[str, int, int], None]
"""Called with the stage, and how many of how many of its texts are there."""


@dataclass(slots=True)
class Search:
    """One search: what is tried, and the texts that came of it."""

    settings: SteerSettings
    sae: Sae
    listed: Topics
    book: TextBook
    chosen: dict[str, list[int]]
    """Candidates of each topic."""
    progress: Progress = field(default=lambda stage, done, total: None)

    def run(self) -> list[Found]:
        """The best feature of each topic, measured on the proving questions."""
        doses, topics, few = (
            self.settings.strengths,
            self.listed.topics,
            self.listed.choosing[:SCREENING_QUESTIONS],
        )
        plain = [Wanted.plain(question) for question in (*self.listed.choosing, *self.listed.proving)]
        self.book.write(plain, lambda done, total: self.progress("unsteered texts", done, total))
        left = self._round("candidates tried", self.chosen, SCREENING, few, self.settings.semifinalists)
        left = self._round("doses tried", left, doses, few, self.settings.finalists)
        left = self._round("finalists tried", left, doses, self.listed.choosing, 1)
        picked = {topic.name: self._picked(topic, left[topic.name]) for topic in topics}
        self._write(
            "texts to prove by", self.listed.proving, [(f, s) for f, _ in picked.values() for s in doses]
        )
        return [self._found(topic, *picked[topic.name]) for topic in topics]

    def _round(
        self,
        stage: str,
        features: dict[str, list[int]],
        strengths: Sequence[float],
        questions: Sequence[str],
        kept: int,
    ) -> dict[str, list[int]]:
        """Tries each topic's features, and keeps the best of them."""
        self._write(
            stage, questions, [(f, s) for tried in features.values() for f in tried for s in strengths]
        )
        best = {}
        for topic in self.listed.topics:
            chances = {
                feature: safest([self.dose(topic, feature, s, questions) for s in strengths])[1]
                for feature in features[topic.name]
            }
            best[topic.name] = sorted(chances, key=lambda feature: chances[feature], reverse=True)[:kept]
        return best

    def _write(
        self,
        stage: str,
        questions: Sequence[str],
        tried: Sequence[tuple[int, float]],
    ) -> None:
        wanted = [Wanted.nudged(q, f, self._amount(s)) for f, s in tried for q in questions]
        self.book.write(wanted, lambda done, total: self.progress(stage, done, total))

    def _amount(self, strength: float) -> float:
        return strength * self.sae.strength_constant

    def _picked(self, topic: Topic, features: Sequence[int]) -> tuple[int, float]:
        (feature,) = features
        doses = [self.dose(topic, feature, s, self.listed.choosing) for s in self.settings.strengths]
        return feature, safest(doses)[0]

    def dose(self, topic: Topic, feature: int, strength: float, questions: Sequence[str]) -> Dose:
        """What a nudge does for a topic, over some questions whose texts are written."""
        pairs = [
            (self.book[Wanted.nudged(q, feature, self._amount(strength))], self.book[Wanted.plain(q)])
            for q in questions
        ]

        def mean(values: list[float]) -> float:
            return sum(values) / len(values)

        return Dose(
            strength,
            gain=mean([topic.words(steered.text) - topic.words(plain.text) for steered, plain in pairs]),
            loss=mean([plain.likelihood - steered.likelihood for steered, plain in pairs]),
            distinct=mean([distinct_runs(steered.text) for steered, _ in pairs]),
        )

    def _found(self, topic: Topic, feature: int, strength: float) -> Found:
        samples = []
        for question in self.listed.proving:
            steered = self.book[Wanted.nudged(question, feature, self._amount(strength))]
            samples.append(Sample(question, self.book[Wanted.plain(question)].text, steered.text))
        doses = tuple(self.dose(topic, feature, s, self.listed.proving) for s in self.settings.strengths)
        return Found(topic.name, feature, strength, doses, tuple(samples), len(self.chosen[topic.name]))


def find_steering_features(
    settings: SteerSettings,
    encode: Encode | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> list[Found]:
    """The best feature of each topic, written to steering.json and steering.md with its texts.

    `encode` makes the second judge. Raises SaeLabError without scales.
    """
    torch.set_num_threads(settings.threads)
    sae = load_sae(settings.sae)
    if sae.median_norm is None or sae.scales is None:
        raise SaeLabError(f"{settings.sae} has no activation scales yet: run `hearth sae evaluate` first")
    listed = read_topics(settings.topics)
    topics = listed.topics
    hooked = HookedModel.load(settings.model, sae.hook_point, settings.device)
    tokenizer = load_tokenizer(settings.model)
    chosen = candidates(sae, settings.sae, hooked, tokenizer, topics, settings.candidates)
    book = TextBook(
        settings.journal,
        sae,
        settings.sae,
        settings.model,
        lambda: hooked,
        new_tokens=settings.new_tokens,
        rows=settings.rows,
        threads=settings.threads,
        device=settings.device,
    )
    try:
        search = Search(settings, sae, listed, book, chosen, progress)
        found = search.run()
        constant = calibrated_constant(found, sae.strength_constant)
        if settings.calibrate and abs(constant / sae.strength_constant - 1) > CALIBRATED_WITHIN:
            sae = search.sae = replace(sae, strength_constant=constant)
            found = search.run()
            with told_if_full(settings.sae):
                write_side_file(settings.sae, sae)
    finally:
        book.close()
    if encode is not None:
        found = named(found, topics, encode)
    rows = rows_of(found, topics)
    write_json(settings.sae / STEERING, rows)
    write_report(settings.sae, sae.id, sae.strength_constant, rows)
    return found
