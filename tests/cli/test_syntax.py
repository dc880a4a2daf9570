"""What people type becomes the steering that they mean, or a sentence that says how to type it."""

from __future__ import annotations

import pytest
import typer

from services.cli.syntax import build_steering, parse_condition, parse_edit, parse_feature, steering_text
from services.steering.conditions import AllOf, Comparison, FeatureKey, Operator
from services.steering.edits import Edit, Operation, Scope, Steering, Unit


@pytest.mark.parametrize(
    ("text", "feature", "value"),
    [
        ("1234=0.6", FeatureKey("", 1234), 0.6),
        ("0=-1", FeatureKey("", 0), -1.0),
        (" 7 = 1e-1 ", FeatureKey("", 7), 0.1),
        ("my-sae:12=1.5", FeatureKey("my-sae", 12), 1.5),
        ("gemma/layer_12:width:9=2", FeatureKey("gemma/layer_12:width", 9), 2.0),
    ],
)
def test_an_edit_is_a_feature_and_a_number(text: str, feature: FeatureKey, value: float) -> None:
    assert parse_edit(text, Operation.NUDGE) == Edit(feature, Operation.NUDGE, value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1234", "has no value"),
        ("=0.5", "names no feature"),
        ("ocean=0.5", "names no feature"),
        ("-3=0.5", "names no feature"),
        ("99999999999=0.5", "names no feature"),
        ("12=much", "'much' is not a number"),
        ("12=", "is not a number"),
    ],
)
def test_a_wrong_edit_is_told_with_how_to_write_it(text: str, says: str) -> None:
    with pytest.raises(typer.BadParameter, match=says) as raised:
        parse_edit(text, Operation.PIN)
    assert raised.value.param_hint == "'--pin'"


def test_the_sae_option_stands_in_where_a_feature_names_none() -> None:
    assert parse_feature("7", "--nudge", sae="main") == FeatureKey("main", 7)
    assert parse_feature("other:7", "--nudge", sae="main") == FeatureKey("other", 7)


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("7>0.5", Operator.GREATER),
        ("7 >= 0.5", Operator.GREATER_OR_EQUAL),
        ("7<0.5", Operator.LESS),
        ("7<=0.5", Operator.LESS_OR_EQUAL),
        ("7==0.5", Operator.EQUAL),
        ("7=0.5", Operator.EQUAL),
        ("7!=0.5", Operator.NOT_EQUAL),
    ],
)
def test_a_condition_compares_a_feature_with_a_number(text: str, operator: Operator) -> None:
    assert parse_condition(text) == Comparison((FeatureKey("", 7),), operator, 0.5)


def test_a_condition_may_name_several_features() -> None:
    assert parse_condition("7,a:8>1").left == (FeatureKey("", 7), FeatureKey("a", 8))


@pytest.mark.parametrize("text", ["7", ">0.5", "7>", "7>x", "7>0.5>1", "a>0.5"])
def test_a_wrong_condition_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_condition(text)


def test_edits_without_conditions_are_unconditional_and_follow_those_of_the_file() -> None:
    base = Steering(edits=(Edit(FeatureKey("", 1), Operation.PIN, 0.0),), max_delta=0.5)
    built = build_steering(nudge=["2=0.5"], scale=["3=0"], raw=True, base=base)
    assert [edit.feature.index for edit in built.edits] == [1, 2, 3]
    assert (built.max_delta, built.unit, built.scopes) == (0.5, Unit.RAW, ())


def test_with_conditions_edits_act_only_where_all_hold() -> None:
    built = build_steering(nudge=["2=0.5"], when=["7>0.5", "8<1"], latch=True)
    assert built.edits == ()
    [scope] = built.scopes
    assert scope == Scope(
        AllOf((parse_condition("7>0.5"), parse_condition("8<1"))),
        Steering(edits=(Edit(FeatureKey("", 2), Operation.NUDGE, 0.5),)),
        latched=True,
    )


@pytest.mark.parametrize("options", [{"when": ["7>0.5"]}, {"nudge": ["2=0.5"], "latch": True}])
def test_a_condition_needs_an_edit_and_a_latch_a_condition(options: dict[str, object]) -> None:
    with pytest.raises(typer.BadParameter):
        build_steering(**options)  # type: ignore[arg-type]


def test_a_steering_is_told_in_few_words() -> None:
    built = build_steering(nudge=["2=0.5"], pin=["3=0"], scale=["4=2"])
    assert steering_text(built) == "nudge 2 +0.5, pin 3 = 0, scale 4 × 2"
    assert (
        steering_text(build_steering(nudge=["2=-0.5"], when=["7>0.5", "8<1"]))
        == "nudge 2 -0.5 when 7>0.5 and 8<1"
    )
