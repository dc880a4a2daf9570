"""The offline judge agrees with people on the gold set, on the embedded model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.autosteer.clients.inference import InferenceClient
from services.autosteer.judges.gold import gold_pairs, judged_pairs, share_of
from services.autosteer.spec import JudgeChoice
from services.encoder.minilm import load_encoder
from services.rpc.channel import connect
from tests.mesh.processes import Process, Running


@pytest.fixture(scope="module")
def inference(embedded_model: Path) -> Iterator[Process]:
    with Running("inference") as process:
        yield process


def test_the_gold_set_has_all_ways_to_fail() -> None:
    kinds = Counter(pair.kind for pair in gold_pairs())
    assert set(kinds) == {"absent", "broken", "astray", "weaker"}
    assert len(gold_pairs()) >= 16
    assert len({pair.behavior for pair in gold_pairs()}) >= 6


@pytest.mark.model
async def test_the_offline_judge_ranks_as_people_do_and_puts_broken_text_last(
    inference: Process, sentence_encoder: Path
) -> None:
    encode = load_encoder(sentence_encoder)
    async with connect(inference.address) as channel:
        client = InferenceClient(channel)
        await client.served("", "")
        judged = await judged_pairs(JudgeChoice(), client, encode, has_chat_template=True)
    table = "\n".join(f"{p.kind} {p.behavior}: {better} {worse}" for p, better, worse in judged)
    assert len(judged) == len(gold_pairs())
    assert share_of(judged) >= 0.8, table
    broken = [(better, worse) for pair, better, worse in judged if pair.kind == "broken"]
    assert all(worse.objective < better.objective for better, worse in broken), table
