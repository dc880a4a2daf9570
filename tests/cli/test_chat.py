"""`hearth chat` asks twice with one seed and shows both answers and what the edits delivered."""

from __future__ import annotations

import json
from pathlib import Path

from rich.text import Text

from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference

PLAIN, STEERED = "I went home.", "We sailed the sea."


def test_with_edits_two_generations_are_asked_with_one_seed(run: Run, service: FakeInference) -> None:
    assert run("chat", "Hi", "--nudge", "12=0.5", "--max-tokens", "9", "--system", "Be kind.").code == 0
    plain, steered = sorted(service.asked, key=lambda request: len(request.steering.edits))
    assert plain.sampling == steered.sampling
    assert plain.sampling.max_tokens == 9
    assert [message.content for message in plain.prompt.chat.messages] == ["Be kind.", "Hi"]
    assert not plain.HasField("steering")
    assert steered.steering.edits[0].nudge == 0.5
    assert steered.report
    assert not plain.report


def test_without_edits_one_answer_comes_alone_on_standard_output(run: Run, service: FakeInference) -> None:
    done = run("chat", "Hi", "--seed", "5")
    assert done.out == f"{PLAIN}\n"
    assert "end of turn" in done.err
    assert "5" in done.err
    assert len(service.asked) == 1


def test_where_output_is_no_terminal_the_answers_follow_each_other(run: Run) -> None:
    done = run("chat", "Hi", "--nudge", "12=0.5")
    assert (
        done.out.index("Plain")
        < done.out.index(PLAIN)
        < done.out.index("nudge 12 +0.5")
        < done.out.index(STEERED)
    )
    assert "│" not in done.out


def test_on_a_terminal_the_answers_stand_side_by_side_and_fit_its_width(run: Run) -> None:
    for width in (80, 120):
        done = run("chat", "Hi", "--nudge", "12=0.5", COLUMNS=str(width), FORCE_COLOR="1")
        lines = [Text.from_ansi(line).plain for line in done.out.splitlines()]
        together = [line for line in lines if PLAIN in line and STEERED in line][-1]
        assert together.index(PLAIN) < width / 2 < together.index(STEERED)
        assert max(map(len, lines)) <= width


def test_the_report_states_asked_and_delivered_in_every_unit(run: Run) -> None:
    out = run("chat", "Hi", "--nudge", "12=0.5", "--pin", "7=2", "--scale", "3=0").out
    table = out[out.index("What the edits delivered") :]
    rows = [line.split() for line in table.splitlines()]
    assert ["nudge", "12", "+0.5", "strength", "0.50", "0.25", "50%", "9", "0.10", "→", "1.10"] in rows
    assert ["raw", "40.0", "20.0"] in rows
    assert any(row[:4] == ["pin", "7", "=", "2"] for row in rows)
    assert any(row[:5] == ["scale", "3", "×", "0", "factor"] for row in rows)
    assert "2 clipped" in table


def test_a_condition_becomes_a_scope_whose_hits_are_reported(run: Run, service: FakeInference) -> None:
    out = run("chat", "Hi", "--nudge", "12=0.5", "--when", "7>0.5", "--latch").out
    assert "held at 4 of 9 tokens" in out
    [scope] = max(service.asked, key=lambda request: len(request.steering.scopes)).steering.scopes
    assert scope.latched
    assert scope.when.comparison.threshold == 0.5


def test_json_holds_both_answers_with_the_report(run: Run) -> None:
    answer = json.loads(run("chat", "Hi", "--nudge", "12=0.5", "--seed", "5", "--json").out)
    assert answer["seed"] == 5
    assert answer["plain"]["text"] == PLAIN
    assert answer["steered"]["text"].startswith(STEERED)
    assert answer["steered"]["report"]["edits"][0]["delivered"]["strength"] == 0.25
    assert answer["plain"]["report"] is None


def test_only_steered_asks_once(run: Run, service: FakeInference) -> None:
    assert STEERED in run("chat", "Hi", "--nudge", "12=0.5", "--only-steered").out
    assert len(service.asked) == 1


def test_a_steering_file_is_sent_with_the_edits_given_beside_it(
    run: Run, service: FakeInference, tmp_path: Path
) -> None:
    file = tmp_path / "steering.json"
    file.write_text('{"edits": [{"feature": {"index": 3}, "pin": 0}], "positions": "POSITIONS_GENERATED"}')
    assert run("chat", "Hi", "--steering", str(file), "--nudge", "12=0.5", "--only-steered").code == 0
    steering = service.asked[0].steering
    assert [edit.feature.index for edit in steering.edits] == [3, 12]
    assert steering.positions == 3


def test_a_wrong_steering_file_is_refused_with_the_field(
    run: Run, service: FakeInference, tmp_path: Path
) -> None:
    file = tmp_path / "steering.json"
    file.write_text('{"edits": [{"feature": {"index": 3}, "nudge": 1000}]}')
    done = run("chat", "Hi", "--steering", str(file))
    assert done.code == 1
    assert "steering.edits[0].nudge" in done.err
    file.write_text('{"edit": []}')
    assert "edit" in run("chat", "Hi", "--steering", str(file)).err
    assert not service.asked


def test_in_turns_each_side_keeps_its_own_history(run: Run, service: FakeInference) -> None:
    done = run("chat", "--nudge", "12=0.5", stdin="One\nTwo\n/quit\nThree\n")
    assert done.code == 0
    second = service.asked[2:]
    assert len(second) == 2
    for request in second:
        said = [message.content for message in request.prompt.chat.messages]
        assert said[0] == "One"
        assert said[1].startswith(STEERED if request.steering.edits else PLAIN)
        assert said[2] == "Two"


def test_in_turns_the_steering_can_be_changed_on_the_way(run: Run, service: FakeInference) -> None:
    done = run("chat", stdin="One\n/nudge 12=0.5\n/pin oops\n/seed 9\nTwo\n/off\n/new\nThree\n/help\n")
    assert [len(request.steering.edits) for request in service.asked] in ([0, 0, 1, 0], [0, 1, 0, 0])
    assert service.asked[1].sampling.seed == 9
    assert len(service.asked[3].prompt.chat.messages) == 1
    assert "has no value" in done.out
    assert "/quit" in done.out


def test_what_would_command_the_terminal_is_not_printed(run: Run) -> None:
    from tests.cli import fake_server

    words = dict(fake_server.WORDS)
    fake_server.WORDS[False] = ["safe\x1b]0;title\x07 text"]
    try:
        assert run("chat", "Hi").out == "safe\ufffd]0;title\ufffd text\n"
    finally:
        fake_server.WORDS.update(words)


def test_receipts_are_added_to_a_file_for_replay(run: Run, service: FakeInference, tmp_path: Path) -> None:
    file = tmp_path / "receipts.jsonl"
    for _ in range(2):
        assert run("chat", "Hi", "--nudge", "12=0.5", "--receipt", str(file)).code == 0
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert [each["engineVersion"] for each in kept] == ["9"] * 4
    assert all(request.receipt for request in service.asked)
