"""How well each feature steers, measured without labels: every live feature is nudged and the texts are read again.

For each strength and prompt the model writes greedily, nudged, through the engine that serves it. The unsteered model
then reads the text after the same prompt:

- gain: mean activation of the feature over the text's tokens (0 at attention sinks), in units of its scale, minus that
  of the text which the model writes unsteered. It is positive where the text has become one that the feature is about.
- loss: mean nats a token by which the unsteered model finds the text less likely than its own (the rule of
  steering_rules.py).
- distinct: share of different runs of three words (steering_rules.py's).

Each is the mean over the prompts. A dose is fluent by the limits there; steerability is the best gain among fluent
doses, 0 where there is none.

Cost, by default: 2 strengths x 2 prompts x 24 tokens a feature, which with the prompts (41 tokens together) and reading
again is about 280 tokens through the whole model: 1.1 million for 4,096 features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from services.inference.host import ModelHost
from services.inference.sae.base import SINK_NORMS, Sae
from services.saelab.feature_rows import Dose
from services.saelab.journal import Journal
from services.saelab.lab_engine import Told, lab_engine, tell_all
from services.saelab.residual import HookedModel
from services.saelab.steered_texts import Opening, SteeredTexts
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, distinct_runs


@dataclass(frozen=True, slots=True)
class SteerabilitySettings:
    """What is tried with each feature."""

    openings: tuple[Opening, ...] = (
        Opening("Tell me a short story.", is_chat=True),
        Opening("The other day I was", is_chat=False),
    )
    strengths: tuple[float, ...] = (0.4, 0.6)
    """In strength units."""
    new_tokens: int = 24
    """Length of each text."""
    rows: int = 64
    """Texts written side by side."""


@dataclass(frozen=True, slots=True)
class Steered:
    """What one feature does to the texts."""

    doses: tuple[Dose, ...]
    """In order of strength."""
    texts: tuple[tuple[str, ...], ...]
    """For each dose the text of each opening."""

    @property
    def steerability(self) -> float:
        """The best gain among fluent doses; 0 where there is none, or it is negative."""
        return max([0.0, *(dose.gain for dose in self.doses if is_fluent(dose))])


def is_fluent(dose: Dose) -> bool:
    """Whether the texts stay fluent, by the limits of steering_rules.py."""
    return dose.loss <= FLUENT_LOSS and dose.distinct >= FLUENT_DISTINCT


def measure_steerability(
    sae: Sae,
    folder: Path,
    model: str,
    features: Sequence[int],
    settings: SteerabilitySettings,
    hooked: Callable[[], HookedModel],
    path: Path,
    run: dict[str, Any],
    *,
    threads: int,
    device: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Steered]:
    """Measures features in the order given, going on from the journal at `path`; returns all that are in it.

    The SAE lies in `folder` and has scales. Raises RunMismatch, SaeLabError, SetupError.
    """
    journal = Journal(path, run)
    try:
        there = {row["feature"] for row in journal.rows}
        missing = [feature for feature in features if feature not in there]
        progress(len(features) - len(missing), len(features))
        together = max(1, settings.rows // (len(settings.openings) * len(settings.strengths)))
        with ExitStack() as stack:
            trials: _Trials | None = None
            for start in range(0, len(missing), together):
                if trials is None:
                    host = stack.enter_context(lab_engine(model, folder, settings.rows, threads, device))
                    trials = _Trials(sae, host, hooked(), settings)
                journal.add(trials.of(missing[start : start + together]))
                progress(len(features) - len(missing[start + together :]), len(features))
        return {row["feature"]: _steered(row) for row in journal.rows}
    finally:
        journal.close()


def _steered(row: dict[str, Any]) -> Steered:
    doses = tuple(Dose(**dose) for dose in row["doses"])
    return Steered(doses, tuple(tuple(texts) for texts in row["texts"]))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the unsteered model finds in a text."""

    activation: float
    """Mean over its tokens, in units of the feature's scale."""
    likelihood: float
    """Mean log-likelihood a token, in nats, the token that ends it included."""
    text: str


class _Trials:
    """Writes and reads texts."""

    def __init__(self, sae: Sae, host: ModelHost, model: HookedModel, settings: SteerabilitySettings) -> None:
        assert sae.median_norm is not None
        self._sae, self._host, self._settings = sae, host, settings
        self._limit = SINK_NORMS * sae.median_norm
        self._texts = SteeredTexts(host, model, settings.new_tokens)
        self._prompts = [self._texts.prompt(opening) for opening in settings.openings]
        own = tell_all(host, [self._texts.ask(prompt, 0, 0.0) for prompt in self._prompts])
        self._plain = [
            (text, next(self._texts.read(prompt, [text])))
            for prompt, text in zip(self._prompts, own, strict=True)
        ]

    def of(self, features: Sequence[int]) -> list[dict[str, Any]]:
        """The journal's rows of some features."""
        strengths = self._settings.strengths
        tries = [(feature, strength) for feature in features for strength in strengths]
        readings: list[list[_Reading]] = []
        plain: list[list[_Reading]] = []
        asks = [self._texts.ask(p, f, s) for p in self._prompts for f, s in tries]
        told = tell_all(self._host, asks)
        for number, prompt in enumerate(self._prompts):
            own = told[number * len(tries) : (number + 1) * len(tries)]
            readings.append(self._read(prompt, own, [feature for feature, _ in tries]))
            text, read = self._plain[number]
            plain.append(self._reading(text, read.h[0], torch.tensor(features), float(read.likelihood[0])))
        rows = []
        for place, feature in enumerate(features):
            doses, texts = [], []
            for nth, strength in enumerate(strengths):
                mine = [reading[place * len(strengths) + nth] for reading in readings]
                doses.append(_dose(strength, mine, [reading[place] for reading in plain]))
                texts.append([reading.text for reading in mine])
            rows.append({"feature": feature, "doses": [asdict(dose) for dose in doses], "texts": texts})
        return rows

    def _read(
        self, prompt: tuple[int, ...], texts: Sequence[Told], features: Sequence[int]
    ) -> list[_Reading]:
        """Each text with the feature that is its own."""
        found: list[_Reading] = []
        for read in self._texts.read(prompt, texts):
            for h, likelihood in zip(read.h, read.likelihood.tolist(), strict=True):
                own = torch.tensor([features[len(found)]])
                found += self._reading(texts[len(found)], h, own, likelihood)
        return found

    def _reading(
        self, text: Told, h: Float[Tensor, "length d_model"], features: Tensor, likelihood: float
    ) -> list[_Reading]:
        """One reading for each feature."""
        assert self._sae.scales is not None
        words = self._texts.words(text)
        own = h[: len(text.tokens)]
        live = own[own.norm(dim=-1) <= self._limit]
        if not len(live):
            return [_Reading(0.0, likelihood, words) for _ in features]
        pairs = live.repeat(len(features), 1), features.repeat_interleave(len(live))
        values = self._sae.weights.encode_pairs(*pairs).view(len(features), len(live))
        means = values.sum(1) / len(own) / self._sae.scales[features]
        return [_Reading(mean, likelihood, words) for mean in means.tolist()]


def _dose(strength: float, steered: Sequence[_Reading], plain: Sequence[_Reading]) -> Dose:
    pairs = list(zip(steered, plain, strict=True))
    return Dose(
        strength,
        gain=_mean(mine.activation - own.activation for mine, own in pairs),
        loss=_mean(own.likelihood - mine.likelihood for mine, own in pairs),
        distinct=_mean(distinct_runs(mine.text) for mine, _ in pairs),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
