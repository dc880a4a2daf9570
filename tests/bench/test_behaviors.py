"""The bench of behaviours: prompts that nothing was tuned on, what counts as met, every failure in the report."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.behaviors import samples
from bench.behaviors.__main__ import arguments, main
from bench.behaviors.behaviors import KINDS, behaviors, questions
from bench.behaviors.judging import rejudged, second_opinion
from bench.behaviors.kept import OtherSetup, Work
from bench.behaviors.measuring import Servers
from bench.behaviors.outcome import ARMS, AUTO, RULE, TOP_HIT, Judges, Outcome, arm, followed, worst
from bench.behaviors.progress import Progress
from bench.behaviors.report import report
from bench.behaviors.rivals import in_order
from bench.behaviors.targets import TARGETS
from services.autosteer.drafting import is_held_out
from services.autosteer.drafting import questions as own_questions
from services.autosteer.judges.gold import gold_pairs
from services.autosteer.judges.registry import Asked
from services.autosteer.limits import check
from services.autosteer.objective import Scores
from services.autosteer.progress import StageProgress, StageStarted
from services.autosteer.spec import Decision, JudgeChoice, JudgeReport, Prompt, Spec, Stage, Trial
from services.autosteer.validation import SYSTEM_PROMPT, UNSTEERED
from services.rpc.channel import connect
from tests.autosteer.made import bag_of_words
from tests.bench.made_outcomes import PROMPTS, SETUP, outcome, validation

NAMES = list(behaviors())
RIVALS, NOTHING, FLUENCY, PROMPTING = TARGETS


def all_of(count: int = 20) -> list[Outcome]:
    return [outcome(name) for name in NAMES[:count]]


def rendered(outcomes: Sequence[Outcome]) -> str:
    judges = Judges((JudgeReport("offline", 0.85, 20),))
    return report(outcomes, behaviors(), judges, "# Head", "texts.jsonl")


def test_the_twenty_behaviours_are_of_every_kind_and_a_job_may_ask_for_each() -> None:
    assert len(behaviors()) == 20
    assert Counter(each.kind for each in behaviors().values()).keys() == set(KINDS)
    for each in behaviors().values():
        check(Spec(each.words))


def test_the_prompts_are_held_out_and_none_that_auto_steer_or_the_gold_set_knows() -> None:
    known = {p.question for p in own_questions(True)} | {pair.question for pair in gold_pairs()}
    assert len(set(questions())) == len(questions()) == 24
    assert not known & set(questions())
    assert all(is_held_out(Prompt.ask(text)) for text in questions())


def test_the_rule_takes_features_by_the_likeness_of_their_labels_then_as_the_contrast_has_them() -> None:
    assert in_order([5, 3, 8, 2], {3: 0.2, 2: 0.7}) == [2, 3, 5, 8]


def test_the_targets_are_met_at_sixteen_and_eighteen_of_twenty() -> None:
    lost_to_rule = [outcome(name, {RULE: 0.9}) for name in NAMES[:4]]
    assert RIVALS.met([*lost_to_rule, *all_of()[4:]])
    assert not RIVALS.met([*lost_to_rule, outcome(NAMES[4], {TOP_HIT: 0.9}), *all_of()[5:]])
    idle = [outcome(name, {AUTO: 0.0}) for name in NAMES[:3]]
    assert NOTHING.met([*idle[:2], *all_of()[2:]])
    assert not NOTHING.met([*idle, *all_of()[3:]])


def test_the_verdict_is_held_to_the_behaviours_that_a_prompt_does_better() -> None:
    better = {SYSTEM_PROMPT: 0.9}
    said = [outcome(name, better, Decision.PROMPT_INSTEAD) for name in NAMES[:4]]
    unsaid = outcome(NAMES[4], better)
    assert PROMPTING.met([*said, unsaid, *all_of()[5:]])
    assert not PROMPTING.met([*said[:3], unsaid])
    assert PROMPTING.failures([*said, unsaid]) == [unsaid]


def test_fluency_is_held_to_the_bound_of_the_verdict() -> None:
    assert FLUENCY.met([outcome("sea", fluency=0.5)])
    assert not FLUENCY.met([outcome("sea", fluency=0.49)])


def test_who_follows_the_verdict_gets_the_way_that_it_names() -> None:
    for decision, name in (
        (Decision.USE, AUTO),
        (Decision.PROMPT_INSTEAD, SYSTEM_PROMPT),
        (Decision.NO_SAFE_STEER, UNSTEERED),
    ):
        each = outcome("sea", decision=decision)
        assert followed(each, each.measured) == arm(each.measured, name)


def test_the_report_has_every_behaviour_with_all_its_numbers_and_what_was_cut_short() -> None:
    outcomes = [*all_of()[:19], outcome(NAMES[19], cut_short=["the search made 3 of 20 trials"])]
    text = rendered(outcomes)
    for each in outcomes:
        row = next(
            line for line in text.splitlines() if line.startswith(f"| {behaviors()[each.name].words} |")
        )
        for name in ARMS:
            assert f"{arm(each.measured, name).score.mean:.2f} [" in row
    assert "agrees with the gold set on 85 % of 20 pairs" in text
    assert "the search made 3 of 20 trials" in text
    assert f"left something out on 1 (listed under Edits): {NAMES[19]}" in text
    assert "7 +0.40 bread \\| ovens" in text
    assert text.count("met |") == 3
    assert "missed" not in text
    assert "None: every target holds for every behaviour." in text


def test_a_failure_is_named_with_what_is_missing_and_its_worst_texts() -> None:
    lost = outcome("pirate", {TOP_HIT: 0.9, SYSTEM_PROMPT: 0.95})
    failed = rendered([lost]).split("## Failures")[1]
    assert "**talk like a pirate**: objective" in failed
    assert "of top hit" in failed
    assert "of Ember's rule" not in failed
    assert "It lacks adherence most." in failed
    ours, theirs = worst(lost.measured, TOP_HIT, 1)[0]
    assert (
        failed.index(f"- {ours.prompt}") < failed.index(f"`{ours.text}`") < failed.index(f"`{theirs.text}`")
    )
    assert "The verdict is USE: The reason of pirate." in failed


def test_a_part_of_the_twenty_is_not_passed_off_as_all() -> None:
    assert "met so far: 3 of 20 behaviours" in rendered(all_of(3))


def test_every_text_is_in_the_file_which_is_compressed_where_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = all_of(2)
    plain = samples.write(outcomes, tmp_path / "texts")
    assert plain.name == "texts.jsonl"
    rows = [json.loads(line) for line in plain.read_text("utf-8").splitlines()]
    assert len(rows) == 2 * 2 * len(ARMS) * len(PROMPTS)
    assert Counter(row["part"] for row in rows) == {"comparison": 30, "validation": 30}
    assert {row["text"] for row in rows if row["arm"] == AUTO} == {
        f"{AUTO} says {n} about it" for n in range(3)
    }
    monkeypatch.setattr(samples, "PLAIN_BYTES", 100)
    packed = samples.write(outcomes, tmp_path / "texts")
    assert packed.name == "texts.jsonl.gz"
    assert not plain.exists()
    assert [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()] == rows


async def test_another_judge_sees_the_same_texts_but_for_those_that_are_broken() -> None:
    class Second:
        name = "second"
        asked: list[Asked]

        async def __call__(self, asked: Sequence[Asked]) -> list[Scores]:
            self.asked = [*getattr(self, "asked", []), *asked]
            return [Scores(0.5, 1.0, 1.0)] * len(asked)

        async def close(self) -> None:
            """Nothing is open."""

    measured, second = validation({AUTO: 0.6, UNSTEERED: 0.0}), Second()
    auto = arm(measured, AUTO)
    broken = replace(
        auto, samples=(replace(auto.samples[0], text="sea sea sea sea sea sea"), *auto.samples[1:])
    )
    opinion = await rejudged(replace(measured, arms=(broken, measured.arms[1])), second, 0)
    scores = [sample.score for sample in arm(opinion, AUTO).samples]
    assert scores[0] == 0.0
    assert scores[1:] == [pytest.approx(0.75)] * 2
    assert len(second.asked) == 5
    assert second.asked[0].plain == f"{UNSTEERED} says 1 about it"


async def test_an_openai_compatible_endpoint_gives_a_second_opinion_once() -> None:
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            said = {"choices": [{"message": {"content": "concept=1 instruction=2 fluency=2"}}]}
            content = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    lines: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        choice = JudgeChoice("openai", f"http://127.0.0.1:{server.server_port}/v1", "big")
        async with connect("127.0.0.1:9") as channel:  # the endpoint alone is asked
            servers = Servers(channel, channel, bag_of_words)
            once = await second_opinion(
                outcome("sea"), "write about the sea", choice, servers, "", lines.append
            )
            again = await second_opinion(once, "write about the sea", choice, servers, "", lines.append)
        server.shutdown()
    assert again == once
    assert len(bodies) == len(ARMS) * len(PROMPTS)
    assert lines == ["sea: openai:big judges 15 texts"]
    assert arm(once.judged_by("openai:big"), AUTO).score.mean == pytest.approx(0.75)
    text = rendered([once])
    assert "## Targets, judge `openai:big`" in text
    assert sum(row["judge"] == "openai:big" for row in samples.rows([once])) == 15


def test_a_run_goes_on_with_what_the_work_folder_holds(tmp_path: Path) -> None:
    work, done = Work(tmp_path), outcome("sea")
    assert work.outcome("sea") is None
    work.keep(done)
    assert Work(tmp_path).outcomes(behaviors()) == [done]
    work.check(SETUP, behaviors())
    with pytest.raises(OtherSetup, match=r"'sea' with seed 0, not 1.*--work"):
        work.check(replace(SETUP, seed=1), behaviors())


async def test_a_job_goes_on_after_a_kill_and_is_forgotten_once_it_is_done(tmp_path: Path) -> None:
    work = Work(tmp_path)
    first = work.checkpoints("sea", SETUP)
    trial = Trial(10, (), 0.1, 0.2, 0.3, 0.4, ())
    await first.put("draft", {"made": [1]})
    await first.add_trial(trial)
    await first.add_trial(replace(trial, number=9))
    again = work.checkpoints("sea", SETUP)
    assert await again.get("draft") == {"made": [1]}
    assert [each.number for each in await again.trials()] == [9, 10]
    assert await work.checkpoints("sea", replace(SETUP, seed=1)).trials() == []
    work.keep(outcome("sea"))
    assert await work.checkpoints("sea", SETUP).get("draft") is None


async def test_the_time_left_follows_from_the_behaviours_that_are_done() -> None:
    now, out = [0.0], io.StringIO()
    progress = Progress(out, 3, [100.0, 140.0], 500.0, lambda: now[0])
    assert Progress(out, 2, [], 500.0, lambda: 0.0).seconds_left == 1500.0
    progress.begins("sea")
    now[0] = 60.0
    assert progress.seconds_left == 60.0 + 2 * 120.0
    await progress.job(StageStarted(Stage.SEARCH))
    await progress.job(StageProgress(Stage.SEARCH, 3, 20, 99.0))
    assert out.getvalue() == "[1 of 3] sea: search; about 5 min left for all\n"


def test_the_list_says_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Work(tmp_path).keep(outcome("pirate", decision=Decision.PROMPT_INSTEAD))
    assert main(["--list", "--work", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 20
    assert [line.split()[0] for line in lines if "done 2026-01-02: PROMPT_INSTEAD" in line] == ["pirate"]


def test_an_unknown_behaviour_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        arguments(["--only", "piracy"])
    assert "no behaviour named piracy; there are sea, space" in capsys.readouterr().err
