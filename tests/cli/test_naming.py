"""inspect, contrast and attribute name features where the catalogue knows the SAE that is served."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from rich.text import Text

from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference
from tests.cli.features_server import FeaturesServer, features_running
from tests.features.made_features import feature

SAE = "small-sae"
NAMED = "the ship's course"
COMMANDS = [
    ("inspect", "The ship"),
    ("contrast", "--positive", "a", "--negative", "b"),
    ("attribute", "The ship"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeaturesServer]:
    with features_running(tmp_path_factory.mktemp("features")) as running:
        running.fill([feature(n, SAE, label=NAMED if n == 12 else f"feature {n}") for n in range(13)])
        yield running


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_features_have_their_labels(run: Run, server: FeaturesServer, command: tuple[str, ...]) -> None:
    where = {"HEARTH_FEATURES_ADDRESS": server.address}
    for width in (80, 120):
        out = run(*command, **where, COLUMNS=str(width)).out
        assert "Label" in out
        assert max(len(Text.from_ansi(line).plain) for line in out.splitlines()) <= width
    assert NAMED in out
    assert "feature 7" in out
    assert json.loads(run(*command, "--json", **where).out)["labels"] == {"12": NAMED, "7": "feature 7"}


def test_a_coloured_text_is_headed_by_the_features_label(run: Run, server: FeaturesServer) -> None:
    out = run("inspect", "-f", "12", "The ship", HEARTH_FEATURES_ADDRESS=server.address).out
    assert out.startswith(f"Feature 12  {NAMED}\n")


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_labels_of_other_weights_are_not_shown(
    run: Run, server: FeaturesServer, service: FakeInference, command: tuple[str, ...]
) -> None:
    service.weights_digest = "e" * 64
    done = run(*command, HEARTH_FEATURES_ADDRESS=server.address)
    assert done.code == 0
    assert NAMED not in done.out


def test_without_a_catalogue_the_answer_stands_alone(run: Run, service: FakeInference) -> None:
    done = run("inspect", "The ship")
    assert (done.code, done.err) == (0, "")
    assert "Label" not in done.out
    assert [type(each).__name__ for each in service.asked] == ["InspectRequest"]


def test_a_failing_answer_is_told_as_without_a_catalogue(
    run: Run, server: FeaturesServer, service: FakeInference
) -> None:
    done = run("attribute", "The", "--token", " unknown", HEARTH_FEATURES_ADDRESS=server.address)
    assert done.code == 2
    assert "2 tokens" in done.err
