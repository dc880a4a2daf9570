"""The engine on vLLM, for models beyond one GPU: vLLM schedules, holds the keys and values and runs the model on many
workers; what a steering means, how tokens are drawn and what a caller is told is the same code as in the torch engine.

vLLM's scheduler runs on this engine's thread, its workers in this process or, where there are several, in their own.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Sequence as Several
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from services.errors import EngineUnsupported, HearthError
from services.inference.answers import Answers, Vocabulary
from services.inference.engine_thread import EngineLimits, EngineThread
from services.inference.gates import ScopeState, Trigger
from services.inference.report import EditTotal
from services.inference.sae.base import Sae
from services.inference.sequence import Event, Failed, Read, Sequence, Started
from services.inference.version import VLLM_ENGINE_VERSION
from services.inference.vllm.orders import ORDER, News, Order, Stage
from services.inference.vllm.outputs import choices, scores
from services.inference.vllm.runtime import Runtime, start_runtime
from services.steering.edits import Positions, Steering

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """What the engine keeps of a request that runs in vLLM."""

    order: Order
    sequence: Sequence
    finished: bool = False
    """Whether vLLM does not have it, for it has ended it by itself or not taken it."""


class VllmEngine(EngineThread):
    """Runs requests through vLLM."""

    name: ClassVar[str] = "vllm"
    version: ClassVar[str] = VLLM_ENGINE_VERSION

    def __init__(self, runtime: Runtime, vocabulary: Vocabulary, limits: EngineLimits) -> None:
        super().__init__(limits)
        self._runtime = runtime
        self._answers = Answers(vocabulary, runtime.context_length)
        self._llm: Any = None
        self._stages: list[Stage] = []
        self._places: dict[str, _Place] = {}
        self._names: dict[Sequence, str] = {}
        self._numbers = itertools.count()
        self._stage_of: dict[str, int] = {}
        self._ready: Future[None] = Future()

    def start(self) -> None:
        """Starts the thread, and on it vLLM; returns when the model is loaded. Raises ValueError where that fails."""
        super().start()
        try:
            self._ready.result()
        except Exception as problem:
            raise ValueError(f"vLLM could not start: {problem}") from problem

    @property
    def stages(self) -> list[Stage]:
        """What each worker holds."""
        return self._stages

    def serve(self, saes: Several[Sae], medians: dict[int, float]) -> None:
        """Hands SAEs to the workers."""
        self._stage_of = {sae.id: self._pipeline_rank(sae.layer) for sae in saes}
        arguments = (list(saes), medians)
        self.run_exclusively(lambda: self._llm.collective_rpc("hearth_serve", args=arguments)).result()

    def refuse(self, sequence: Sequence) -> None:
        """Raises EngineUnsupported for what vLLM's runner cannot do: gates on unsteered entropy, and scopes that would
        have to be known on several pipeline stages."""
        compiled = sequence.steered.compiled
        if sequence.shadow is not None:
            raise EngineUnsupported(
                "nudges gated by entropy",
                self.name,
                "the unsteered model would have to run beside the steered one",
                field="steering",
            )
        for number, scope in enumerate(compiled.steering.scopes if compiled is not None else ()):
            used = {self._stage_of.get(key.sae, 0) for key in Steering(scopes=(scope,)).features()}
            if len(used) > 1:
                raise EngineUnsupported(
                    f"steering.scopes[{number}]",
                    self.name,
                    "its SAEs lie on several stages of the pipeline, and only one knows where the condition holds",
                    field=f"steering.scopes[{number}]",
                )

    def _pipeline_rank(self, layer: int) -> int:
        return next(stage.pipeline_rank for stage in self._stages if layer in stage.layers)

    def _loop(self) -> None:
        try:
            self._llm = start_runtime(self._runtime, self.limits)
            self._stages = self._llm.collective_rpc("hearth_hook")
        except BaseException as problem:
            self._ready.set_exception(problem)
            return
        self._llm.model_executor.register_failure_callback(_end_process)
        self._ready.set_result(None)
        try:
            super()._loop()
        finally:
            self._llm.engine_core.shutdown()

    def _has_room(self, sequence: Sequence) -> bool:
        return len(self.running) < self.limits.max_running

    def _enter(self, sequence: Sequence) -> None:
        name = str(next(self._numbers))
        order = _order(name, sequence)
        prompt: dict[str, Any] = {"prompt_token_ids": list(sequence.tokens)}
        prompt["cache_salt"] = salt(order, sequence)
        self._places[name], self._names[sequence] = _Place(order, sequence, finished=True), name
        try:
            self._llm.add_request(name, prompt, self._parameters(order, sequence))
        except Exception:
            log.exception("vLLM did not take a request; it is ended")
            self._end(sequence, [Failed(HearthError("the engine did not take this request"))])
            return
        self._places[name].finished = False
        if sequence.sampling is not None:
            self._tell(sequence, [Started(sequence.prompt_tokens, sequence.sampling.seed)])

    def _parameters(self, order: Order, sequence: Sequence) -> Any:
        """vLLM is left to draw, by our own rule, until we end the request: it knows no end and no stop string."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = sequence.sampling
        given: dict[str, Any] = {
            "temperature": 0.0,
            "ignore_eos": True,
            "detokenize": False,
            "extra_args": {ORDER: order},
            "skip_reading_prefix_cache": True if order.watched or sequence.scores_next else None,
        }
        if sampling is None:
            given |= {"max_tokens": 1, "output_kind": RequestOutputKind.FINAL_ONLY}
            return SamplingParams(**given, prompt_logprobs=0 if sequence.scores_next else None)
        most = (sampling.max_tokens or 1) + (1 if sequence.checks_last_token else 0)
        logprobs = sampling.top_logprobs if sampling.wants_logprobs else None
        return SamplingParams(
            **given, max_tokens=most, output_kind=RequestOutputKind.DELTA, logprobs=logprobs
        )

    def _advance_all(self) -> None:
        outputs = {output.request_id: output for output in self._llm.step()}
        news = self._news()
        for name, place in list(self._places.items()):
            output = outputs.get(name)
            if output is None and name not in news:
                continue
            place.finished = output is not None and output.finished
            try:
                events, done = self._outcome(place, news.get(name), output)
            except Exception as problem:
                log.exception("a request could not be answered; it is ended")
                error = problem if isinstance(problem, HearthError) else HearthError("the engine failed")
                events, done = [Failed(error)], True
            if done:
                self._end(place.sequence, events)
            elif events:
                self._tell(place.sequence, events)

    def _news(self) -> dict[str, list[News]]:
        watched = [
            name for name, p in self._places.items() if p.order.captures or p.sequence.checks_last_token
        ]
        return self._ask(watched, []) if watched else {}

    def _ask(self, asked: list[str], ended: list[str]) -> dict[str, list[News]]:
        """News of requests, from each stage in the order of blocks."""
        found: dict[str, list[News]] = {}
        answers = self._llm.collective_rpc("hearth_news", args=(asked, ended))
        order = sorted(range(len(answers)), key=lambda n: self._stages[n].pipeline_rank)
        for number in order:
            for name, news in answers[number].items():
                found.setdefault(name, []).append(news)
        return found

    def _outcome(self, place: _Place, news: list[News] | None, output: Any) -> tuple[list[Event], bool]:
        sequence = place.sequence
        events: list[Event] = []
        abort = self._take(sequence, news or [], events)
        if not sequence.generates:
            if output is None or not output.finished:
                return events, False
            return [*events, self._read(place, output)], True
        done = abort is not None
        if abort is not None:
            self._answers.abort(sequence, abort, events)
        elif output is not None:
            sequence.cached_lower = output.num_cached_tokens or 0
            done = any(
                self._answers.grow(sequence, choice, events) for choice in choices(output, sequence.sampling)
            )
        if done:
            self._settle(place)
        return events, done

    def _take(self, sequence: Sequence, news: list[News], events: list[Event]) -> str | None:
        """Takes in what the workers saw; the message of the Abort that held first, if one did."""
        gates, triggers = sequence.steered.gates, []
        for part in news:
            for captured in part.captured:
                sequence.steered.captures[captured.layer](captured.h, captured.live)
            if gates is not None:
                scopes = {scope.path: scope for scope in gates.compiled.scopes}
                triggers += [Trigger(position, scopes[path]) for position, path in part.triggers]
        if gates is not None and news:
            for path in gates.scopes:
                parts = [part.scopes[path] for part in news if path in part.scopes]
                gates.scopes[path] = ScopeState(sum(p[0] for p in parts), sum(p[1] for p in parts))
        return self._answers.tell_triggers(triggers, events)

    def _settle(self, place: _Place) -> None:
        """Fills in the report of a request that ends."""
        book, compiled = place.sequence.steered.report, place.sequence.steered.compiled
        if book is None or compiled is None:
            return
        for news in self._ask([], [place.order.id]).get(place.order.id, []):
            part = news.report
            if part is None:
                continue
            for each in part.edits:  # a block's edits are counted on one stage only
                edit = compiled.layers[each.layer].reported[each.number]
                book.totals[edit] = EditTotal(each.tokens, each.before, each.after)
            book.relative_sum += part.relative_sum
            book.relative_max = max(book.relative_max, part.relative_max)
            book.rows += part.rows
            book.clipped |= part.clipped
            book.edited |= part.edited

    def _read(self, place: _Place, output: Any) -> Read:
        sequence = place.sequence
        if sequence.scores_next:
            return Read(None, scores(sequence, output.prompt_logprobs))
        if not sequence.logit_rows:
            return Read(None)
        found = [news.logits for news in self._ask([], [place.order.id]).get(place.order.id, [])]
        rows = [row for row in found if row is not None]
        if not rows:
            raise HearthError("vLLM gave no logits")
        return Read(rows[0][None])

    def _release(self, sequence: Sequence) -> None:
        name = self._names.pop(sequence, None)
        place = self._places.pop(name, None) if name is not None else None
        if place is not None and not place.finished:
            self._llm.abort_request([name])


def _end_process() -> None:
    """A worker process has died: what it held is lost. The server drains and ends, to be started again."""
    log.critical("a worker of vLLM has died; the process ends")
    os.kill(os.getpid(), signal.SIGTERM)


def _order(name: str, sequence: Sequence) -> Order:
    compiled, sampling = sequence.steered.compiled, sequence.sampling
    return Order(
        name,
        sequence.prompt_tokens,
        None if compiled is None else compiled.steering,
        sequence.steered.report is not None and compiled is not None,
        tuple(sequence.steered.captures),
        bool(sequence.logit_rows) and not sequence.scores_next,
        None if sampling is None else replace(sampling, logprobs=False, top_logprobs=0),
    )


def salt(order: Order, sequence: Sequence) -> str:
    """What names the keys and values of a request's tokens in vLLM's prefix cache.

    vLLM caches what was generated with what was prompted. So only requests that change all their tokens alike may
    share: a token that is generated in one request may be prompted in the next.
    """
    alike = order.steering is None or order.steering.positions is Positions.ALL
    if sequence.fingerprint is None or not alike or order.watched:
        return f"alone-{order.id}"
    return sequence.fingerprint if order.steering is not None else "unsteered"
