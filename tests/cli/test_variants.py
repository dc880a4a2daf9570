"""`hearth variants` and `hearth chat --variant`: steering that is saved under a name, beside the real service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Run
from tests.cli.fake_server import FakeInference
from tests.cli.features_server import FeaturesServer, features_running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeaturesServer]:
    with features_running(tmp_path_factory.mktemp("features")) as running:
        yield running


@pytest.fixture
def ask(run: Run, server: FeaturesServer, request: pytest.FixtureRequest) -> Run:
    """`hearth`, on behalf of an owner of this test's own."""

    def ask_it(*arguments: str, **environment: str) -> Done:
        where = {"HEARTH_FEATURES_ADDRESS": server.address, "HEARTH_OWNER": request.node.name}
        return run(*arguments, **{**where, **environment})

    return ask_it


def test_what_is_saved_is_listed_and_steers_a_chat(ask: Run, service: FakeInference) -> None:
    saved = ask(
        "variants", "save", "sailor", "--nudge", "12=0.5", "--when", "7>1", "--description", "the sea"
    )
    assert (saved.code, saved.out) == (0, "sailor is saved.\n")
    out = " ".join(ask("variants", "list").out.split())
    assert "sailor nudge 12 +0.5 when 7>1" in out
    assert "the sea" in out
    assert ask("chat", "Hi", "--variant", "sailor", "--pin", "3=0").code == 0
    steering = max(service.asked, key=lambda request: request.ByteSize()).steering
    assert [edit.feature.index for edit in steering.edits] == [3]
    assert steering.scopes[0].steering.edits[0].nudge == 0.5


def test_what_is_shown_can_be_given_back(ask: Run, tmp_path: Path) -> None:
    ask("variants", "save", "sailor", "--scale", "12=2")
    file = tmp_path / "steering.json"
    assert ask("variants", "show", "sailor", "-o", str(file)).code == 0
    assert ask("variants", "save", "copy", "--steering", str(file)).code == 0
    first, second = (json.loads(ask("variants", "show", name, "--json").out) for name in ("sailor", "copy"))
    assert first["steering"] == second["steering"]
    assert first["steering"]["edits"] == [{"feature": {"index": 12}, "scale": 2.0}]
    assert '"scale": 2.0' in ask("variants", "show", "copy").out


def test_a_taken_name_is_refused_unless_it_shall_be_replaced(ask: Run) -> None:
    ask("variants", "save", "sailor", "--nudge", "12=0.5", "--description", "the sea")
    again = ask("variants", "save", "sailor", "--nudge", "3=0.1")
    assert again.code == 1
    assert "sailor" in again.err
    assert ask("variants", "save", "sailor", "--nudge", "3=0.1", "--replace").code == 0
    now = json.loads(ask("variants", "show", "sailor", "--json").out)
    assert now["steering"]["edits"][0]["feature"]["index"] == 3
    assert now["description"] == "the sea"


def test_a_deleted_variant_comes_back_by_its_id(ask: Run) -> None:
    ask("variants", "save", "sailor", "--nudge", "12=0.5")
    gone = ask("variants", "delete", "sailor").out
    assert "None is saved" in ask("variants", "list").out
    identity = gone.split("restore ")[1].split("`")[0]
    assert identity in "".join(ask("variants", "list", "--deleted").out.split())
    assert ask("variants", "restore", identity).out == "sailor is back.\n"
    assert "sailor" in ask("variants", "list").out


def test_nobody_sees_what_another_saved(ask: Run, service: FakeInference) -> None:
    ask("variants", "save", "mine", "--nudge", "12=0.5")
    assert "None is saved" in ask("variants", "list", HEARTH_OWNER="another").out
    done = ask("chat", "Hi", "--variant", "mine", HEARTH_OWNER="another")
    assert done.code == 1
    assert not service.asked


def test_what_does_not_go_together_is_refused(ask: Run, tmp_path: Path) -> None:
    done = ask("variants", "save", "empty")
    assert (done.code, "nothing to save" in done.err) == (2, True)
    file = tmp_path / "steering.json"
    file.write_text("{}")
    done = ask("chat", "Hi", "--variant", "sailor", "--steering", str(file))
    assert (done.code, "give this or --steering" in done.err) == (2, True)
