"""Asking language models: an endpoint that speaks OpenAI's format, or a model on the engine that serves it here."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from services.inference.sampling import Sampling
from services.inference.tokenizer import Message
from services.saelab.errors import SaeLabError
from services.saelab.lab_engine import Ask, lab_engine, tell_all
from services.steering.edits import Steering

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds before a question is asked again: doubled each time, up to the longest."""
_TOGETHER = 32
"""Questions that the engine answers side by side."""


class EndpointError(SaeLabError):
    """The endpoint refuses, cannot be reached, or answers what is no answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question."""

    instruction: str
    """What is asked, the same for many."""
    content: str
    """What it is asked of."""
    tokens: int
    """The answer's length, at most."""


class Answerer(Protocol):
    """Answers questions."""

    @property
    def source(self) -> str:
        """What labels name as their source."""
        ...

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """The number of each question with its answer, as they come. Raises SaeLabError."""
        ...


class Endpoint:
    """Any server that offers POST <url>/chat/completions as OpenAI does."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        concurrency: int = 8,
        deadline: float = 60.0,
        retries: int = 4,
        first_wait: float = _FIRST_WAIT,
    ) -> None:
        """`deadline` is for one try, in seconds; a try that fails for the moment is repeated up to `retries` times."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(base_url=url.rstrip("/"), headers=headers, timeout=deadline)
        self._url, self._model, self._concurrency = url, model, concurrency
        self._deadline, self._retries, self._first_wait = deadline, retries, first_wait
        self.source = f"openai:{model}"

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """Answers as they come, several asked side by side. Raises EndpointError."""
        upcoming = iter(enumerate(questions))
        with ThreadPoolExecutor(self._concurrency) as pool:
            running = {
                pool.submit(self._answer, question): number
                for number, question in (
                    pair for _, pair in zip(range(self._concurrency), upcoming, strict=False)
                )
            }
            try:
                while running:
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
                        if (pair := next(upcoming, None)) is not None:
                            running[pool.submit(self._answer, pair[1])] = pair[0]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, question: Question) -> str:
        body = {
            "model": self._model,
            "messages": [
                {"role": "system", "content": question.instruction},
                {"role": "user", "content": question.content},
            ],
            "temperature": 0,
            "max_tokens": question.tokens,
        }
        trouble = ""
        for attempt in range(self._retries + 1):
            pause = 0.0
            try:
                response = self._client.post("/chat/completions", json=body)
            except httpx2.TimeoutException:
                trouble = f"no answer within {self._deadline:g} s"
            except httpx2.TransportError as error:
                trouble = str(error) or type(error).__name__
            else:
                if response.status_code == 200:
                    return self._content(response)
                trouble = f"{response.status_code} {_said(response)}"
                if response.status_code not in (408, 409, 425, 429) and response.status_code < 500:
                    raise EndpointError(f"{self._url} refuses to answer as {self._model}: {trouble}")
                pause = _asked_to_wait(response)
            if attempt < self._retries:
                usual = self._first_wait * 2**attempt * (1 + random.random())
                time.sleep(min(_LONGEST_WAIT, max(pause, usual)))
        raise EndpointError(
            f"{self._url} did not answer in {self._retries + 1} tries ({trouble}): run the same command again when it "
            "does; it goes on from here"
        )

    def _content(self, response: httpx2.Response) -> str:
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointError(f"{self._url} answers in another format than OpenAI's ({error})") from error
        return str(content or "")


def _said(response: httpx2.Response) -> str:
    try:
        found: Any = response.json()["error"]
        return str(found.get("message", found) if isinstance(found, dict) else found)[:200]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _asked_to_wait(response: httpx2.Response) -> float:
    try:
        return float(response.headers.get("retry-after", "0"))
    except ValueError:  # A date: the usual wait does.
        return 0.0


class LocalModel:
    """A model on an engine of its own in this process: the engine that serves."""

    def __init__(self, model: str, threads: int = 1, device: str = "cpu") -> None:
        self.source = f"model:{model.rstrip('/').rpartition('/')[2]}"
        self._stack = ExitStack()
        self._host = self._stack.enter_context(lab_engine(model, None, _TOGETHER, threads, device))
        if not self._host.tokenizer.has_chat_template:
            self._stack.close()
            raise SaeLabError(f"{model} has no chat template, so it cannot be asked")

    def ask(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """Greedy answers, some side by side. Raises SaeLabError."""
        tokenizer = self._host.tokenizer
        for start in range(0, len(questions), _TOGETHER):
            part = questions[start : start + _TOGETHER]
            asks = []
            for question in part:
                messages = [Message("system", question.instruction), Message("user", question.content)]
                ids = tokenizer.encode_chat(messages, open_turn=True).ids
                sampling = Sampling(temperature=0.0, max_tokens=question.tokens)
                asks.append(Ask(tuple(ids), Steering(), sampling))
            for number, told in enumerate(tell_all(self._host, asks), start):
                text = b"".join(tokenizer.text_bytes(token) for token in told.tokens)
                yield number, text.decode(errors="replace").strip()

    def close(self) -> None:
        """Stops the engine."""
        self._stack.close()


def parse_json(answer: str) -> dict[str, Any]:
    """The first JSON object in an answer; empty where there is none."""
    start = answer.find("{")
    while start >= 0:
        try:
            found, _ = json.JSONDecoder().raw_decode(answer[start:])
        except ValueError:
            start = answer.find("{", start + 1)
            continue
        return found if isinstance(found, dict) else {}
    return {}
