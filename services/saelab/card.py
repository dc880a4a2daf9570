"""The model card: README.md beside an SAE, made from the files that the steps left there and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.inference.sae.formats import load_sae
from services.saelab.curves import CURVES
from services.saelab.errors import SaeLabError
from services.saelab.evaluate import METRICS
from services.saelab.export import TRAINING
from services.saelab.steering_found import STEERING
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, VISIBLE_WORDS

CARD = "README.md"


def write_card(folder: Path) -> Path:
    """Writes README.md from training.json, metrics.json and steering.json (where there is one).

    Raises SaeLabError where a step has not been run.
    """
    training = _read(folder / TRAINING, "train")
    metrics = _read(folder / METRICS, "evaluate")
    steering = _read(folder / STEERING, "steer") if (folder / STEERING).exists() else []
    sae = load_sae(folder)
    parts = [
        _head(sae.id, training, metrics),
        _quality(metrics),
        _steering(steering, sae.strength_constant),
        _weaknesses(training, metrics),
        _recipe(training, (folder / CURVES).exists()),
        _sources(training),
    ]
    path = folder / CARD
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")
    return path


def _read(path: Path, step: str) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SaeLabError(f"{path} is not there: run `hearth sae {step}` first") from None
    except ValueError as error:
        raise SaeLabError(f"{path} is broken ({error}): run `hearth sae {step}` again") from error


def _head(sae_id: str, training: dict[str, Any], metrics: dict[str, Any]) -> str:
    collected, recipe, dictionary = training["activations"], training["train"], metrics["dictionary"]
    return f"""# {sae_id}

<!-- Written by `hearth sae card` from training.json, metrics.json and steering.json. Do not edit. -->

A sparse autoencoder of {recipe["features"]:,} features on the residual stream of `{collected["model"]}`
after the block `{collected["hook_point"]}`, trained by this repository's own pipeline: BatchTopK with
k = {recipe["k"]}, saved as JumpReLU in SAELens' format in 16 bits. It reads the stream in its own units;
decoder rows have norm 1. `hearth.safetensors` holds the activation scale of each feature (99.9th percentile
of its non-zero activations over {dictionary["reference_tokens"]:,} tokens), `hearth.json` the median norm of
the stream ({dictionary["median_norm"]:.1f}).

| | |
|---|---|
| different training tokens | {training["tokens_distinct"]:,} |
| training tokens seen | {training["tokens_seen"]:,}, in {recipe["epochs"]} passes |
| minutes of training | {training["minutes"]:.0f}, on {training["threads"]} CPU threads of a busy machine |
| minutes of collecting activations | {_minutes(training)} |
| seed | {recipe["seed"]} |"""


def _minutes(training: dict[str, Any]) -> str:
    seconds = training["collection_seconds"]
    return f"{seconds / 60:.0f}" if seconds else "not recorded"


_ROWS: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
    ("documents", lambda m: f"{m['documents']:,}"),
    ("tokens", lambda m: f"{m['tokens']:,}"),
    ("variance explained", lambda m: f"{m['variance_explained']:.3f}"),
    ("L0", lambda m: f"{m['l0']:.1f}"),
    ("tokens for cross-entropy", lambda m: f"{m['cross_entropy_tokens']:,}"),
    ("cross-entropy of the model", lambda m: f"{m['cross_entropy']:.3f}"),
    ("with the reconstruction spliced in", lambda m: f"{m['cross_entropy_spliced']:.3f}"),
    ("change by it", lambda m: f"{m['cross_entropy_spliced'] - m['cross_entropy']:+.3f}"),
    ("with the mean in its place", lambda m: f"{m['cross_entropy_ablated']:.3f}"),
    ("loss recovered", lambda m: f"{100 * m['loss_recovered']:.1f} %"),
]


def _quality(metrics: dict[str, Any]) -> str:
    kinds = [(kind, metrics[kind]) for kind in ("plain", "chat") if kind in metrics]
    table = "\n".join(f"| {name} | " + " | ".join(value(m) for _, m in kinds) + " |" for name, value in _ROWS)
    heads = " | ".join(f"{kind} text" for kind, _ in kinds)
    d = metrics["dictionary"]
    return f"""## Quality

On whole documents that were never trained on. First positions, attention sinks (norm over four medians) and
the fixed system prompt are left out.

| held out | {heads} |
|---|{"---|" * len(kinds)}
{table}

Over {d["reference_tokens"]:,} tokens of the training corpus:

| the dictionary | |
|---|---|
| dead features (never active) | {100 * d["dead"]:.2f} % |
| dense features (active on over 10 % of tokens) | {100 * d["dense"]:.2f} % |
| median density | {100 * d["median_density"]:.3f} % |
| median cosine with the nearest other decoder direction | {d["decoder_cosine_median"]:.2f} |
| features with another within a cosine of 0.7 | {100 * d["decoder_cosine_above_07"]:.1f} % |"""


def _steering(steering: list[dict[str, Any]], constant: float) -> str:
    if not steering:
        return ""
    good = sum(row["steers"] for row in steering)
    table = "\n".join(_steering_row(row) for row in steering)
    samples = "\n\n".join(_sample(row) for row in steering)
    return f"""## Features that steer

The best feature and strength found for each of {len(steering)} topics by `hearth sae steer`; {good} of them
steer. Strength 1.0 is {constant} times the median norm along the decoder direction, at all tokens but sinks.
Texts are greedy. The rule: **fluent** if the unsteered model finds the texts at most {FLUENT_LOSS} nats a token
less likely than its own and at least {100 * FLUENT_DISTINCT:.0f} % of their runs of three words differ; **steers** if
fluent and topic words rise by at least {VISIBLE_WORDS:.0f} in a hundred words. Candidates come from a few sentences
a topic; nothing says that they are the best features there are.

| topic | feature | strength | topic words in 100 | nats | steers |
|---|---|---|---|---|---|
{table}

<details><summary>Samples, failures too</summary>

{samples}

</details>"""


def _steering_row(row: dict[str, Any]) -> str:
    verdict = "yes" if row["steers"] else "no" if row["fluent"] else "no (not fluent)"
    numbers = f"{row['feature']} | {row['strength']:.1f} | {row['gain']:+.0f} | {row['loss']:.2f}"
    return f"| {row['topic']} | {numbers} | {verdict} |"


def _sample(row: dict[str, Any]) -> str:
    fails = "" if row["steers"] else " (does not steer by the rule)"
    lines = [f"**{row['topic']}**: feature {row['feature']} at {row['strength']:.1f}{fails}", ""]
    for sample in row["samples"]:
        plain, steered = (" ".join(sample[key].split()) for key in ("plain", "steered"))
        lines += [f"- *{sample['prompt']}*", f"  - plain: {plain}", f"  - steered: {steered}"]
    return "\n".join(lines)


def _weaknesses(training: dict[str, Any], metrics: dict[str, Any]) -> str:
    left = 100 * (1 - metrics["plain"]["variance_explained"])
    features = training["train"]["features"]
    millions = training["tokens_distinct"] / 1e6
    redundant = metrics["dictionary"]["decoder_cosine_above_07"]
    lines = [
        f"- {millions:.1f} million different training tokens are little for {features:,} features: "
        "many are of words and grammar, few of rare concepts.",
        f"- {left:.0f} % of the variance is left over. Steering adds to the stream and so keeps this rest; "
        "inspecting does not see it.",
        "- The corpus is encyclopaedia, reference, scripture, games and old books. Everyday dialogue and jokes are",
        "  scarce; conversations are made from templates around found text, not written by people.",
        "- English, with a few per cent each of French and Spanish; other languages hardly occur.",
        "- Attention sinks and first positions were left out of training: activations there mean nothing.",
    ]
    if redundant > 0.02:
        lines.append(
            f"- {100 * redundant:.0f} % of features are near another one (decoder cosine above 0.7)."
        )
    return "## Known weaknesses\n\n" + "\n".join(lines)


def _recipe(training: dict[str, Any], curves: bool) -> str:
    commands = "\n".join(training["commands"])
    picture = f"\n\n![Curves of the training run]({CURVES})" if curves else ""
    settings = "\n".join(f"| {key} | {value} |" for key, value in training["train"].items())
    return f"""## How it was made

```sh
{commands}
```

| recipe | |
|---|---|
{settings}{picture}"""


def _sources(training: dict[str, Any]) -> str:
    corpus = training["corpus"]
    if not corpus.get("packages"):
        return ""
    rows = []
    for name, package in corpus["packages"].items():
        characters = corpus["train"].get(name, {}).get("characters", 0)
        rows.append(
            f"| {name} | {package['genre']} | {characters:,} | {package['licence']} | `{package['file']}` |"
        )
    chat = corpus["train"].get("chat", {"documents": 0, "characters": 0})
    table = "\n".join(rows)
    return f"""## Corpus

Text inside freely licensed packages; it is not part of this repository. Checksums are in training.json.
{chat["documents"]:,} conversations ({chat["characters"]:,} characters) were made from further documents.
Activations were collected from a random part of the windows, as far as the training tokens above go.

| source | genre | characters as text | licence | package |
|---|---|---|---|---|
{table}"""
