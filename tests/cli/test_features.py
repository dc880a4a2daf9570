"""`hearth features` shows what the catalogue answers; the real services run beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.text import Text

from services.cli.clients.features import FeatureClient
from services.cli.render.histogram import histogram_chart
from services.features.feature import Feature, FeatureClass, feature_id
from services.saelab import label_table
from tests.cli.conftest import Done, Run
from tests.cli.features_server import FeaturesServer, features_running
from tests.features.made_features import SAE, feature

COUNT = 16
SEA, BREAD, DEAD, REFUTED = 0, 1, 3, 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeaturesServer]:
    changes: dict[int, dict[str, object]] = {
        DEAD: {"feature_class": FeatureClass.DEAD},
        REFUTED: {"label": "unlabelled: sorting numbers"},
    }
    with features_running(tmp_path_factory.mktemp("features")) as running:
        running.fill([feature(index, **changes.get(index, {})) for index in range(COUNT)])
        yield running


@pytest.fixture
def ask(run: Run, server: FeaturesServer) -> Run:
    """`hearth features`."""

    def ask_it(*arguments: str, **environment: str) -> Done:
        return run("features", *arguments, HEARTH_FEATURES_ADDRESS=server.address, **environment)

    return ask_it


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_search_lists_the_best_first_with_what_was_measured_of_them(ask: Run) -> None:
    out = ask("search", "ship on the sea", "--top-k", "2", COLUMNS="120").out
    first = next(row for row in rows(out) if row[:1] in (["0"], ["8"]))
    assert first[1:4] == ["the", "sea", "and"]
    assert "concept" in first
    assert "0.75" in first, "the label's score"
    assert f"hearth features show {first[0]}" in out


def test_search_as_json_holds_every_number(ask: Run) -> None:
    hits = json.loads(ask("search", "bread dough", "-k", "3", "--mode", "label", "--json").out)["hits"]
    assert [hit["feature"]["index"] for hit in hits[:2]] in ([1, 9], [9, 1])
    assert hits[0]["label_similarity"] == pytest.approx(hits[0]["score"])
    assert hits[0]["context_similarity"] is None


def test_searches_can_be_limited_to_what_steers(ask: Run) -> None:
    hits = json.loads(ask("search", "sea", "-k", "50", "--min-steerability", "0.3", "--json").out)["hits"]
    assert {hit["feature"]["index"] % 4 for hit in hits} == {3}
    hits = json.loads(ask("search", "sea", "-k", "50", "--class", "dead", "--json").out)["hits"]
    assert [hit["feature"]["index"] for hit in hits] == [DEAD]


def test_show_prints_all_that_is_known(ask: Run) -> None:
    out = ask("show", str(BREAD)).out
    assert out.startswith(f"Feature {BREAD}  {SAE} at model.layers.3\nbaking bread\n")
    words = " ".join(out.split())
    for said in (
        "label by offline; finds its texts with AUROC 0.75 (95 % of other labels: below 0.50)",
        "its tokens with 0.62",
        "fires on baking bread",
        "Density 0.20% of tokens",
        "usual maximum 2.50, largest 7.50",
        "Output score 0.25 nats",
        "Steerability 0.12",
        "·promoted +0.5",
        "Suppresses ·not -0.5",
        "7.50 top user she kneaded the dough and¹ put⁵ the bread into the oven",
        "0.5 +0.75 1.50 50%",
        feature_id(SAE, BREAD),
    ):
        assert said in words or said in out, said
    assert ["1", "0.75", "baking", "bread"] in rows(out), "neighbours have their labels"


def test_a_feature_is_found_by_its_uuid_too(ask: Run) -> None:
    assert ask("show", feature_id(SAE, BREAD).upper()).out == ask("show", f"{SAE}:{BREAD}").out


def test_examples_are_coloured_by_activation(ask: Run) -> None:
    out = ask("show", str(BREAD), FORCE_COLOR="1", COLORTERM="truecolor").out
    text = Text.from_ansi(out)
    coloured = [text.plain[span.start : span.end] for span in text.spans if " on #bd0026" in str(span.style)]
    assert coloured[0] == "put"
    assert "⁵" not in out


def test_fewer_examples_still_show_what_is_usual(ask: Run) -> None:
    out = ask("show", str(BREAD), "--examples", "2").out
    assert "1 more with --examples 3" in out
    assert "50% assistant" in out
    assert "document" not in ask("show", str(BREAD), "--examples", "0").out
    assert "Where it is active" not in ask("show", str(BREAD), "--examples", "0").out


def test_show_as_json_holds_the_whole_feature(ask: Run, server: FeaturesServer) -> None:
    told = json.loads(ask("show", str(BREAD), "--json").out)
    known = server.feature(BREAD, SAE)
    assert told["id"] == known.id
    assert told["feature"]["examples"][0]["tokens"] == list(known.examples[0].tokens)
    assert told["catalog"]["feature_count"] == COUNT


@pytest.mark.parametrize("text", ["bread", "-1", str(2**32)])
def test_what_names_no_feature_asks_nothing(ask: Run, text: str) -> None:
    done = ask("show", "--", text)
    assert done.code == 2
    assert "FEATURE" in done.err


def test_an_index_beyond_the_catalogue_is_told_with_what_is_allowed(ask: Run) -> None:
    done = ask("show", "16")
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert "0 to 15" in done.err


def test_list_goes_in_order_and_says_where_there_is_more(ask: Run) -> None:
    told = json.loads(ask("list", "--limit", "3", "--json").out)
    assert ([each["index"] for each in told["features"]], told["more"]) == ([0, 1, 2], True)
    assert "There are more" in ask("list", "--limit", "3").out
    told = json.loads(ask("list", "--min-output-score", "3.5", "--json").out)
    assert ([each["index"] for each in told["features"]], told["more"]) == ([14, 15], False)
    told = json.loads(ask("list", "--labelled", "--json").out)
    assert REFUTED not in [each["index"] for each in told["features"]]


def test_neighbors_are_those_of_the_topic(ask: Run) -> None:
    hits = json.loads(ask("neighbors", str(BREAD), "-k", "1", "--json").out)["hits"]
    assert [hit["feature"]["index"] for hit in hits] == [BREAD + 8]
    out = ask("neighbors", str(SEA), str(SEA + 8), "--by", "label", "-k", "3").out
    assert "Cosine" in out
    assert "give indices or UUIDs" in ask("neighbors", "1", feature_id(SAE, 2)).err


def test_catalogs_lists_what_can_be_searched(ask: Run) -> None:
    out = ask("catalogs").out
    assert SAE in out
    assert "model.layers.3" in out


def test_a_contested_label_replaces_the_old_one_and_stays_in_the_history(ask: Run) -> None:
    done = ask("label", "5", "ice and snow", "--note", "not all winter", "--owner", "ada")
    assert done.out.splitlines() == ["Feature 5 is called: ice and snow", "It was called: winter weather"]
    out = " ".join(ask("show", "5").out.split())
    assert "label by person:ada; not tested" in out
    assert "ada ice and snow instead of winter weather not all winter" in out
    assert ask("list", "--source", "person:ada", "--json").out.count('"index": 5') == 1
    assert "give a label" in ask("label", "5").err


def test_of_two_who_name_a_feature_at_once_the_second_is_told(
    ask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = FeatureClient.rename

    async def after_a_rival(client: FeatureClient, before: Feature, **asked: str | None) -> Feature:
        await rename(client, before, label="rival", description=None, note="", owner="bob")
        return await rename(client, before, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureClient, "rename", after_a_rival)
    done = ask("label", "6", "mine")
    assert done.code == 1
    assert "has changed meanwhile" in done.err
    assert "rival" in ask("show", "6").out


def test_export_writes_every_feature_whole_one_a_line(ask: Run, tmp_path: Path) -> None:
    file = tmp_path / "features.jsonl"
    assert ask("export", "-o", str(file)).code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["index"] for line in lines] == list(range(COUNT))
    assert lines[BREAD]["id"] == feature_id(SAE, BREAD)
    assert len(lines[BREAD]["examples"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["features.jsonl"]
    assert ask("export").out == file.read_text()


def test_exported_labels_are_a_table_as_the_lab_writes_it(ask: Run, tmp_path: Path) -> None:
    assert ask("label", "7", "sorrow", "--owner", "ada").code == 0
    assert ask("export", "--labels", str(tmp_path)).code == 0
    table = label_table.read(tmp_path)
    labels = {label.index: label for label in table}
    assert (table.info.sae_id, len(labels)) == (SAE, COUNT)
    assert (labels[7].label, labels[7].source, labels[7].score) == ("sorrow", "person:ada", None)
    assert labels[BREAD].score == 0.75


def test_an_unknown_sae_is_told_with_those_there_are(ask: Run) -> None:
    done = ask("export", "--sae", "other")
    assert done.code == 1
    assert SAE in done.err
    assert ask("search", "sea", "--sae", "other").code == 1


def test_a_deleted_catalogue_is_gone_and_an_empty_one_says_how_to_fill_it(run: Run, tmp_path: Path) -> None:
    with features_running(tmp_path) as server:
        server.fill([feature(0), feature(1)])
        where = {"HEARTH_FEATURES_ADDRESS": server.address}
        assert run("features", "delete", SAE, **where).code == 0
        assert "hearth features import" in run("features", "catalogs", **where).out
        assert run("features", "show", "0", **where).code == 1


def test_where_no_server_answers_it_is_said_how_to_start_one(run: Run) -> None:
    done = run("features", "search", "sea")
    assert done.code == 1
    assert "No server answers at localhost:1" in done.err
    assert "make up" in done.err


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "arguments", [["search", "sea"], ["show", "1"], ["list"], ["neighbors", "1"], ["catalogs"]]
)
def test_nothing_is_wider_than_the_terminal(ask: Run, arguments: list[str], width: int) -> None:
    out = ask(*arguments, COLUMNS=str(width), FORCE_COLOR="1").out
    assert max(len(Text.from_ansi(line).plain) for line in out.splitlines()) <= width


def test_a_histogram_has_a_bar_for_each_bin_as_high_as_its_count() -> None:
    chart = histogram_chart((0, 1, 8, 4), (0.0, 0.5, 1.0, 2.0, 4.0)).plain.splitlines()
    assert chart == ["    ██  8", "    ██", "    ████", "  ▄▄████", "  0.50  4.00"]
    assert not histogram_chart((0, 0), (0.0, 1.0, 2.0))
    assert not histogram_chart((1, 2), ())
