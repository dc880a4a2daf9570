"""Language models as explainers and judges: a real server in OpenAI's format, and a model on our own engine."""

from __future__ import annotations

import json
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from services.saelab.errors import SaeLabError
from services.saelab.label import asked  # noqa: F401 - registers explainers and judges
from services.saelab.label.asking import Endpoint, EndpointError, LocalModel, Question
from services.saelab.label.contexts import SampleSizes
from services.saelab.label.explainers import ExplainerSettings, explain_all, make_explainer
from services.saelab.label.judges import make_judge
from services.saelab.label.prompts import label_in, marked, verdicts_in
from services.saelab.label.score import score_all
from services.saelab.label_table import Label
from tests.saelab.label.made_texts import PLANTED, MadeBench
from tests.saelab.label.openai_server import Reply, serving

NAMES = list(PLANTED)
QUESTION = Question("Be brief.", "What is marked?", 20)


def endpoint(url: str, **changes: Any) -> Endpoint:
    return Endpoint(url, "m1", **({"first_wait": 0.001, "deadline": 5.0} | changes))


def test_a_question_is_asked_in_openais_format_and_its_answer_read() -> None:
    with serving(lambda body: "the sea") as server:
        assert list(endpoint(server.url, key="k1").ask([QUESTION])) == [(0, "the sea")]
    assert server.bodies[0] == {
        "model": "m1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is marked?"},
        ],
        "temperature": 0,
        "max_tokens": 20,
    }
    assert server.headers[0]["Authorization"] == "Bearer k1"


def test_questions_are_asked_side_by_side_and_each_gets_its_answer() -> None:
    together = threading.Barrier(4, timeout=10)  # Lets nobody through before four are asked.

    def answer(body: dict[str, Any]) -> str:
        together.wait()
        return str(body["messages"][1]["content"])

    with serving(answer) as server:
        questions = [Question("", f"q{number}", 5) for number in range(12)]
        answers = dict(endpoint(server.url, concurrency=4).ask(questions))
    assert answers == {number: f"q{number}" for number in range(12)}


@pytest.mark.parametrize(
    "trouble",
    [
        Reply(429, b'{"error": {"message": "slow down"}}', {"Retry-After": "0"}),
        Reply(503, b"warming up", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    ],
    ids=["busy", "starting"],
)
def test_an_endpoint_in_trouble_for_the_moment_is_asked_again(trouble: Reply) -> None:
    replies = [trouble, trouble]
    with serving(lambda body: replies.pop() if replies else "at last") as server:
        assert list(endpoint(server.url).ask([QUESTION])) == [(0, "at last")]
    assert len(server.bodies) == 3


def test_an_answer_that_does_not_come_in_time_is_given_up() -> None:
    never = threading.Event()

    def answer(body: dict[str, Any]) -> str:
        never.wait(10)
        return "too late"

    with serving(answer) as server:
        with pytest.raises(
            EndpointError, match=r"in 2 tries \(no answer within 0\.1 s\): run the same command"
        ):
            list(endpoint(server.url, deadline=0.1, retries=1).ask([QUESTION]))
        never.set()


def test_a_refusal_is_told_at_once() -> None:
    refusal = Reply(401, b'{"error": {"message": "wrong key"}}')
    with serving(lambda body: refusal) as server:
        with pytest.raises(EndpointError, match="refuses to answer as m1: 401 wrong key"):
            list(endpoint(server.url).ask([QUESTION]))
        assert len(server.bodies) == 1


def test_an_answer_in_another_format_is_told() -> None:
    with (
        serving(lambda body: Reply(200, b'{"text": "the sea"}')) as server,
        pytest.raises(EndpointError, match="answers in another format than OpenAI's"),
    ):
        list(endpoint(server.url).ask([QUESTION]))


def test_an_endpoint_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:  # A port on which nobody listens.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(EndpointError, match="did not answer in 2 tries"):
            list(endpoint(url, retries=1).ask([QUESTION]))


def test_labels_are_found_in_what_models_say() -> None:
    assert label_in('{"label": "ships at sea", "confidence": 0.8}') == ("ships at sea", 0.8)
    assert label_in('Sure!\n```json\n{"label": "digits"}\n```') == ("digits", None)
    assert label_in('{"label": "cut off') == ("cut off", None)
    assert label_in("Label: the word 'of'.\nBecause ...") == ("the word 'of'", None)
    assert label_in("") == ("", None)
    assert len(label_in("word " * 50)[0]) <= 80


def test_verdicts_are_found_in_what_models_say() -> None:
    assert verdicts_in("1 0 1", 3) == [1, 0, 1]
    assert verdicts_in("1, 0", 3) == [1, 0, 0.5]
    assert verdicts_in("I cannot say.", 2) == [0.5, 0.5]
    assert verdicts_in("1 0 1 1 1 0", 3) == [0.5] * 3  # Of what is not clear.


def test_runs_of_marked_tokens_are_set_apart_without_their_spaces() -> None:
    assert marked([" the", " old", " sea", "."], [False, True, True, False]) == " the «old sea»."
    assert marked(["a", "b"], [True, True]) == "«ab»"


def reader(body: dict[str, Any]) -> str:
    """What an ideal model would say: names the marked words, finds what is described."""
    instruction, content = (message["content"] for message in body["messages"])
    if "name single features" in instruction:
        words = sorted(set(re.findall(r"«([^»]+)»", content)))
        return json.dumps({"label": ", ".join(f'"{word}"' for word in words[:4]), "confidence": 0.9})
    described, *excerpts = content.split("\n")
    words = re.findall(r'"([^"]+)"', described)
    fuzz = "were marked by mistake" in instruction
    verdicts = [
        any(f"«{word}»" in excerpt if fuzz else re.search(rf"\b{word}\b", excerpt) for word in words)
        for excerpt in excerpts
    ]
    return " ".join(str(int(bool(verdict))) for verdict in verdicts)


def test_an_endpoint_gives_labels_and_tests_them(tmp_path: Path) -> None:
    bench = MadeBench(tmp_path, SampleSizes(10, 15))
    features = [NAMES.index("word"), NAMES.index("silent"), *range(8, len(NAMES))]
    with serving(reader) as server:
        settings = ExplainerSettings("openai", "m1", server.url, retries=0)
        labels = explain_all(bench, make_explainer(bench, settings), features)
        tested = score_all(bench, labels, make_judge(bench, labels, settings))
        asked_before = len(server.bodies)
        assert explain_all(bench, make_explainer(bench, settings), features) == labels
        assert score_all(bench, labels, make_judge(bench, labels, settings)) == tested
        assert len(server.bodies) == asked_before  # What was answered is not asked again.
    assert labels[0].label == '"harbour"'
    assert (labels[0].source, labels[0].confidence) == ("openai:m1", 0.9)
    assert labels[1].label == "unlabelled: hardly active in the texts"
    assert tested[0].is_labelled
    assert (tested[0].score, tested[0].fuzzing) == (1.0, 1.0)
    assert tested[0].evidence.startswith("judge openai:m1; 10 active and 15 silent")


def test_a_judge_that_always_says_yes_lets_no_label_through(tmp_path: Path) -> None:
    bench = MadeBench(tmp_path, SampleSizes(10, 15))
    labels = [Label(n, f'the word "{name}"', "", "hand") for n, name in enumerate(NAMES) if 7 < n < 18]
    with serving(lambda body: "1 1 1 1 1") as server:
        settings = ExplainerSettings("openai", "m1", server.url, retries=0)
        tested = score_all(bench, labels, make_judge(bench, labels, settings))
    assert [label.score for label in tested] == [0.5] * len(labels)
    assert not any(label.is_labelled for label in tested)


def test_an_endpoint_needs_an_address_and_a_model(tmp_path: Path) -> None:
    with pytest.raises(SaeLabError, match="--url and --ask"):
        make_explainer(MadeBench(tmp_path), ExplainerSettings("openai"))


def test_a_model_on_our_own_engine_answers_the_same_in_any_company(tiny_model: Path) -> None:
    questions = [Question("", f"sea {number}", 6) for number in range(3)]
    model = LocalModel(str(tiny_model))
    try:
        answers = dict(model.ask(questions))
        assert sorted(answers) == [0, 1, 2]
        assert dict(model.ask(questions[1:2])) == {0: answers[1]}
        assert model.source == f"model:{tiny_model.name}"
    finally:
        model.close()
