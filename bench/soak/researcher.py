"""A researcher who speaks our own API, over gRPC or HTTP: thinks, takes a step, thinks again.

What was acknowledged is written down as `kept`; `keeping.py` looks for it at the end. Answers that cannot be this
researcher's own are written down as `crossed`.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from contextlib import suppress
from typing import Any

from google.protobuf.json_format import MessageToDict

from bench.soak import messages
from bench.soak.journal import Journal
from bench.soak.patience import Failure, GivenUp, Kind, Who, patiently
from bench.soak.plan import ANSWER_TOKENS, DECK, JOB_SECONDS
from bench.soak.topics import mark, query, question, sentences, thing
from bench.soak.ways import Way
from hearth.v1 import autosteer_service_pb2 as autosteer_pb
from hearth.v1 import steering_pb2

JOB_PATIENCE = 900.0
"""Seconds until a job has ended: its turn, its 20 s, and a kill of each process that it needs."""


class Researcher:
    """One of them."""

    def __init__(
        self, number: int, name: str, way: Way, journal: Journal, model: str, features: int, seed: int
    ) -> None:
        self.who = Who(number, name)
        self._way, self._journal, self._model, self._features = way, journal, model, features
        self._draw = random.Random(f"researcher {seed} {number}")
        self._deck: list[str] = []
        self._step = 0
        self._feature = number * 13 % features
        """What this one nudges until a search finds something else."""
        self._own = number * 13 % features
        """The only feature whose label this one contests."""

    async def work(self, until: float, think: float) -> None:
        """Takes steps until that moment of the journal's time."""
        await asyncio.sleep(self._draw.uniform(0, think))
        while self._journal.now < until:
            if not self._deck:
                self._deck = self._draw.sample(list(DECK), counts=list(DECK.values()), k=sum(DECK.values()))
            step = self._deck.pop()
            self._step += 1
            with suppress(GivenUp):
                await getattr(self, step)()
            pause = think * self._draw.uniform(0.5, 1.5)
            await asyncio.sleep(max(0.0, min(pause, until - self._journal.now)))

    async def chat(self, variant: str = "", steering: steering_pb2.Steering | None = None) -> None:
        """An answer under an edit of the moment, or under a variant's."""
        edited = steering or messages.nudge(self._feature, round(self._draw.uniform(0.1, 0.5), 2))
        asked = messages.Chat(
            question(self._draw, self.who.number, self._step),
            self._draw.getrandbits(31),
            ANSWER_TOKENS,
            edited,
        )
        begun: list[str] = []
        text = await patiently(self._journal, self.who, "chat", lambda: self._said(asked, variant, begun))
        self._journal.write("text", who=self.who.number, way=self.who.way, asked=asked.as_json(), text=text)
        for part in begun:
            if not text.startswith(part):
                self._crossed("chat", f"began as {part!r} before it broke off, and then said {text!r}")

    async def _said(self, asked: messages.Chat, variant: str, begun: list[str]) -> str:
        pieces: list[str] = []
        try:
            async for piece in self._way.chat(asked.body(self._model, variant), asked.message(self._model)):
                pieces.append(piece)
        except Failure:
            if pieces:
                begun.append("".join(pieces))
            raise
        return "".join(pieces)

    async def search(self) -> None:
        """Features by meaning; the next chats nudge one of them."""
        request = messages.search(query(self._draw, self.who.number))
        found = await self._call("search", "features", "SearchFeatures", request)
        if found.hits:
            self._feature = self._draw.choice(found.hits).feature.key.index

    async def lookup(self) -> None:
        """Features by index."""
        indices = self._draw.sample(range(self._features), 10)
        found = await self._call("lookup", "features", "BatchGetFeatures", messages.lookup(indices))
        got = [feature.key.index for feature in found.features]
        if got != indices:
            self._crossed("lookup", f"asked for {indices}, got {got}")

    async def inspect(self) -> None:
        """What fires in a sentence."""
        text = sentences(self._draw, self.who.number, self._step, thing(self._draw), 1)[0]
        request = messages.inspect(self._model, text)

        async def inspected() -> str:
            runs = [run async for run in self._way.stream("inference", "Inspect", request)]
            return b"".join(token.piece for run in runs for token in run.tokens).decode("utf-8", "replace")

        read = await patiently(self._journal, self.who, "inspect", inspected)
        if text not in read:
            self._crossed("inspect", f"sent {text!r}, and it inspected {read!r}")

    async def contrast(self) -> None:
        """Which features tell two topics apart."""
        first, second = (self._texts(2) for _ in range(2))
        await self._call("contrast", "inference", "Contrast", messages.contrast(self._model, first, second))

    async def classify(self) -> None:
        """A classifier of two topics from pooled features: the nearest mean."""
        texts = self._texts(3) + self._texts(3)
        pooled = await self._call(
            "classify", "inference", "BatchInspect", messages.batch_inspect(self._model, texts)
        )
        if len(pooled.token_counts) != len(texts):
            self._crossed("classify", f"sent {len(texts)} texts, got {len(pooled.token_counts)} rows")

    async def variant(self) -> None:
        """Steering saved under a name, loaded again and spoken under."""
        wanted = messages.variant(
            f"r{self.who.number}-{self._step}",
            self._model,
            self._feature,
            round(self._draw.uniform(0.1, 0.5), 2),
        )
        saved = await self._call(
            "save variant", "variants", "CreateVariant", messages.create(wanted, str(uuid.uuid4()))
        )
        self._keep("variant", saved.variant.id, MessageToDict(saved.variant.steering))
        loaded = await self._call(
            "load variant", "variants", "GetVariant", messages.get_variant(saved.variant.id)
        )
        if loaded.variant.steering != saved.variant.steering:
            self._crossed("load variant", f"{saved.variant.id} is not what was saved")
        await self.chat(saved.variant.id, loaded.variant.steering)

    async def label(self) -> None:
        """Contests the label of the one feature that is this researcher's."""
        label = mark(self.who.number, self._step)
        request = messages.contest(self._own, label, str(uuid.uuid4()))
        self._journal.write("trying", what="label", id=str(self._own), value=label)
        answer = await self._call("label", "features", "UpdateFeature", request)
        self._keep("label", str(self._own), answer.feature.label)

    async def autosteer(self, at: float) -> None:
        """A job from its creation to its end, watched from the last event that came."""
        await asyncio.sleep(max(0.0, at - self._journal.now))
        spec = messages.job(
            self._model, f"write about {thing(self._draw)}", JOB_SECONDS, self._draw.getrandbits(31)
        )
        request = messages.create_job(spec, str(uuid.uuid4()))
        try:
            created = await self._call("create job", "autosteer", "CreateAutoSteerJob", request)
            job = created.job.id
            self._keep("job", job, "")
            seen: list[int] = []
            await patiently(
                self._journal, self.who, "autosteer", lambda: self._watched(job, seen), JOB_PATIENCE
            )
            self._journal.write("watched", who=self.who.number, id=job, sequences=seen)
        except GivenUp:
            pass

    async def _watched(self, job: str, seen: list[int]) -> None:
        request = autosteer_pb.WatchAutoSteerJobRequest(id=job, after_sequence=seen[-1] if seen else 0)
        async for event in self._way.stream("autosteer", "WatchAutoSteerJob", request):
            seen.append(event.sequence)
            self._journal.write("event", who=self.who.number, id=job, at=event.time.ToMicroseconds() / 1e6)
            if event.HasField("ended"):
                return
        raise Failure(Kind.AWAY, "CUT", "the stream of events ended before the job")

    def _texts(self, count: int) -> list[str]:
        return sentences(self._draw, self.who.number, self._step, thing(self._draw), count)

    async def _call(self, step: str, service: str, method: str, request: Any) -> Any:
        return await patiently(
            self._journal, self.who, step, lambda: self._way.call(service, method, request)
        )

    def _keep(self, what: str, identity: str, value: object) -> None:
        self._journal.write("kept", who=self.who.number, what=what, id=identity, value=value)

    def _crossed(self, step: str, how: str) -> None:
        self._journal.write("crossed", who=self.who.number, step=step, how=how)
