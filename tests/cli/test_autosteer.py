"""`hearth autosteer` beside the real server, database and worker; only the search itself is a made one."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from hearth.v1.autosteer_service_pb2_grpc import add_AutoSteerServiceServicer_to_server
from services.autosteer.checkpoints import Kept
from services.autosteer.creation import Creation
from services.autosteer.database.schema import MIGRATIONS
from services.autosteer.events import EventLog
from services.autosteer.leases import Lease, Leases
from services.autosteer.ledger import Ledger, QueueLimits
from services.autosteer.progress import CandidatesFound, StageProgress, StageStarted, TrialDone
from services.autosteer.running import Runner
from services.autosteer.servicer import AutoSteerServicer
from services.autosteer.spec import (
    Arm,
    Candidate,
    Decision,
    Difference,
    Interval,
    JudgeReport,
    Result,
    Sample,
    Stage,
    Trial,
    Validation,
    Verdict,
)
from services.autosteer.suggesting import Suggesting
from services.autosteer.upstream import Served
from services.cli.render.autosteer import job_view
from services.cli.steered import SteerJob
from services.database.database import Database
from services.database.settings import DatabaseSettings, sqlite_url
from services.errors import ModelNotServed
from services.rpc.server import RunningServer, ServerSettings, serve
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation
from tests.cli.conftest import Done, Run
from tests.cli.features_server import features_running
from tests.cli.loops import loop_in_thread

KEY = FeatureKey("s", 7)
EDITS = (Edit(KEY, Operation.NUDGE, 0.25),)
POISON = "never ends well"


def samples(text: str) -> tuple[Sample, ...]:
    return (Sample("Who are you?", 1, text, 0.5, 0.5, 0.5, 0.5),)


TRIAL = Trial(4, EDITS, 0.62, 0.6, 0.7, 0.8, samples("Arr, matey"))
SCORE = Interval(0.62, 0.5, 0.7)
RESULT = Result(
    TRIAL,
    (TRIAL, Trial(1, EDITS, 0.3, 0.9, 0.2, 0.4, ())),
    Validation(
        ("Who are you?",),
        (
            Arm("steered 1", EDITS, SCORE, SCORE, SCORE, SCORE, samples("Arr, I be a captain"), 4),
            Arm("unsteered", (), SCORE, SCORE, SCORE, SCORE, samples("I am a model")),
        ),
        (Difference("steered 1", "unsteered", Interval(0.3, 0.1, 0.4)),),
    ),
    Verdict(Decision.USE, "The edits beat every rival."),
    JudgeReport("offline", 0.9, 60),
    {"s/7": "pirates and ships"},
    ("the search made 5 of 6 trials",),
    12.0,
)


class Models:
    """Serves one model."""

    async def served(self, model: str, sae: str) -> Served:
        if model not in ("", "m"):
            raise ModelNotServed(model, ["m"])
        return Served("m", "s", True, 10, 1.0)


async def drive(lease: Lease, kept: Kept, stop: asyncio.Event) -> Result:
    """What a search says."""
    if lease.spec.behavior == POISON:
        raise ZeroDivisionError
    await kept.tell(StageStarted(Stage.SEARCH))
    await kept.tell(CandidatesFound(Stage.SCREEN, (Candidate(KEY, "pirates and ships", ("search",), 1.0),)))
    await kept.add_trial(TRIAL)
    await kept.tell(TrialDone(TRIAL))
    await kept.tell(StageProgress(Stage.SEARCH, 1, 6, 3.0, TRIAL))
    return RESULT


async def started(folder: Path, stack: AsyncExitStack) -> RunningServer:
    database = Database(DatabaseSettings(sqlite_url(folder / "jobs.db")))
    stack.push_async_callback(database.close)
    await database.upgrade(MIGRATIONS)
    ledger = Ledger(database, QueueLimits(10, 10))
    runner = Runner(
        database, Leases(database, 60.0), drive, quick_at_once=1, slow_at_once=1, poll_seconds=0.01
    )
    working: set[asyncio.Task[bool]] = set()

    async def announce() -> None:
        working.add(asyncio.create_task(runner.one()))

    creation = Creation(ledger, lambda owner: Models(), announce)  # type: ignore[arg-type, return-value]
    suggesting = Suggesting(lambda owner: Models(), None, None)  # type: ignore[arg-type, return-value]
    servicer = AutoSteerServicer(creation, ledger, EventLog(database, 0.01), suggesting)
    server = await serve(
        {"hearth.v1.AutoSteerService": lambda s: add_AutoSteerServiceServicer_to_server(servicer, s)},
        ServerSettings(drain_seconds=0),
        handle_signals=False,
    )
    stack.push_async_callback(server.drain)
    return server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stack = AsyncExitStack()
    with loop_in_thread() as wait:
        address = wait(started(tmp_path_factory.mktemp("jobs"), stack)).address
        yield address
        wait(stack.aclose())


@pytest.fixture
def ask(run: Run, server: str, request: pytest.FixtureRequest) -> Run:
    """`hearth autosteer`, on behalf of an owner of this test's own."""

    def ask_it(*arguments: str, **environment: str) -> Done:
        where = {"HEARTH_AUTOSTEER_ADDRESS": server, "HEARTH_OWNER": request.node.name, "COLUMNS": "120"}
        return run("autosteer", *arguments, **{**where, **environment})

    return ask_it


def test_a_sentence_becomes_edits_scores_a_verdict_and_a_command(ask: Run) -> None:
    done = ask("talk like a pirate")
    assert done.code == 0
    for part in (
        "pirates and ships",
        "nudge +0.250",
        "Arr, I be a captain",
        "I am a model",
        "0.62 [0.50, 0.70]",
        "Use it. The edits beat every rival.",
        "agrees with people on 90% of 60 pairs",
        "the search made 5 of 6 trials",
        'hearth chat --nudge 7=0.25 "Tell me a story."',
    ):
        assert part in done.out, part
    leads = done.out.split("steered 1 over")[1]
    assert re.search(r"^ *unsteered +\+0\.30 \[\+0\.10, \+0\.40\]", leads, re.M)
    assert "searching for weights" in done.err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_edits_that_the_verdict_is_about_are_shown_and_nothing_is_cut_off(columns: int) -> None:
    """They need not have the highest score: fluent ones go first."""
    arms = [
        Arm("steered 1", EDITS, Interval(0.9, 0.8, 1.0), SCORE, SCORE, SCORE, samples("Arr arr arr arr"), 4),
        Arm("steered 2", EDITS, SCORE, SCORE, SCORE, SCORE, samples("Arr, I be a captain") * 2, 5),
        Arm("unsteered", (), SCORE, SCORE, SCORE, SCORE, samples("I am a model") * 2),
    ]
    leads = tuple(
        Difference("steered 2", over, Interval(0.3, 0.1, 0.4)) for over in ("steered 1", "unsteered")
    )
    validation = Validation(("Who are you?", "And you?"), tuple(arms), leads)
    page = io.StringIO()
    result = replace(RESULT, validation=validation)
    now = datetime.now(UTC)
    job = SteerJob("1", "be a pirate", "m", "default", "succeeded", "", now, TRIAL, result, "use", "")
    Console(file=page, width=columns).print(job_view(job))
    out = page.getvalue()
    assert "I be a captain" in out
    assert "Arr arr" not in out
    assert "steered 2 over" in out
    assert "…" not in out
    assert re.search(r"^ *steered 2 +0\.62 \[0\.50, 0\.70\] +0\.62 +0\.62 +0\.62 +2 *$", out, re.M)


def test_a_job_is_listed_shown_and_watched_again(ask: Run) -> None:
    job = ask("--detach", "--quick", "talk like a pirate").out.strip()
    watched = ask("watch", job, "--json")
    shown = ask("show", job, "--json")
    assert json.loads(watched.out) == json.loads(shown.out)
    assert json.loads(shown.out)["result"]["verdict"]["decision"] == "use"
    listed = ask("list").out
    assert job in listed
    assert "quick" in listed
    assert "Use it" in listed
    assert ask("cancel", job).out.startswith(f"job {job}  succeeded")


def test_the_pareto_front_becomes_a_picture(ask: Run, tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    assert ask("talk like a pirate", "--png", str(picture)).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_result_is_saved_as_a_variant(ask: Run, run: Run, tmp_path: Path) -> None:
    with features_running(tmp_path) as features:
        done = ask(
            "--save",
            "sailor",
            "talk like a pirate",
            HEARTH_FEATURES_ADDRESS=features.address,
            HEARTH_OWNER="ann",
        )
        assert done.code == 0, done.err
        shown = run(
            "variants", "list", HEARTH_FEATURES_ADDRESS=features.address, HEARTH_OWNER="ann", COLUMNS="120"
        )
        assert "sailor" in shown.out
        assert "nudge 7 +0.25" in shown.out


def test_what_is_wrong_is_one_line(ask: Run) -> None:
    refused = ask("talk like a pirate", "--model", "nope")
    assert (refused.code, refused.out) == (1, "")
    assert "spec.model" in refused.err
    failed = ask(POISON)
    assert failed.code == 1
    assert "internal error" in failed.out
    assert ask("list", HEARTH_OWNER="nobody").out.startswith("There is none")
