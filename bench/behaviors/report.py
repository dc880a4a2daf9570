"""The report: targets, every number in tables, failures with their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.behaviors.behaviors import Behavior
from bench.behaviors.failures import failures
from bench.behaviors.outcome import (
    ARMS,
    AUTO,
    RIVALS,
    RULE,
    TOP_HIT,
    Judges,
    Outcome,
    arm,
    followed,
    lead,
)
from bench.behaviors.targets import BEHAVIORS, TARGETS, Target, surely_beats
from bench.report import table
from services.autosteer.objective import mean
from services.autosteer.spec import Arm, Interval, JudgeReport

LETTERS = dict(zip(RIVALS, "abcd", strict=True)) | {AUTO: ""}


def report(
    outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judges: Judges, head: str, samples: str
) -> str:
    """All of it; `samples` names the file with every text."""
    parts = [head, _about(outcomes[0], outcomes, judges, samples)]
    names = ["", *dict.fromkeys(name for each in outcomes for name in each.opinions)]
    for judge in names:
        judged = [each for each in outcomes if not judge or judge in each.opinions]
        parts += _judged(judged, table_of, judge)
    parts += _edits(outcomes, table_of)
    for judge in names:
        judged = [each for each in outcomes if not judge or judge in each.opinions]
        parts += failures(judged, table_of, judge)
    return "\n\n".join(parts) + "\n"


def _about(first: Outcome, outcomes: Sequence[Outcome], judges: Judges, samples: str) -> str:
    setup = first.setup
    codes = {each.code for each in outcomes}
    lines = [
        f"- `{setup.model}` with `{setup.sae}`; tier `{setup.tier.value}` with {setup.seconds:.0f} s, "
        f"seed {setup.seed}",
        f"- {len(setup.prompts)} prompts that auto-steer neither tunes nor validates on, {setup.tokens} tokens at "
        f"temperature {setup.temperature:g}; the same prompts and seeds for all ways",
        "- numbers are means with 95 % bootstrap intervals over prompts; leads are paired by prompt",
        *(f"- {_agreement(each)}" for each in judges.reports),
        f"- every text with its scores: `{samples}`",
    ]
    cut = [each.name for each in outcomes if each.result.cut_short]
    if cut:
        lines.append(
            f"- auto-steer's budget left something out on {len(cut)} (listed under Edits): {', '.join(cut)}"
        )
    if len(codes) > 1:
        lines.append(f"- **measured with {len(codes)} states of the pipeline's code**")
    return "\n".join(lines)


def _agreement(each: JudgeReport) -> str:
    share = (
        "was not asked" if each.agreement is None else f"{100 * each.agreement:.0f} % of {each.pairs} pairs"
    )
    return f"judge `{each.name}`: agrees with the gold set on {share}"


def _judged(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str) -> list[str]:
    by = f", judge `{judge}`" if judge else ""
    return [
        f"## Targets{by}",
        _targets(outcomes, judge),
        f"## Objective{by}",
        "Harmonic mean of adherence, relevance and fluency. The best of a row is bold. `as the verdict says`: what a "
        "user gets who steers at USE, prompts at PROMPT_INSTEAD and does neither at NO_SAFE_STEER.",
        _objective(outcomes, table_of, judge),
        f"## Lead of auto-steer{by}",
        "By how much its objective lies above the other's. Bold: the whole interval lies on one side of 0.",
        _leads(outcomes, table_of, judge),
        f"## Adherence, relevance, fluency{by}",
        _components(outcomes, table_of, judge),
    ]


def _targets(outcomes: Sequence[Outcome], judge: str) -> str:
    rows = []
    for target in TARGETS:
        concerned, holding = target.counted(outcomes, judge)
        measured = f"{len(holding)} of {len(concerned)}"
        rows.append([target.words, target.goal, measured, _met(target, outcomes, judge)])
    for rival in RIVALS:
        ahead = [each for each in outcomes if lead(each.judged_by(judge), rival).mean > 0]
        sure = [each for each in outcomes if surely_beats(each, judge, rival)]
        rows.append([f"ahead of {_lettered(rival)}", "", f"{len(ahead)}, surely {len(sure)}", ""])
    return table(["auto-steer", "goal", "measured", ""], rows)


def _met(target: Target, outcomes: Sequence[Outcome], judge: str) -> str:
    if not target.counted(outcomes, judge)[0]:
        return "nothing to count"
    verdict = "met" if target.met(outcomes, judge) else "missed"
    return (
        verdict
        if len(outcomes) >= BEHAVIORS
        else f"{verdict} so far: {len(outcomes)} of {BEHAVIORS} behaviours"
    )


def _objective(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str) -> str:
    rows = []
    for each in outcomes:
        validation = each.judged_by(judge)
        arms = [arm(validation, name) for name in ARMS]
        best = max(one.score.mean for one in arms)
        rows.append(
            [
                _named(each, table_of),
                *(_bold(_said(one.score), one.score.mean == best > 0) for one in arms),
                f"{followed(each, validation).score.mean:.2f}",
                each.decision.name,
            ]
        )
    rows.append(
        [
            "mean",
            *(f"{_mean(outcomes, judge, name, lambda a: a.score.mean):.2f}" for name in ARMS),
            f"{mean([followed(each, each.judged_by(judge)).score.mean for each in outcomes]):.2f}",
            "",
        ]
    )
    return table(["behaviour", *map(_lettered, ARMS), "as the verdict says", "verdict"], rows)


def _leads(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str) -> str:
    rows = []
    for each in outcomes:
        leads = [lead(each.judged_by(judge), rival) for rival in RIVALS]
        rows.append(
            [_named(each, table_of), *(_bold(_signed(one), one.low > 0 or one.high < 0) for one in leads)]
        )
    return table(["behaviour", *(f"over {_lettered(rival)}" for rival in RIVALS)], rows)


def _components(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior], judge: str) -> str:
    rows = [
        [_named(each, table_of), *(_three(arm(each.judged_by(judge), name)) for name in ARMS)]
        for each in outcomes
    ]
    means = [
        " / ".join(
            f"{_mean(outcomes, judge, name, part):.2f}"
            for part in (lambda a: a.adherence.mean, lambda a: a.relevance.mean, lambda a: a.fluency.mean)
        )
        for name in ARMS
    ]
    return table(["behaviour", *map(_lettered, ARMS)], [*rows, ["mean", *means]])


def _edits(outcomes: Sequence[Outcome], table_of: Mapping[str, Behavior]) -> list[str]:
    rows = []
    for each in outcomes:
        arms = [arm(each.measured, name) for name in (AUTO, TOP_HIT, RULE)]
        cut = "; ".join(each.result.cut_short) or "nothing"
        rows.append(
            [
                _named(each, table_of),
                *(_edits_of(one, each) for one in arms),
                f"{each.result.seconds:.0f}",
                cut,
            ]
        )
    header = ["behaviour", *map(_lettered, (AUTO, TOP_HIT, RULE)), "auto-steer took, s", "cut short"]
    reasons = [[_named(each, table_of), each.decision.name, each.result.verdict.reason] for each in outcomes]
    return [
        "## Edits",
        "Feature, strength and label.",
        table(header, rows),
        "## Verdicts",
        "On auto-steer's own held-out prompts.",
        table(["behaviour", "verdict", "why"], reasons),
    ]


def _edits_of(one: Arm, outcome: Outcome) -> str:
    def said(index: int, key: str, value: float) -> str:
        label = outcome.labels.get(key, "").replace("|", "\\|")
        return f"{index} {value:+.2f} {label}".strip()

    listed = [said(e.feature.index, f"{e.feature.sae}/{e.feature.index}", e.value) for e in one.edits]
    return "<br>".join(listed) or "none"


def _mean(outcomes: Iterable[Outcome], judge: str, name: str, part: Callable[[Arm], float]) -> float:
    return mean([part(arm(each.judged_by(judge), name)) for each in outcomes])


def _named(outcome: Outcome, table_of: Mapping[str, Behavior]) -> str:
    return table_of[outcome.name].words


def _lettered(name: str) -> str:
    return f"({LETTERS[name]}) {name}" if LETTERS[name] else name


def _three(one: Arm) -> str:
    return f"{one.adherence.mean:.2f} / {one.relevance.mean:.2f} / {one.fluency.mean:.2f}"


def _said(value: Interval) -> str:
    return f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _signed(value: Interval) -> str:
    return f"{value.mean:+.2f} [{value.low:+.2f}, {value.high:+.2f}]"


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text
