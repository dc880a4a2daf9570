"""Finding features that steer: visibly towards a topic, at a dose that stays fluent. A small first search.

Candidates are the features most active on a topic's sentences beside the other topics'. Each is tried as a nudge in
both prompts at some strengths, greedily, and judged by the rule in `judged`. Failures are kept in the result.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from services.inference.sae.base import SINK_NORMS, Sae
from services.inference.sae.formats import load_sae
from services.saelab.activations import load_tokenizer
from services.saelab.errors import SaeLabError
from services.saelab.residual import HookedModel, without_sinks

TOPICS = Path(__file__).with_name("steering_topics.toml")
STEERING = "steering.json"
FLUENT_LOSS = 1.0
"""A steered text is fluent if the unsteered model finds it at most so many nats a token less likely than its own,"""
FLUENT_DISTINCT = 0.75
"""and at least this share of its runs of three words are different."""
VISIBLE_WORDS = 5.0
"""A feature steers visibly if topic words rise by at least so many in a hundred words."""

_SCORED_TOGETHER = 8
"""Texts whose logits are in memory together."""


@dataclass(frozen=True, slots=True)
class SteerSettings:
    """What to try."""

    sae: Path
    """Folder of the SAE, evaluated already: median norm and scales are needed. steering.json is written there."""
    model: str
    """Hub id, or folder of a Hugging Face checkpoint."""
    topics: Path = TOPICS
    """Topics with sentences and word stems, and the prompts."""
    candidates: int = 4
    """Features tried for each topic."""
    strengths: tuple[float, ...] = (0.4, 0.5, 0.6)
    """Nudges, in strength units."""
    new_tokens: int = 48
    """Length of each text."""
    rows: int = 48
    """Texts generated side by side."""
    device: str = "cpu"
    """Where the model computes: cpu, cuda."""
    threads: int = 2
    """CPU threads."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One steered text."""

    prompt: str
    plain: str
    """What the model says unsteered."""
    steered: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One feature at one strength."""

    topic: str
    feature: int
    strength: float
    gain: float
    """Topic words in a hundred words, above the unsteered texts."""
    loss: float
    """Nats a token by which the unsteered model finds the texts less likely than its own."""
    distinct: float
    """Share of different runs of three words."""
    samples: tuple[Sample, ...]

    @property
    def fluent(self) -> bool:
        """Whether the texts stay fluent, by the stated rule."""
        return self.loss <= FLUENT_LOSS and self.distinct >= FLUENT_DISTINCT

    @property
    def steers(self) -> bool:
        """Whether the texts move visibly to the topic and stay fluent."""
        return self.fluent and self.gain >= VISIBLE_WORDS


Progress = Callable[[int, int], None]


def find_steering_features(
    settings: SteerSettings,
    model: HookedModel | None = None,
    tokenizer: Any = None,
    progress: Progress = lambda done, total: None,
) -> list[Trial]:
    """The best trial of each topic, written to steering.json with its samples. Raises SaeLabError without scales."""
    torch.set_num_threads(settings.threads)
    sae = load_sae(settings.sae)
    if sae.median_norm is None or sae.scales is None:
        raise SaeLabError(f"{settings.sae} has no activation scales yet: run `hearth sae evaluate` first")
    described = tomllib.loads(settings.topics.read_text("utf-8"))
    topics: dict[str, Any] = described["topics"]
    model = model or HookedModel.load(settings.model, sae.hook_point, settings.device)
    tokenizer = tokenizer or load_tokenizer(settings.model)
    sentences = {name: topic["sentences"] for name, topic in topics.items()}
    found = candidates(sae, model, tokenizer, sentences, settings.candidates)
    tries = [(name, f, s) for name, features in found.items() for f in features for s in settings.strengths]
    writer = _Writer(settings, sae, model, tokenizer)
    plain = {prompt: writer.texts(prompt, [(0, 0.0)])[0] for prompt in described["prompts"]}
    steered: dict[str, list[tuple[str, float]]] = {prompt: [] for prompt in plain}
    for prompt, texts in steered.items():
        for start in range(0, len(tries), settings.rows):
            texts.extend(writer.texts(prompt, [(f, s) for _, f, s in tries[start : start + settings.rows]]))
            progress(sum(map(len, steered.values())), len(tries) * len(plain))
    trials = [
        _trial(
            name,
            f,
            s,
            topics[name]["stems"],
            plain,
            {prompt: texts[row] for prompt, texts in steered.items()},
        )
        for row, (name, f, s) in enumerate(tries)
    ]
    best = [judged([trial for trial in trials if trial.topic == name]) for name in topics]
    rows = [asdict(trial) | {"fluent": trial.fluent, "steers": trial.steers} for trial in best]
    (settings.sae / STEERING).write_text(
        json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return best


def judged(trials: Sequence[Trial]) -> Trial:
    """The trial with the largest gain among the fluent ones; among all where none is."""
    return max(trials, key=lambda trial: (trial.fluent, trial.gain))


def candidates(
    sae: Sae, model: HookedModel, tokenizer: Any, sentences: dict[str, list[str]], count: int
) -> dict[str, list[int]]:
    """For each topic the features whose mean activation, in activation units, most exceeds that of the other topics."""
    assert sae.scales is not None
    means = torch.stack([_mean_activation(sae, model, tokenizer, texts) for texts in sentences.values()])
    chosen = {}
    for row, name in enumerate(sentences):
        others = torch.cat([means[:row], means[row + 1 :]])
        chosen[name] = (means[row] - others.mean(0) - others.std(0)).topk(count).indices.tolist()
    return chosen


def _mean_activation(
    sae: Sae, model: HookedModel, tokenizer: Any, texts: list[str]
) -> Float[Tensor, " features"]:
    assert sae.scales is not None
    rows = []
    for text in texts:
        hidden = model.residuals(torch.tensor([tokenizer(text).input_ids], device=model.device))[0].float()
        used = torch.ones(len(hidden), dtype=torch.bool, device=hidden.device)
        used[0] = False
        rows.append(hidden[without_sinks(hidden.norm(dim=-1), used, sae.median_norm)].cpu())
    return sae.weights.encode(torch.cat(rows)).mean(0) / sae.scales


class _Writer:
    """Greedy texts, each with its own nudge at every token but attention sinks."""

    def __init__(self, settings: SteerSettings, sae: Sae, model: HookedModel, tokenizer: Any) -> None:
        self._settings, self._model, self._tokenizer = settings, model, tokenizer
        self._directions = torch.nn.functional.normalize(sae.weights.W_dec, dim=1).to(model.device)
        assert sae.median_norm is not None
        self._median = sae.median_norm
        self._unit = sae.strength_constant * sae.median_norm

    def texts(self, prompt: str, nudges: Sequence[tuple[int, float]]) -> list[tuple[str, float]]:
        """Each text with its mean log-likelihood a token under the unsteered model, in nats."""
        delta = torch.stack([self._directions[f] * (s * self._unit) for f, s in nudges])[:, None]

        def edit(h: Tensor) -> Tensor:
            spared = h.norm(dim=-1, keepdim=True) > SINK_NORMS * self._median
            if h.shape[1] > 1:
                spared[:, 0] = True
            return torch.where(spared, h, h + delta)

        messages = [{"role": "user", "content": prompt}]
        rendered = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(rendered, add_special_tokens=False, return_tensors="pt").input_ids
        ids = ids.expand(len(nudges), -1).to(self._model.device)
        generate: Any = self._model.model.generate
        with torch.inference_mode(), self._model.edited(edit):
            out = generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._settings.new_tokens,
                do_sample=False,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        start = ids.shape[1]
        likelihood = torch.cat([self._likelihood(rows, start) for rows in out.split(_SCORED_TOGETHER)])
        decoded = [self._tokenizer.decode(row[start:], skip_special_tokens=True).strip() for row in out]
        return list(zip(decoded, likelihood.tolist(), strict=True))

    def _likelihood(self, out: Int[Tensor, "texts length"], start: int) -> Float[Tensor, " texts"]:
        """Mean log-likelihood a token of what was written, from position `start` to the end token."""
        written = _until_end(out[:, start:], self._tokenizer.eos_token_id)
        logprobs = self._model.logits(out)[:, start - 1 : -1].float().log_softmax(-1)
        taken = logprobs.gather(-1, out[:, start:, None])[..., 0]
        return (taken * written).sum(1) / written.sum(1)


def _until_end(tokens: Tensor, end: int) -> Tensor:
    """1.0 for tokens up to the first end token, itself included."""
    ended = (tokens == end).cumsum(1)
    return ((ended == 0) | ((ended == 1) & (tokens == end))).float()


def _trial(
    topic: str,
    feature: int,
    strength: float,
    stems: list[str],
    plain: dict[str, tuple[str, float]],
    steered: dict[str, tuple[str, float]],
) -> Trial:
    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    return Trial(
        topic=topic,
        feature=feature,
        strength=strength,
        gain=mean([topic_words(steered[p][0], stems) - topic_words(plain[p][0], stems) for p in plain]),
        loss=mean([plain[p][1] - steered[p][1] for p in plain]),
        distinct=mean([distinct_runs(text) for text, _ in steered.values()]),
        samples=tuple(Sample(p, plain[p][0], steered[p][0]) for p in plain),
    )


def topic_words(text: str, stems: list[str]) -> float:
    """Words that begin with one of the stems, in a hundred words; stems of up to three letters must be the word."""
    words = re.findall(r"\w+", text.lower())
    long = tuple(stem for stem in stems if len(stem) > 3)
    hits: int = sum(word.startswith(long) or word in stems for word in words)
    return 100.0 * hits / max(1, len(words))


def distinct_runs(text: str, length: int = 3) -> float:
    """Share of different runs of `length` words; 0 for a text too short to have one."""
    words = re.findall(r"\w+", text.lower())
    runs = [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]
    return len(set(runs)) / len(runs) if runs else 0.0
