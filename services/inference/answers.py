"""From drawn tokens and scopes that acted to what a caller is told: text, events, the end. It is every engine's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from services.inference.gates import Trigger
from services.inference.sampling import TokenChoice
from services.inference.sequence import Delta, Event, Finished, FinishReason, Sequence, Times, Triggered
from services.steering.edits import Abort, Notify


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the engine must know of tokens."""

    text: Callable[[int], bytes]
    """A token's text as bytes; empty for special tokens."""
    ends: frozenset[int]
    """Tokens that end an answer."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Moves a sequence's answer on."""

    vocabulary: Vocabulary
    context_length: int

    def tell_triggers(self, triggers: list[Trigger], events: list[Event]) -> str | None:
        """Tells of scopes that acted in a pass; the message of the Abort that held first, if one did."""
        ordered = sorted(triggers, key=lambda t: t.position)
        stop = next((t for t in ordered if isinstance(t.scope.action, Abort)), None)
        for trigger in ordered:
            if stop is not None and trigger.position > stop.position:
                break
            action = trigger.scope.action
            event = action.event if isinstance(action, Notify) else ""
            events.append(Triggered(event, trigger.position, trigger.scope.path))
        return None if stop is None else stop.scope.action.message  # type: ignore[union-attr]

    def abort(self, sequence: Sequence, message: str, events: list[Event]) -> None:
        """Ends an answer before the token that is held."""
        self._flush(sequence, events)
        events.append(self._finished(sequence, FinishReason.ABORTED, abort=message))

    def grow(self, sequence: Sequence, choice: TokenChoice | None, events: list[Event]) -> bool:
        """Shows what no Abort can take any more, then takes in the token drawn; whether the generation is over."""
        sampling = sequence.sampling
        assert sampling is not None
        shown = tuple(sequence.held)
        sequence.held.clear()
        if self._show(sequence, shown, events):
            return True
        if sequence.ended is not None:
            reason, _ = sequence.ended
            self._flush(sequence, events)
            events.append(self._finished(sequence, reason))
            return True
        assert choice is not None
        if not sequence.first_token:
            sequence.first_token = time.monotonic()
        sequence.drawn += 1
        if choice.token in self.vocabulary.ends and not sampling.ignore_end:
            self._flush(sequence, events)
            events.append(self._finished(sequence, FinishReason.STOP))
            return True
        sequence.tokens.append(choice.token)
        waits = sequence.checks_last_token
        full = sequence.drawn >= (sampling.max_tokens or 1) or len(sequence.tokens) >= self.context_length
        if waits:
            sequence.held.append(choice)
            if full:
                sequence.ended = (FinishReason.LENGTH, "")
            return False
        if self._show(sequence, (choice,), events):
            return True
        if full:
            self._flush(sequence, events)
            events.append(self._finished(sequence, FinishReason.LENGTH))
        return full

    def _show(self, sequence: Sequence, choices: tuple[TokenChoice, ...], events: list[Event]) -> bool:
        """Shows tokens; whether a stop string came."""
        if not choices:
            return False
        text = "".join(sequence.text.push(self.vocabulary.text(c.token)) for c in choices)
        events.append(Delta(text, choices))
        if sequence.text.stopped is None:
            return False
        events.append(self._finished(sequence, FinishReason.STOP, stop=sequence.text.stopped))
        return True

    def _flush(self, sequence: Sequence, events: list[Event]) -> None:
        text = sequence.text.finish()
        if text:
            events.append(Delta(text, ()))

    def _finished(
        self, sequence: Sequence, reason: FinishReason, stop: str = "", abort: str = ""
    ) -> Finished:
        now = time.monotonic()
        first = sequence.first_token or now
        gates = sequence.steered.gates
        counts = {} if gates is None else {p: (s.tried, s.held) for p, s in gates.scopes.items()}
        return Finished(
            reason,
            stop,
            abort,
            sequence.drawn,
            sequence.cached_lower,
            Times(sequence.admitted - sequence.arrived, first - sequence.admitted, now - first),
            sequence.steered.report,
            sequence.steered.compiled,
            counts,
        )
