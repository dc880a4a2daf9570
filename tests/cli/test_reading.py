"""inspect, contrast, logits, attribute, tokenize and models show what the server answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.text import Text

from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_inspect_lists_each_token_with_its_strongest_features(run: Run) -> None:
    out = run("inspect", "The ship sailed at dawn").out
    assert ["2", "·ship", "12", "4.00", "7", "1.00"] in rows(out)
    assert "attention sink" in out
    assert ["12", "12.0", "7.00", "6", "⏎", "#6"] in rows(out), "all runs of tokens are joined"


def test_inspect_marks_a_features_tokens_where_there_are_no_colours(run: Run, service: FakeInference) -> None:
    out = run("inspect", "-f", "12", "The ship sailed at dawn").out
    assert list(service.asked[0].feature_indices) == [12]
    assert "<s>The¹ ship² sailed³ at⁴ dawn⁵⏎⁵" in out
    assert "¹ up to 2.40" in out
    assert "\x1b" not in out


def test_inspect_colours_a_features_tokens_by_activation(run: Run) -> None:
    out = run("inspect", "-f", "12", "The ship sailed at dawn", FORCE_COLOR="1", COLORTERM="truecolor").out
    text = Text.from_ansi(out)
    backgrounds = {
        text.plain[span.start : span.end]: str(span.style)
        for span in text.spans
        if " on #" in str(span.style)
    }
    assert len({backgrounds[word] for word in ("The", "ship", "sailed", "at", "dawn")}) == 5
    assert "⁵" not in out


def test_inspect_says_where_a_feature_is_silent(run: Run) -> None:
    assert "does not fire" in run("inspect", "-f", "99", "The ship").out


def test_inspect_reads_the_edited_stream_where_edits_are_given(run: Run, service: FakeInference) -> None:
    assert run("inspect", "--chat", "--nudge", "12=0.5", "The ship").code == 0
    assert service.asked[0].steering.edits[0].nudge == 0.5
    assert service.asked[0].prompt.chat.messages[0].content == "The ship"


def test_contrast_shows_both_sides_with_their_statistics(
    run: Run, service: FakeInference, tmp_path: Path
) -> None:
    file = tmp_path / "negative.txt"
    file.write_text("Two.\n\nThree.\n")
    out = run(
        "contrast", "--positive", "One.", "--positive", "Uno.", "--negative-file", str(file), "-k", "5"
    ).out
    request = service.asked[0]
    assert [prompt.text for prompt in request.positive] == ["One.", "Uno."]
    assert [prompt.text for prompt in request.negative] == ["Two.", "Three."]
    assert request.top_k == 5
    assert ["12", "3.00", "0", "0.97", "+2.50", "<0.001"] in rows(out)
    assert ["7", "0", "2.00", "0.10", "-1.50", "0.250"] in rows(out)
    assert "give more" in out


def test_contrast_without_prompts_says_how_to_give_them(run: Run) -> None:
    done = run("contrast", "--positive", "One.")
    assert done.code == 2
    assert "--negative" in done.err


def test_contrast_pools_a_chat_over_what_the_user_says(run: Run, service: FakeInference) -> None:
    assert run("contrast", "--chat", "--positive", "a", "--negative", "b", "--pooling", "mean").code == 0
    assert (service.asked[0].role, service.asked[0].pooling) == (2, 2)


def test_logits_show_what_edits_make_of_every_tokens_probability(run: Run) -> None:
    assert ["·ship", "2", "9.00", "90.5%", "████████████████"] in rows(run("logits", "The").out)
    steered = rows(run("logits", "The", "--nudge", "12=0.5").out)
    assert ["·ship", "2", "9.00", "90.5%", "5.0%", "×0.06"] in steered
    assert ["·sailed", "3", "5.00", "5.0%", "90.5%", "×18.2"] in steered


def test_attribute_shows_effects_and_where_they_come_from(run: Run, service: FakeInference) -> None:
    out = run("attribute", "The ship", "--token", " ship", "--versus", " sailed").out
    request = next(each for each in service.asked if type(each).__name__ == "AttributeRequest")
    assert (request.target_token, request.baseline_token) == (2, 3)
    assert ["12", "+1.50", "████████████████", "·ship", "#2"] in rows(out)
    assert "error -2.00" in out


def test_a_text_of_several_tokens_is_no_token_to_explain(run: Run) -> None:
    done = run("attribute", "The", "--token", " unknown")
    assert done.code == 2
    assert "2 tokens" in done.err


def test_tokenize_shows_ids_bytes_and_messages(run: Run) -> None:
    table = rows(run("tokenize", "--chat", "The ship").out)
    assert ["2", "·ship", "2", "0", "user"] in table
    assert ["1", "The", "1", "0", "user", "(template)"] in table
    assert ["7", "<E2><82>", "99", "(template)"] in table


def test_models_lists_all_pages(run: Run) -> None:
    out = run("models").out
    assert "first/model" in out
    assert "second/model" in out
    assert "4,096" in out
    assert "not steered" in out


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["models"], "models"),
        (["inspect", "a"], "tokens"),
        (["contrast", "--positive", "a", "--negative", "b"], "positive"),
        (["logits", "a"], "plain"),
        (["attribute", "a"], "features"),
        (["tokenize", "a"], "tokens"),
    ],
)
def test_json_is_one_object(run: Run, arguments: list[str], key: str) -> None:
    done = run(*arguments, "--json")
    assert done.code == 0
    assert json.loads(done.out)[key]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [["models"], ["inspect", "a"], ["contrast", "--positive", "a", "--negative", "b"], ["attribute", "a"]],
)
def test_nothing_is_wider_than_the_terminal(run: Run, arguments: list[str], width: int) -> None:
    out = run(*arguments, COLUMNS=str(width), FORCE_COLOR="1").out
    assert max(len(Text.from_ansi(line).plain) for line in out.splitlines()) <= width
