"""Judges behind an HTTP endpoint, against a real server on a loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from services.autosteer.judges import endpoint
from services.autosteer.judges.openai import RUBRIC, ratings_in
from services.autosteer.judges.registry import Asked, Bench, Brief, Judge, judge
from services.autosteer.judges.roster import UnknownJudge, judge_names, make_judge
from services.autosteer.objective import Scores, fluency_of
from services.autosteer.spec import JudgeChoice, Prompt
from services.errors import DependencyUnavailable, InvalidField
from tests.autosteer.made import WrittenInference, bag_of_words

ASKED = [
    Asked(Prompt.ask("How are you?"), "Arr, I be fine.", "I am fine.", -2.0, 0.5),
    Asked(Prompt.ask("How are you?"), "I be well, matey.", "I am fine.", -2.0, 1.1),
]
Answer = Callable[[dict[str, Any]], tuple[int, Any]]


@dataclass
class Server:
    """What it was asked, and how it answers."""

    url: str
    answer: Answer
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.001)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            running.bodies.append(body)
            running.keys.append(self.headers.get("authorization", ""))
            status, answer = running.answer(body)
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Server(f"http://127.0.0.1:{listening.server_port}/v1", lambda body: (200, {}))
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield running
    listening.shutdown()
    listening.server_close()
    thread.join()


def made(name: str, url: str, model: str = "", key: str = "") -> Judge:
    bench = Bench(Brief("talk like a pirate", ""), bag_of_words, WrittenInference(), key)
    return make_judge(JudgeChoice(name, url, model), bench)


def chat(text: str) -> Answer:
    return lambda body: (200, {"choices": [{"message": {"content": text}}]})


async def judged(name: str, server: Server, **changes: str) -> list[Scores]:
    judging = made(name, server.url, **changes)
    try:
        return await judging(ASKED)
    finally:
        await judging.close()


async def test_a_language_model_rates_by_the_rubric(server: Server) -> None:
    server.answer = chat("concept=2 instruction=1 fluency=0")
    assert await judged("openai", server, model="rater", key="secret") == [Scores(1.0, 0.5, 0.0)] * 2
    body = server.bodies[0]
    assert body["model"] == "rater"
    assert body["messages"][0]["content"] == RUBRIC
    assert "talk like a pirate" in body["messages"][1]["content"]
    assert {text["messages"][1]["content"].splitlines()[-1] for text in server.bodies} == {
        asked.text for asked in ASKED
    }
    assert server.keys == ["Bearer secret"] * 2


@pytest.mark.parametrize(
    "text", ["Concept: 2\nInstruction: 1\nFluency: 0", "concept = 2, instruction=1; FLUENCY=0"]
)
def test_ratings_are_read_however_they_are_set(text: str) -> None:
    assert ratings_in(text) == Scores(1.0, 0.5, 0.0)


async def test_a_model_that_does_not_rate_is_named(server: Server) -> None:
    server.answer = chat("I would say concept=2.")
    with pytest.raises(InvalidField, match="no rating of instruction, fluency"):
        await judged("openai", server, model="rater")


async def test_an_endpoint_that_is_busy_is_asked_again(server: Server) -> None:
    statuses = iter([503, 429])
    server.answer = lambda body: (next(statuses, 200), {"scores": [{"adherence": 0.5}] * 2})
    scores = await judged("http", server)
    assert len(server.bodies) == 3
    assert [each.adherence for each in scores] == [0.5, 0.5]


async def test_an_endpoint_that_stays_away_is_a_dependency(server: Server) -> None:
    server.answer = lambda body: (500, "oops")
    with pytest.raises(DependencyUnavailable, match="scorer"):
        await judged("http", server)


async def test_an_endpoint_that_refuses_is_not_asked_again(server: Server) -> None:
    server.answer = lambda body: (401, "who are you?")
    with pytest.raises(InvalidField, match="401"):
        await judged("http", server)
    assert len(server.bodies) == 1


async def test_the_users_scorer_gets_the_texts_and_fills_in_what_it_knows(server: Server) -> None:
    rows = [{"adherence": 0.25, "relevance": 0.5, "fluency": 0.75}, {"adherence": 1}]
    server.answer = lambda body: (200, {"scores": rows})
    assert await judged("http", server) == [Scores(0.25, 0.5, 0.75), Scores(1.0, 1.0, fluency_of(1.1))]
    assert server.bodies == [
        {
            "behavior": "talk like a pirate",
            "texts": [
                {"prompt": "How are you?", "text": asked.text, "unsteered": asked.plain} for asked in ASKED
            ],
        }
    ]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"scores": [{"adherence": 0.5}]}, "no list `scores` of 2 rows"),
        ({"scores": [{"adherence": 0.5}, {"relevance": 1}]}, r"no number scores\[1\].adherence"),
        (
            {"scores": [{"adherence": 0.5}, {"adherence": 1.5}]},
            r"scores\[1\].adherence = 1.5; allowed: 0 to 1",
        ),
        ({"scores": [{"adherence": 0.5}, {"adherence": True}]}, r"no number scores\[1\].adherence"),
        ("nonsense", "no JSON"),
    ],
)
async def test_what_is_wrong_with_a_scorers_answer_is_said(server: Server, answer: Any, problem: str) -> None:
    server.answer = lambda body: (200, answer)
    with pytest.raises(InvalidField, match=problem):
        await judged("http", server)


def test_judges_are_a_registry() -> None:
    assert judge_names() == ["http", "offline", "openai"]
    with pytest.raises(UnknownJudge, match="http, offline, openai"):
        made("nobody", "")
    with pytest.raises(ValueError, match="registered twice"):
        judge("offline")(lambda choice, bench: made("offline", ""))
