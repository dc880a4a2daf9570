"""Nothing that was acknowledged may be lost: what the journal has of it is looked for at the end, through the API.

And the same request alone gives the same text: chats drawn at random are asked again, one at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx2
from google.protobuf.json_format import MessageToDict

from bench.soak import messages
from bench.soak.journal import Journal, Record
from bench.soak.patience import GivenUp, Who, patiently
from bench.soak.ways import GrpcWay
from hearth.v1 import autosteer_service_pb2 as autosteer_pb

CHECKER = Who(-3, "grpc")
"""Under which the journal has what is asked here."""


class Keeper:
    """Compares what is with what was acknowledged. `way_of`: a gRPC way of a researcher's owner."""

    def __init__(
        self, journal: Journal, way_of: Callable[[int], GrpcWay], client: httpx2.AsyncClient, model: str
    ) -> None:
        self._journal, self._way_of, self._client, self._model = journal, way_of, client, model

    async def check(self, records: Sequence[Record], keys: dict[str, bool], replays: int, seed: int) -> None:
        """Writes `lost` for all that is missing, `checked` with the number of what was looked for."""
        kept = [record for record in records if record["kind"] == "kept"]
        await self._variants([record for record in kept if record["what"] == "variant"])
        await self._labels(records)
        await self._jobs([record for record in kept if record["what"] == "job"], records)
        await self._keys(keys)
        texts = [record for record in records if record["kind"] == "text"]
        await self._texts(random.Random(f"replays {seed}").sample(texts, min(replays, len(texts))))

    async def _variants(self, kept: Sequence[Record]) -> None:
        for record in kept:
            request = messages.get_variant(record["id"])
            found = await self._asked(record["who"], "variants", "GetVariant", request)
            if found is None:
                self._lost("variant", record["id"], "it cannot be had")
            elif MessageToDict(found.variant.steering) != record["value"]:
                self._lost("variant", record["id"], "its steering is another one")
        self._checked("variants", len(kept))

    async def _labels(self, records: Sequence[Record]) -> None:
        """A feature has the label that was acknowledged last, or one that was tried after it without an answer."""
        allowed = allowed_labels(records)
        for index, labels in allowed.items():
            found = await self._asked(0, "features", "BatchGetFeatures", messages.lookup([int(index)]))
            is_now = found.features[0].label if found else None
            if is_now not in labels:
                self._lost("label", index, f"is {is_now!r}, acknowledged was {labels[0]!r}")
        self._checked("labels", len(allowed))

    async def _jobs(self, kept: Sequence[Record], records: Sequence[Record]) -> None:
        """Every job has succeeded, and its watcher saw each event once and in order."""
        watched = {record["id"]: record["sequences"] for record in records if record["kind"] == "watched"}
        for record in kept:
            request = autosteer_pb.GetAutoSteerJobRequest(id=record["id"])
            found = await self._asked(record["who"], "autosteer", "GetAutoSteerJob", request)
            if found is None:
                self._lost("job", record["id"], "it cannot be had")
                continue
            state = autosteer_pb.AutoSteerState.Name(found.job.state)
            if state != "AUTO_STEER_STATE_SUCCEEDED":
                error = f"{found.job.error.reason} {found.job.error.message}"
                self._lost("job", record["id"], f"is {state} after {found.job.attempts} attempts: {error}")
            seen = watched.get(record["id"])
            if seen is not None and seen != list(range(1, found.job.last_sequence + 1)):
                how = f"saw {len(seen)} of {found.job.last_sequence} events in order"
                self._lost("events", record["id"], how)
        self._checked("jobs", len(kept))

    async def _keys(self, keys: dict[str, bool]) -> None:
        """Keys that were acknowledged open, those that were revoked do not."""
        for key, opens in keys.items():
            answer = await self._client.get("/hearth/v1/variants", headers={"authorization": f"Bearer {key}"})
            if answer.status_code not in ((200, 429) if opens else (401,)):
                self._lost("key", key[:13], f"answered {answer.status_code}, should open: {opens}")
        self._checked("keys", len(keys))

    async def _texts(self, texts: Sequence[Record]) -> None:
        """Asked again one at a time, over gRPC; the text must be the same."""
        for record in texts:
            asked = messages.Chat.of(record["asked"])

            async def said(asked: messages.Chat = asked, number: int = record["who"]) -> str:
                way = self._way_of(number)
                return "".join([piece async for piece in way.chat({}, asked.message(self._model))])

            with suppress(GivenUp):
                alone = await patiently(self._journal, CHECKER, "ask again", said)
                if alone != record["text"]:
                    how = f"said {record['text']!r}, and alone {alone!r}"
                    step = f"chat through {record['way']}"
                    self._journal.write("crossed", who=record["who"], step=step, how=how)
        self._checked("texts asked again alone", len(texts))

    async def _asked(self, number: int, service: str, method: str, request: Any) -> Any:
        """What an RPC answers on a researcher's behalf; None where it does not."""
        way = self._way_of(number)
        with suppress(GivenUp):
            return await patiently(
                self._journal, CHECKER, "check", lambda: way.call(service, method, request)
            )
        return None

    def _lost(self, what: str, identity: str, how: str) -> None:
        self._journal.write("lost", what=what, id=identity, how=how)

    def _checked(self, what: str, count: int) -> None:
        self._journal.write("checked", what=what, count=count)


def allowed_labels(records: Sequence[Record]) -> dict[str, list[str]]:
    """By feature, the label that was acknowledged last, then those that were tried since without an answer."""
    allowed: dict[str, list[str]] = {}
    for record in records:
        if record["kind"] == "kept" and record["what"] == "label":
            allowed[record["id"]] = [record["value"]]
        elif record["kind"] == "trying" and record["what"] == "label" and record["id"] in allowed:
            allowed[record["id"]].append(record["value"])
    return allowed
