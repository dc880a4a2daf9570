from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.inference.sae.base import Sae
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from services.saelab import steering_book
from services.saelab.activations import load_tokenizer
from services.saelab.errors import SaeLabError
from services.saelab.feature_rows import Dose
from services.saelab.reference import feature_statistics
from services.saelab.residual import HookedModel
from services.saelab.shards import ShardFolder
from services.saelab.steer import SteerSettings, find_steering_features
from services.saelab.steering_book import Text, TextBook, Wanted
from services.saelab.steering_candidates import CandidateSettings, candidates
from services.saelab.steering_found import Found, Sample, calibrated_constant, moved_by_others, named
from services.saelab.steering_report import write_report
from services.saelab.steering_rules import FLUENT_DISTINCT, FLUENT_LOSS, Topic, read_topics
from tests.saelab.test_evaluate import random_sae
from tests.saelab.tiny_lab import HOOK, make_topics

SEA, FOOD = Topic("sea", ("a ship",), ("ship", "sea")), Topic("food", ("a soup",), ("soup",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_shards: ShardFolder) -> Path:
    path = tmp_path_factory.mktemp("sae")
    plain = random_sae(threshold=0.2)
    statistics = feature_statistics(plain, tiny_shards, 10**9)
    write_saelens(path, replace(plain, scales=statistics.scales, median_norm=statistics.median_norm))
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH_CACHE", str(tmp_path / "cache"))


def found(
    *doses: tuple[float, float, float], strength: float = 0.5, text: str = "", name: str = "sea"
) -> Found:
    made = tuple(Dose(s, gain, loss, 1.0) for s, gain, loss in doses)
    return Found(name, 3, strength, made, (Sample("?", "nothing at all", text),), 4)


def test_a_feature_steers_if_its_dose_is_visible_and_fluent() -> None:
    assert found((0.5, 5.0, FLUENT_LOSS)).steers
    assert not found((0.5, 4.9, 0.0)).steers
    assert not found((0.5, 40.0, FLUENT_LOSS + 0.01)).steers
    looping = replace(found((0.5, 40.0, 0.0)), doses=(Dose(0.5, 40.0, 0.0, FLUENT_DISTINCT - 0.01),))
    assert not looping.fluent


def test_fluent_doses_come_before_stronger_ones_that_are_not() -> None:
    one = found((0.3, 2.0, 0.1), (0.5, 8.0, 0.5), (0.7, 30.0, 2.0))
    assert [one.place_of(strength) for strength in (0.3, 0.5, 0.7)] == [2, 1, 3]


def test_the_calibrated_constant_makes_half_the_middle_of_the_best_doses() -> None:
    at = {s: found((0.3, 6.0, 9.0), (s, 8.0, 0.0), strength=s) for s in (0.4, 0.6, 0.7)}
    assert calibrated_constant([at[0.4], at[0.6], at[0.7]], 0.5) == pytest.approx(0.6)
    dull = found((0.3, 1.0, 0.0), strength=0.3)
    assert calibrated_constant([dull], 0.5) == 0.5


def test_the_null_counts_texts_of_other_topics_that_move_to_this_one() -> None:
    own = found((0.5, 9.0, 0.0), text="a ship")
    other = found((0.5, 9.0, 0.0), text="soup on the ship", name="food")
    another = found((0.5, 9.0, 0.0), text="soup", name="law")
    broken = replace(other, topic="war", doses=(Dose(0.5, 9.0, FLUENT_LOSS + 1, 1.0),))
    assert moved_by_others(own, [own, other, another, broken], SEA) == pytest.approx(1 / 3)


def test_the_second_judge_names_the_topic_whose_sentences_the_texts_came_nearer_to() -> None:
    def encode(texts: Sequence[str]) -> np.ndarray:
        rows = [[text.count("ship"), text.count("soup"), text.count("nothing")] for text in texts]
        return np.array(rows, np.float32)

    right, wrong = (
        found((0.5, 9.0, 0.0), text="ship ship soup"),
        found((0.5, 9.0, 0.0), text="ship", name="food"),
    )
    assert [one.named for one in named([right, wrong], [SEA, FOOD], encode)] == [1, 2]


def test_features_active_on_a_topic_are_its_candidates(
    tmp_path: Path, tiny_model: Path, folder: Path
) -> None:
    sae = load_sae(folder)
    listed = read_topics(make_topics(tmp_path / "topics.toml"))
    model, tokenizer = HookedModel.load(tiny_model, HOOK), load_tokenizer(str(tiny_model))
    chosen = candidates(sae, folder, model, tokenizer, listed.topics, CandidateSettings(3, 2, 2))
    assert sae.scales is not None
    means = {}
    for topic in listed.topics:
        streams = [model.residuals(torch.tensor([tokenizer(s).input_ids]))[0, 1:] for s in topic.sentences]
        means[topic.name] = sae.weights.encode(torch.cat(streams)).mean(0) / sae.scales
    difference = means["sea"] - means["food"]
    assert chosen["sea"] == difference.topk(3).indices.tolist()
    assert chosen["food"] == (-difference).topk(3).indices.tolist()


def test_features_seen_to_bring_a_topics_words_while_fluent_are_its_candidates(
    tmp_path: Path, tiny_model: Path, folder: Path
) -> None:
    sae = load_sae(folder)
    listed = read_topics(make_topics(tmp_path / "topics.toml"))
    model, tokenizer = HookedModel.load(tiny_model, HOOK), load_tokenizer(str(tiny_model))
    fine, broken = {"loss": 0.1, "distinct": 1.0}, {"loss": 9.0, "distinct": 1.0}
    rows = [
        {"weights": sae.weights_digest},
        {"feature": 9, "doses": [fine, fine], "texts": [["a ship and a wave"], ["the ship"]]},
        {"feature": 10, "doses": [fine, broken], "texts": [["the old tree"], ["ship ship ship"]]},
        {"feature": 11, "doses": [fine, broken], "texts": [["a ship among many other things"], ["salt"]]},
        {"feature": 12, "doses": [fine, fine], "texts": [["bread"], ["bread and salt"]]},
    ]
    journal = tmp_path / "texts.jsonl"
    journal.write_text("\n".join(map(json.dumps, rows)) + '\n{"feature": 3, "do', encoding="utf-8")
    settings = CandidateSettings(0, 0, 3, journal)
    chosen = candidates(sae, folder, model, tokenizer, listed.topics, settings)
    assert chosen == {"sea": [9], "food": [12]}  # What is not above the mean is no candidate.
    rows[0]["weights"] = "another SAE"
    journal.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert candidates(sae, folder, model, tokenizer, listed.topics, settings) == {"sea": [], "food": []}


def settings_of(
    tmp_path: Path, folder: Path, model: Path, name: str = "j", **changes: object
) -> SteerSettings:
    topics = make_topics(tmp_path / "topics.toml")
    settings = SteerSettings(
        folder, str(model), tmp_path / f"{name}.jsonl", topics, CandidateSettings(3, 0, 0), 3, 2
    )
    return replace(settings, new_tokens=6, rows=8, threads=1, strengths=(0.5, 1.0), **changes)


def test_feature_and_dose_are_chosen_by_some_questions_and_reported_on_others(
    tmp_path: Path, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(tmp_path, folder, tiny_model)
    model, tokenizer = HookedModel.load(tiny_model, HOOK), load_tokenizer(str(tiny_model))
    topics = read_topics(settings.topics).topics
    chosen = candidates(load_sae(folder), folder, model, tokenizer, topics, settings.candidates)
    good = {topic: features[-1] for topic, features in chosen.items()}  # The least active on the sentences.

    def write(self: TextBook, wanted: Sequence[Wanted], progress: object) -> None:
        """Made up: one feature of each topic says its words, at 1.0 the more, when chosen by; less when proven."""
        for one in wanted:
            text = "some words that say nothing of it"
            for topic, word in (("sea", "ship"), ("food", "salt")):
                if one.feature == good[topic]:
                    times = round(4 * one.amount / 0.6) if one.question != "the sea?" else 1
                    text += "".join(f" {word} number{time}" for time in range(times))
            self._texts[one] = Text(text, -1.0)

    monkeypatch.setattr(TextBook, "write", write)
    best = {one.topic: one for one in find_steering_features(settings)}
    for topic, one in best.items():
        assert one.feature == good[topic]
        assert one.strength == 1.0
        assert [sample.prompt for sample in one.samples] == ["the sea?"]
        assert one.dose.gain == pytest.approx(100 * 1 / 9)
        assert one.dose.loss == 0.0


def test_a_killed_search_keeps_its_texts_and_ends_the_same(
    tmp_path: Path, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = find_steering_features(settings_of(tmp_path, folder, tiny_model, "whole"))
    original, rounds = steering_book.tell_all, []

    def telling(*arguments: object) -> object:
        rounds.append(1)
        if len(rounds) == 3:
            raise KeyboardInterrupt
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(steering_book, "tell_all", telling)
    settings = settings_of(tmp_path, folder, tiny_model, "killed")
    with pytest.raises(KeyboardInterrupt):
        find_steering_features(settings)
    kept = settings.journal.read_text("utf-8").splitlines()
    assert len(kept) == 1 + 3 + 8  # The run, what is not steered, and one round.
    assert find_steering_features(settings) == whole
    assert settings.journal.read_text("utf-8").splitlines()[: len(kept)] == kept
    rounds[:] = [1, 1, 1]
    assert find_steering_features(settings) == whole
    assert len(rounds) == 3  # All texts were there.


def test_calibration_sets_the_unit_and_measures_the_doses_anew(
    tmp_path: Path, folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sae"
    write_saelens(copy, load_sae(folder))

    def write(self: TextBook, wanted: Sequence[Wanted], progress: object) -> None:
        """Made up: all features say words of both topics, best at 0.45 of the median norm, and break beyond 0.5."""
        for one in wanted:
            times = max(0, 8 - round(abs(one.amount - 0.45) / 0.01)) if one.feature >= 0 else 0
            self._texts[one] = Text("words " * 20 + "ship salt " * times, -1.0 - 9 * (one.amount > 0.5))

    monkeypatch.setattr(TextBook, "write", write)
    monkeypatch.setattr("services.saelab.steer.distinct_runs", lambda text: 1.0)
    doses = tuple(step / 20 for step in range(4, 20))
    settings = replace(settings_of(tmp_path, copy, tiny_model), strengths=doses, calibrate=True)
    best = find_steering_features(settings)
    assert load_sae(copy).strength_constant == 0.9
    assert [one.strength for one in best] == [0.5, 0.5]
    assert [one.place_of(0.5) for one in best] == [1, 1]


def test_texts_depend_on_the_amount_and_not_on_the_unit(
    tmp_path: Path, folder: Path, tiny_model: Path
) -> None:
    sae = load_sae(folder)
    other = tmp_path / "other"
    write_saelens(other, replace(sae, strength_constant=0.3))
    wanted = [Wanted.nudged("tree?", feature, 0.6) for feature in range(4)]
    texts = []
    for number, (path, loaded) in enumerate([(folder, sae), (other, load_sae(other))]):
        book = TextBook(
            tmp_path / f"{number}.jsonl",
            loaded,
            path,
            str(tiny_model),
            lambda: HookedModel.load(tiny_model, HOOK),
            new_tokens=6,
            rows=4,
            threads=1,
            device="cpu",
        )
        book.write(wanted)
        texts.append([book[one].text for one in wanted])
        book.close()
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


def test_an_sae_without_scales_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    sae: Sae = random_sae()
    write_saelens(tmp_path / "bare", sae)
    with pytest.raises(SaeLabError, match="hearth sae evaluate"):
        find_steering_features(settings_of(tmp_path, tmp_path / "bare", tiny_model))


def test_the_report_shows_failures_and_counts_what_steers(
    tmp_path: Path, folder: Path, tiny_model: Path
) -> None:
    find_steering_features(settings_of(tmp_path, folder, tiny_model))
    rows = json.loads((folder / "steering.json").read_text("utf-8"))
    rows[0]["steers"], rows[1]["steers"] = True, False
    text = write_report(tmp_path, "tiny", 0.6, rows).read_text("utf-8")
    assert "Of 2 everyday concepts, **1 steer**" in text
    assert f"**{rows[1]['topic']}**: feature {rows[1]['feature']}" in text
    assert text.count("(does not steer by the rule)") == 1
    assert (tmp_path / "steering.png").read_bytes().startswith(b"\x89PNG")
