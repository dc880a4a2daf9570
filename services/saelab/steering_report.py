"""steering.md: for each topic the best feature found and what it does to texts, and how the doses do; failures too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.saelab.feature_rows import Dose
from services.saelab.outputs import save_figure, write_text
from services.saelab.steering_found import GOOD_DOSE, NAMED_WITHIN, ranked
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, VISIBLE_WORDS, is_fluent

REPORT = "steering.md"
CURVE = "steering.png"

Rows = Sequence[dict[str, Any]]
"""Those of steering.json."""

RULE = f"""**Fluent**: the unsteered model finds the texts at most {FLUENT_LOSS} nats a token less likely than its own,
and at least {FLUENT_DISTINCT:.0%} of their runs of three words differ. **Steers**: fluent, and words of the topic rise
by at least {VISIBLE_WORDS:.0f} in a hundred words. The topics, their words, the questions and the sentences by which
candidates are found are in services/saelab/steering_topics.toml."""


def write_report(folder: Path, sae_id: str, constant: float, rows: Rows) -> Path:
    """Writes steering.md and steering.png into the SAE's folder."""
    plot_doses(folder / CURVE, rows, sae_id)
    pairs = "\n\n".join(_pair(row) for row in rows)
    text = f"""# What steers: {sae_id}

<!-- Written by `hearth sae steer` from what it measured. Do not edit. -->

{summary(rows, constant)}

{RULE}

{table(rows)}

## Doses

{_doses(rows)}

![Gain and loss by dose]({CURVE})

## Texts

Answers to questions by which nothing was chosen, at the chosen dose, greedy, cut at the same length. Failures are shown
like the others.

{pairs}
"""
    path = folder / REPORT
    write_text(path, text)
    return path


def summary(rows: Rows, constant: float) -> str:
    """What came of it, in a few sentences."""
    moving = [row for row in rows if row["steers"]]
    null = sum(row["moved_by_others"] for row in rows) / len(rows)
    lines = [
        f"Of {len(rows)} everyday concepts, **{len(moving)} steer** with the best feature found, by the rule below.",
        "Features and doses were chosen by the answers to some questions; what is reported was measured on others.",
        f"The null: by the same rule, {100 * null:.1f} % of the features of *other* concepts move texts to a concept.",
    ]
    if all(row["named"] is not None for row in rows):
        first = sum(row["named"] == 1 for row in moving)
        whole = sum(row["fluent"] and row["named"] == 1 for row in rows)
        near = sum(row["named"] <= NAMED_WITHIN for row in moving)
        lines.append(
            f"A second judge, a sentence encoder that knows neither the words nor the feature, places the own concept "
            f"first among {len(rows)} for {first} of the {len(moving)}, and among the first {NAMED_WITHIN} for {near}. "
            f"Counting no words, fluent texts that it finds nearest to their concept: {whole} of {len(rows)}."
        )
    good = sum(_place(row, GOOD_DOSE) <= 2 for row in moving)
    lines.append(
        f"Strength 1.0 is {constant} times the median norm along the decoder direction, at all tokens but sinks; so "
        f"{GOOD_DOSE} is the best or next-best of {len(rows[0]['doses'])} doses for {good} of these {len(moving)}."
    )
    return "\n".join(lines)


def table(rows: Rows) -> str:
    """One line for each topic."""
    names = ("concept", "feature", "strength", "words in 100", "nats", "steers", "second judge")
    head = f"| {' | '.join(names)} |\n|{'---|' * len(names)}"
    return "\n".join([head, *(_line(row) for row in rows)])


def verdict(row: dict[str, Any]) -> str:
    """Whether it steers, in a word or three."""
    return "yes" if row["steers"] else "no" if row["fluent"] else "no (not fluent)"


def _line(row: dict[str, Any]) -> str:
    named = "" if row["named"] is None else f"{row['named']}."
    numbers = f"{row['feature']} | {row['strength']:.1f} | {row['gain']:+.1f} | {row['loss']:+.2f}"
    return f"| {row['topic']} | {numbers} | {verdict(row)} | {named} |"


def _place(row: dict[str, Any], strength: float) -> int:
    order = [dose.strength for dose in ranked([Dose(**dose) for dose in row["doses"]])]
    return order.index(strength) + 1 if strength in order else len(order) + 1


def _doses(rows: Rows) -> str:
    moving = [row for row in rows if row["steers"]]
    if not moving:
        return "Nothing steers."
    lines = [
        f"Means over the {len(moving)} that steer. Best: largest gain among the fluent doses of a feature.",
        "",
        "| strength | words in 100 | nats | distinct | fluent | best | next best |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, first in enumerate(moving[0]["doses"]):
        doses = [row["doses"][number] for row in moving]

        def mean(key: str, doses: list[dict[str, float]] = doses) -> float:
            return sum(dose[key] for dose in doses) / len(doses)

        strength = first["strength"]
        fluent = sum(is_fluent(dose["loss"], dose["distinct"]) for dose in doses)
        best, second = (sum(_place(row, strength) == place for row in moving) for place in (1, 2))
        numbers = f"{mean('gain'):+.1f} | {mean('loss'):+.2f} | {mean('distinct'):.2f}"
        lines.append(f"| {strength:.1f} | {numbers} | {fluent} | {best} | {second} |")
    return "\n".join(lines)


def _pair(row: dict[str, Any]) -> str:
    fails = "" if row["steers"] else " (does not steer by the rule)"
    lines = [f"**{row['topic']}**: feature {row['feature']} at {row['strength']:.1f}{fails}", ""]
    for sample in row["samples"]:
        plain, steered = (" ".join(sample[key].split()) for key in ("plain", "steered"))
        lines += [f"- *{sample['prompt']}*", f"  - plain: {plain}", f"  - steered: {steered}"]
    return "\n".join(lines)


def plot_doses(path: Path, rows: Rows, title: str) -> None:
    """Draws gain and loss over the doses, a line for each topic that steers and a bold one for their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    moving = [row for row in rows if row["steers"]]
    for axis, key, name in zip(axes, ("gain", "loss"), ("topic words in 100", "nats a token"), strict=True):
        lines = [[dose[key] for dose in row["doses"]] for row in moving]
        strengths = [dose["strength"] for dose in rows[0]["doses"]]
        for line in lines:
            axis.plot(strengths, line, color="tab:blue", alpha=0.25, linewidth=1)
        if lines:
            axis.plot(strengths, [sum(at) / len(at) for at in zip(*lines, strict=True)], linewidth=2.5)
        limit = {"gain": VISIBLE_WORDS, "loss": FLUENT_LOSS}[key]
        axis.axhline(limit, color="tab:red", linestyle="--", linewidth=1)
        axis.set_xlabel("strength")
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    figure.suptitle(
        f"{title}: the {len(moving)} topics that steer; dashed: the limits of the rule", fontsize=11
    )
    save_figure(path, figure)
