"""The model card: README.md beside an SAE, made from the files that the steps left there and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from services.inference.embedded import EMBEDDED_MODEL_ID
from services.inference.sae.formats import load_sae
from services.saelab import feature_table, label_table
from services.saelab.curves import CURVES
from services.saelab.errors import SaeLabError
from services.saelab.evaluation_plots import PLOTS
from services.saelab.evaluation_report import METRICS, added, sections
from services.saelab.export import TRAINING
from services.saelab.feature_table import FEATURES
from services.saelab.label.report import REPORT as LABEL_REPORT
from services.saelab.label.summary import by_class, tested
from services.saelab.label_table import LABELS
from services.saelab.outputs import write_text
from services.saelab.steering_found import STEERING
from services.saelab.steering_report import REPORT, RULE
from services.saelab.steering_report import summary as steering_summary
from services.saelab.steering_report import table as steering_table

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
        *sections(metrics),
        _plots(folder),
        _prototype(training, metrics),
        _labels(folder),
        _steering(steering, sae.strength_constant),
        _weaknesses(training, metrics),
        _recipe(training, (folder / CURVES).exists()),
        _sources(training),
    ]
    path = folder / CARD
    write_text(path, "\n\n".join(part for part in parts if part) + "\n")
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
| minutes of training | {training["minutes"]:.1f}, on {_machine(training)} |
| minutes of collecting activations | {_minutes(training)} |
| seed | {recipe["seed"]} |"""


def _plots(folder: Path) -> str:
    if not (folder / PLOTS).exists():
        return ""
    return f"![Densities, positions, dense features, probes]({PLOTS})"


def _machine(training: dict[str, Any]) -> str:
    return training.get("gpu") or f"{training['threads']} CPU threads of a busy machine"


def _minutes(training: dict[str, Any]) -> str:
    seconds = training["collection_seconds"]
    return f"{seconds / 60:.1f}" if seconds else "not recorded"


def _prototype(training: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The SAE beside the first attempt at one for the embedded model."""
    if training["activations"]["model"] != EMBEDDED_MODEL_ID:
        return ""
    plain, chat = metrics["plain"], metrics.get("chat")
    places = metrics.get("places")
    rows = [
        ("features, k", f"{training['train']['features']:,}, {training['train']['k']}", "4,096, 32"),
        ("training tokens seen", f"{training['tokens_seen'] / 1e6:.1f} million", "1.9 million"),
        ("variance explained", f"{plain['variance_explained']:.3f}", ".818"),
        ("L0", f"{plain['l0']:.1f}", "32.3"),
        ("cross-entropy added, plain text", f"{added(plain):+.3f}", "+.180"),
        ("cross-entropy added, chat", f"{added(chat):+.3f}" if chat else "", "+.106"),
        ("loss recovered", f"{100 * plain['loss_recovered']:.1f} %", "97.4 %"),
        ("template-only features", f"{100 * places['template_only']:.2f} %" if places else "", "2.3 %"),
    ]
    table = "\n".join(f"| {name} | {own} | {theirs} |" for name, own, theirs in rows)
    return f"""### Beside the prototype

The best run of the prototype whose recipe this is (block 15, 38,000 held-out tokens of another corpus).

| | this SAE | the prototype |
|---|---|---|
{table}"""


def _labels(folder: Path) -> str:
    if not ((folder / FEATURES).exists() and (folder / LABELS).exists()):
        return ""
    table = feature_table.read(folder)
    live = [row for row in table.rows(columns=("steerability",)) if row.is_live]
    classes = {row.index: row.feature_class for row in live}
    measured = [row.steerability for row in live if row.steerability is not None]
    steer = (
        f"\n\n`hearth sae features` nudged {len(measured):,} live features: "
        f"{sum(gain > 0 for gain in measured):,} gain in texts that stay fluent (steerability above 0)."
        if measured
        else ""
    )
    labels = [label for label in label_table.read(folder) if label.index in classes]
    about = (
        f", with their evidence: [{LABEL_REPORT}]({LABEL_REPORT})" if (folder / LABEL_REPORT).exists() else ""
    )
    return f"""## Labels

Made and tested offline, without a language model; Hearth's docs/labels.md says how. Features drawn at
random{about}.

{tested(labels, len(classes))}

{by_class(labels, classes)}{steer}"""


def _steering(steering: list[dict[str, Any]], constant: float) -> str:
    if not steering or "doses" not in steering[0]:
        return ""
    return f"""## Features that steer

{steering_summary(steering, constant)}

{RULE}

{steering_table(steering)}

The texts, failures too, and the doses: [{REPORT}]({REPORT})."""


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
    commit = training["corpus"].get("commit")
    older = (
        f"\nThe corpus is that of commit {commit}; the table of sources has grown since.\n" if commit else ""
    )
    return f"""## How it was made

```sh
{commands}
```
{older}
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
