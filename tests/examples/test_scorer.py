"""The example of a scorer, as its own process, asked by the judge that a job would have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from services.autosteer.judges.registry import Asked
from services.autosteer.judges.scorer import BATCH, Scorer
from services.autosteer.objective import fluency_of
from services.autosteer.spec import JudgeChoice, Prompt

EXAMPLE = Path(__file__).parents[2] / "examples" / "scorer.py"
LONG = "Bread is made by mixing flour with water and then baking all of it in the oven."
SHORT = "Mix the flour and water. Then bake it very well."
LOSS = 0.9


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def asked(text: str) -> Asked:
    return Asked(Prompt.ask("How is bread made?"), text, LONG, -2.0, LOSS)


async def test_a_job_can_be_judged_by_the_example(address: str) -> None:
    scorer = Scorer("short sentences", JudgeChoice("http", address), "")
    short, long = await scorer([asked(SHORT), asked(LONG)])
    await scorer.close()
    assert short.adherence == 1.0
    assert long.adherence == 0.0
    assert (short.relevance, short.fluency) == (1.0, fluency_of(LOSS))


async def test_it_answers_more_texts_than_one_request_holds_in_their_order(address: str) -> None:
    scorer = Scorer("short sentences", JudgeChoice("http", address), "")
    texts = [(SHORT, LONG)[n % 2] for n in range(2 * BATCH + 1)]
    scores = await scorer([asked(text) for text in texts])
    await scorer.close()
    assert [each.adherence for each in scores] == [1.0 if text == SHORT else 0.0 for text in texts]


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"texts": 3}', '{"texts": [{"text": "a"}]}'])
def test_it_refuses_what_it_cannot_read(address: str, body: str) -> None:
    assert httpx2.post(address, content=body).status_code == 400
