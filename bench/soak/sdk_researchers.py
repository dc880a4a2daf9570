"""Researchers who use Ember's SDK as it is on PyPI, several in a process of their own. Prints the journal's records.

Started by `sdk.py` with the SDK on the path; what they do is the SDK's own: no jobs but AutoSteer, no saved variants.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from typing import Any

import goodfire
import httpx
from goodfire.api.exceptions import RateLimitException, RequestFailedException

from bench.soak.patience import Failure, GivenUp, Kind, Who, patiently
from bench.soak.plan import ANSWER_TOKENS, DECK
from bench.soak.topics import query, question, sentences, thing

_STEPS = {"variant": "chat", "label": "search"}
"""What the SDK has no call for."""


class Printed:
    """A journal on standard output; the time counts from what is given."""

    def __init__(self, began: float) -> None:
        self._began = began

    @property
    def now(self) -> float:
        return time.time() - self._began

    def write(self, kind: str, **fields: Any) -> None:
        sys.stdout.write(json.dumps({"t": round(self.now, 3), "kind": kind, **fields}) + "\n")
        sys.stdout.flush()


class SdkResearcher:
    """One of them."""

    def __init__(self, number: int, key: str, given: dict[str, Any], journal: Printed) -> None:
        self._who, self._journal, self._model = Who(number, "sdk"), journal, given["model"]
        self._client = goodfire.AsyncClient(key, base_url=given["url"])
        for part in (self._client.features, self._client.chat, self._client.chat.completions):
            part._http.max_retries = 0  # it would block the event loop of all (docs/ember.md)
        self._draw = random.Random(f"researcher {given['seed']} {number}")
        self._deck: list[str] = []
        self._step = 0
        self._found: Any = None

    async def work(self, until: float, think: float) -> None:
        """Takes steps until that moment of the journal's time."""
        await asyncio.sleep(self._draw.uniform(0, think))
        while self._journal.now < until:
            if not self._deck:
                self._deck = self._draw.sample(list(DECK), counts=list(DECK.values()), k=sum(DECK.values()))
            step = self._deck.pop()
            self._step += 1
            with suppress(GivenUp):
                await getattr(self, _STEPS.get(step, step))()
            pause = think * self._draw.uniform(0.5, 1.5)
            await asyncio.sleep(max(0.0, min(pause, until - self._journal.now)))

    async def chat(self) -> None:
        variant = goodfire.Variant(self._model)
        edits = []
        if self._found:
            feature, strength = self._found[0], round(self._draw.uniform(0.1, 0.5), 2)
            variant.set(feature, strength)
            edits = [{"feature": {"index": feature.index_in_sae}, "nudge": strength}]
        asked = question(self._draw, self._who.number, self._step)
        options = {"seed": self._draw.getrandbits(31), "temperature": 0.8, "top_p": 1.0}

        async def said() -> str:
            answer = await self._client.chat.completions.create(
                [{"role": "user", "content": asked}],
                variant,
                max_completion_tokens=ANSWER_TOKENS,
                stop=None,
                system_prompt="",
                **options,
            )
            return str(answer.choices[0].message["content"])

        text = await self._tried("chat", said)
        request = {"question": asked, "tokens": ANSWER_TOKENS, "steering": {"edits": edits}, **options}
        self._journal.write("text", who=self._who.number, way="sdk", asked=request, text=text)

    async def search(self) -> None:
        words = query(self._draw, self._who.number)
        self._found = await self._tried(
            "search", lambda: self._client.features.search(words, self._model, top_k=5)
        )

    async def lookup(self) -> None:
        indices = self._draw.sample(range(4000), 10)
        found = await self._tried("lookup", lambda: self._client.features.lookup(indices, self._model))
        if list(found) != indices:
            self._journal.write(
                "crossed", who=self._who.number, step="lookup", how=f"{indices}: {list(found)}"
            )

    async def inspect(self) -> None:
        text = self._texts(1)[0]
        context = await self._tried(
            "inspect", lambda: self._client.features.inspect(_chat(text), self._model)
        )
        read = "".join(token._token for token in context.tokens)
        if text not in read:
            self._journal.write("crossed", who=self._who.number, step="inspect", how=f"{text!r}: {read!r}")

    async def contrast(self) -> None:
        first, second = (list(map(_chat, self._texts(2))) for _ in range(2))
        await self._tried("contrast", lambda: self._client.features.contrast(first, second, self._model))

    async def classify(self) -> None:
        for text in self._texts(3):
            await self._tried(
                "classify", lambda text=text: self._client.features.activations(_chat(text), self._model)
            )

    async def autosteer(self, at: float) -> None:
        """AutoSteer, which answers within 60 s, or is asked again."""
        await asyncio.sleep(max(0.0, at - self._journal.now))
        behavior = f"write about {thing(self._draw)}"
        with suppress(GivenUp):
            await self._tried("AutoSteer", lambda: self._client.features.AutoSteer(behavior, self._model))

    def _texts(self, count: int) -> list[str]:
        return sentences(self._draw, self._who.number, self._step, thing(self._draw), count)

    async def _tried(self, step: str, call: Any) -> Any:
        async def translated() -> Any:
            try:
                return await call()
            except RateLimitException as error:
                raise Failure(Kind.REFUSED, "429", str(error)) from None
            except RequestFailedException as error:  # 413, 503 and 504 alike
                raise Failure(Kind.AWAY, "RequestFailed", str(error)) from None
            except httpx.TimeoutException as error:
                raise Failure(Kind.LATE, type(error).__name__) from None
            except httpx.HTTPError as error:
                raise Failure(Kind.AWAY, type(error).__name__, str(error)) from None
            except Exception as error:
                raise Failure(Kind.WRONG, type(error).__name__, str(error)) from error

        return await patiently(self._journal, self._who, step, translated)


def _chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "Say something."}, {"role": "assistant", "content": text}]


async def main() -> None:
    """Lets them all work until the end."""
    given = json.loads(sys.argv[1])
    journal = Printed(given["began"])
    researchers = {int(n): SdkResearcher(int(n), key, given, journal) for n, key in given["keys"].items()}
    working = [each.work(given["until"], given["think"]) for each in researchers.values()]
    jobs = [researchers[int(n)].autosteer(at) for n, times in given["jobs"].items() for at in times]
    await asyncio.gather(*working, *jobs)


if __name__ == "__main__":
    asyncio.run(main())
