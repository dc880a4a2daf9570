"""What people type: `1234=0.6`, `sae-id:1234=0.6`, `1234>0.5`, and what the server is asked with it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import typer

from services.cli.questions import FeatureName
from services.steering.conditions import AllOf, Comparison, Condition, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering, Unit

_FEATURE = re.compile(r"(?:(?P<sae>[^=<>!]+):)?(?P<index>\d+)")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CONDITION = re.compile(r"(?P<left>[^<>=!]+)(?P<operator>>=|<=|==|!=|>|<|=)(?P<right>[^<>=!]+)")
_LARGEST_INDEX = 2**32 - 1


def parse_feature(text: str, option: str, sae: str = "") -> FeatureKey:
    """`1234` or `sae-id:1234`; `sae` stands in where none is named."""
    match = _FEATURE.fullmatch(text.strip())
    if match is None or int(match["index"]) > _LARGEST_INDEX:
        raise _bad(option, f"{text!r} names no feature: write its index, as in 1234 or my-sae:1234.")
    return FeatureKey((match["sae"] or sae).strip(), int(match["index"]))


def parse_feature_name(text: str, sae: str = "") -> FeatureName:
    """`1234`, `sae-id:1234` or a feature's UUID."""
    if _UUID.fullmatch(text.strip()):
        return FeatureName("", 0, text.strip().lower())
    key = parse_feature(text, "FEATURE", sae)
    return FeatureName(key.sae, key.index)


def parse_edit(text: str, operation: Operation, sae: str = "") -> Edit:
    """`1234=0.6` or `sae-id:1234=0.6`."""
    option = f"--{operation.value}"
    feature, equals, value = text.rpartition("=")
    if not equals:
        raise _bad(option, f"{text!r} has no value: write feature=number, as in {option} 1234=0.6.")
    return Edit(parse_feature(feature, option, sae), operation, _number(value, text, option))


def parse_condition(text: str, sae: str = "") -> Comparison:
    """`1234>0.5`, or several features of which the largest counts: `12,34>=0.5`."""
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise _bad(
            "--when",
            f"{text!r} is no condition: write feature, comparison and number in quotes, as in "
            "--when '1234>0.5'. Comparisons: > >= < <= == !=.",
        )
    features = tuple(parse_feature(each, "--when", sae) for each in match["left"].split(","))
    operator = Operator("==" if match["operator"] == "=" else match["operator"])
    return Comparison(features, operator, _number(match["right"], text, "--when"))


def build_steering(
    *,
    nudge: Iterable[str] | None = None,
    pin: Iterable[str] | None = None,
    scale: Iterable[str] | None = None,
    when: Iterable[str] | None = None,
    latch: bool = False,
    raw: bool = False,
    sae: str = "",
    base: Steering | None = None,
) -> Steering:
    """The steering of the options, added to `base`. With conditions, the edits act only where all of them hold."""
    given = {Operation.NUDGE: nudge, Operation.PIN: pin, Operation.SCALE: scale}
    edits = tuple(
        parse_edit(text, operation, sae) for operation, texts in given.items() for text in texts or ()
    )
    conditions: tuple[Condition, ...] = tuple(parse_condition(text, sae) for text in when or ())
    if conditions and not edits:
        raise _bad("--when", "there is nothing to do when it holds: give --nudge, --pin or --scale too.")
    if latch and not conditions:
        raise _bad("--latch", "it keeps a condition on, but there is none: give --when too.")
    steering = base or Steering()
    if raw:
        steering = replace(steering, unit=Unit.RAW)
    if not conditions:
        return replace(steering, edits=steering.edits + edits)
    when_all = conditions[0] if len(conditions) == 1 else AllOf(conditions)
    return replace(steering, scopes=(*steering.scopes, Scope(when_all, Steering(edits), latch)))


def feature_text(feature: FeatureKey) -> str:
    """A feature as it is typed."""
    return f"{feature.sae}:{feature.index}" if feature.sae else str(feature.index)


def edit_text(edit: Edit, *, with_sae: bool = True) -> str:
    """An edit in few words: `nudge 1234 +0.6`, `pin 12 = 1.5`, `scale 7 × 0`."""
    feature = feature_text(edit.feature) if with_sae else str(edit.feature.index)
    match edit.operation:
        case Operation.NUDGE:
            return f"nudge {feature} {edit.value:+.4g}"
        case Operation.PIN:
            return f"pin {feature} = {edit.value:.4g}"
        case Operation.SCALE:
            return f"scale {feature} × {edit.value:.4g}"


def steering_text(steering: Steering) -> str:
    """A steering in few words."""
    parts = [edit_text(edit, with_sae=False) for edit in steering.edits]
    for scope in steering.scopes:
        inner = scope.action
        what = steering_text(inner) if isinstance(inner, Steering) else type(inner).__name__.lower()
        parts.append(f"{what} when {condition_text(scope.when)}")
    return ", ".join(parts)


def condition_text(condition: Condition) -> str:
    """A condition in few words; `…` where it is none that can be typed."""
    match condition:
        case Comparison(left, operator, right) if not isinstance(right, tuple):
            return f"{','.join(str(key.index) for key in left)}{operator.value}{right:g}"
        case AllOf(conditions):
            return " and ".join(map(condition_text, conditions))
        case _:
            return "…"


def _number(text: str, whole: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _bad(option, f"in {whole!r}, {text!r} is not a number.") from None


def _bad(option: str, problem: str) -> typer.BadParameter:
    return typer.BadParameter(problem, param_hint=f"'{option}'")
