"""The model writes text itself: chats and short pieces from many prompts, through the engine that serves it.

What it writes depends on model, seed, prompts and platform alone: the engine gives the same text in any company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from services.errors import HearthError
from services.inference.host import ModelHost
from services.inference.load import load_host
from services.inference.selftest import SteeringBroken
from services.inference.settings import InferenceSettings
from services.saelab.documents import write_documents
from services.saelab.errors import SaeLabError
from services.saelab.write_desk import Desk
from services.saelab.write_prompts import PromptTable, load_prompts
from services.saelab.write_settings import Progress, WriteSettings
from services.saelab.written import Answers, Drafts, Written, assemble


def write(settings: WriteSettings, progress: Progress = lambda status: None) -> Written:
    """Writes the documents, going on where a run of the same settings was stopped; returns them.

    Raises SaeLabError where the model has no chat template or writes nothing fit, the disk is full, or the files are
    of another run; SetupError where the model cannot be had.
    """
    table = load_prompts(settings.prompts)
    with _engine(settings) as host:
        run = _run_of(settings, host, table)
        answers = Answers(settings.journal, run)
        desk = Desk(settings, host, table, answers, Drafts(settings.drafts, run))
        try:
            asyncio.run(desk.work(progress, lambda: _save(settings, table, answers)))
        except HearthError as error:
            raise SaeLabError(f"the engine stopped writing: {error}") from error
        finally:
            answers.close()
        return _save(settings, table, answers)


@contextmanager
def _engine(settings: WriteSettings) -> Iterator[ModelHost]:
    try:
        host = load_host(
            InferenceSettings(
                model=settings.model,
                saes=[],
                device=settings.device,
                threads=settings.threads,
                max_running=settings.rows,
            )
        )
    except SteeringBroken as error:
        raise SaeLabError(f"{settings.model} cannot write: {error}") from error
    try:
        if not host.tokenizer.has_chat_template:
            raise SaeLabError(f"{settings.model} has no chat template, so it cannot write chats")
        yield host
    finally:
        host.engine.stop()


def _run_of(settings: WriteSettings, host: ModelHost, table: PromptTable) -> dict[str, Any]:
    """What must be the same for a run to be gone on with."""
    return {
        "model": host.identity.id,
        "weights": host.identity.weights_digest,
        "prompts": table.digest,
        "seed": settings.seed,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
    }


def _save(settings: WriteSettings, table: PromptTable, answers: Answers) -> Written:
    written = assemble(
        answers.by_number, lambda number: table.assignment(settings.seed, number), settings.tokens
    )
    try:
        write_documents(settings.out, written.documents)
    except OSError as error:
        raise SaeLabError(
            f"{settings.out} could not be written ({error}): free some space and run the same command again"
        ) from error
    return written
