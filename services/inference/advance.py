"""One pass of the engine and what follows from it: tokens drawn, text shown, sequences ended, prefixes kept."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from services.inference.answers import Answers, Vocabulary
from services.inference.hooks import SteeringCounts, SteeringHook
from services.inference.kv import GRAIN
from services.inference.model import LanguageModel
from services.inference.pairs import PairCache
from services.inference.prefix import PrefixCache
from services.inference.sampling import TokenChoice, choose, entropy
from services.inference.scheduler import Batch, Work, layout
from services.inference.sequence import Event, Read, Sequence

Outcome = tuple[Sequence, list[Event], bool]
"""A sequence, what to tell its caller, and whether it is done."""


class Advance:
    """Runs batches; torch's thread only."""

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        prefix: PrefixCache,
        median_norms: dict[int, float],
    ) -> None:
        self._model, self._prefix, self._medians = model, prefix, median_norms
        self._answers = Answers(vocabulary, model.context_length)
        self._pairs, self.steering = PairCache(), SteeringCounts()

    def __call__(self, batch: Batch) -> Iterator[Outcome]:
        """Runs one batch and yields what came of each sequence that has a caller."""
        step, segments = layout(batch, self._model.device)
        hook = SteeringHook(segments, self._medians, self._pairs, self.steering)
        split = self._prefix.split

        def at_block(layer: int, h: Tensor) -> None:
            if layer == split and batch.entry < 0:
                self._keep_residuals(batch, h)
            hook(layer, h)

        wanted = hook.layers()
        step.hook, step.hooked = at_block, wanted | ({split} if batch.entry < 0 else frozenset())
        rows = [
            row
            for work, first in zip(batch.works, batch.rows, strict=True)
            for row in _logit_rows(work, first)
        ]
        step.logit_rows = torch.tensor(rows, device=self._model.device) if rows else None
        logits = self._model.run(step)
        drawn, offset = self._draw(batch, logits), 0
        for work in batch.works:
            count = len(_logit_rows(work, 0))
            part = None if logits is None else logits[offset : offset + count]
            offset += count
            self._after(work, part)
            outcome = self._outcome(work, drawn.get(id(work)))
            if outcome is not None:
                yield outcome

    def _keep_residuals(self, batch: Batch, h: Tensor) -> None:
        """Remembers the unedited output of the split block for full grains, which enter the cache after the pass."""
        for work, row in zip(batch.works, batch.rows, strict=True):
            if work.decode or work.sequence.shadow is not None or not work.sequence.chain:
                continue
            for start in range(work.start, work.end - GRAIN + 1, GRAIN):
                offset = row + start - work.start
                work.sequence.tile_residual[start] = h[offset : offset + GRAIN].clone()

    def _draw(self, batch: Batch, logits: Tensor | None) -> dict[int, TokenChoice]:
        """Draws the next token of every work that reached the end of its sequence."""
        chosen: list[tuple[Work, int]] = []
        offset = 0
        for work in batch.works:
            count = len(_logit_rows(work, 0))
            if _samples(work):
                chosen.append((work, offset + count - 1))
            offset += count
        if not chosen or logits is None:
            return {}
        rows = [row for _, row in chosen]
        samplings = [w.sequence.sampling for w, _ in chosen if w.sequence.sampling is not None]
        picked = logits if len(rows) == len(logits) else logits[rows]
        choices = choose(picked, samplings, [w.end for w, _ in chosen])
        return {id(work): choice for (work, _), choice in zip(chosen, choices, strict=True)}

    def _after(self, work: Work, logits: Tensor | None) -> None:
        """Moves a sequence on and keeps what its prompt computed."""
        sequence = work.sequence
        sequence.computed = work.end
        if sequence.is_shadow and logits is not None:
            sequence.entropies += entropy(logits).tolist()
        if not work.decode:
            self._keep_prefix(work)
        if logits is not None and not sequence.generates and not sequence.is_shadow:
            sequence.logits.append(_next_logprobs(work, logits) if sequence.scores_next else logits)

    def _keep_prefix(self, work: Work) -> None:
        sequence, kv = work.sequence, self._model.kv
        assert sequence.lane is not None
        for start in range(work.start, work.end - GRAIN + 1, GRAIN):
            link = sequence.chain[start // GRAIN] if start // GRAIN < len(sequence.chain) else None
            if link is None:
                continue
            residual = sequence.tile_residual.pop(start, None)
            whole = sequence.last_layer is None
            if residual is not None and (whole or sequence.last_layer >= self._prefix.split):  # type: ignore[operator]
                self._prefix.store_lower(link, start, kv, sequence.lane, residual)
            if whole and sequence.fingerprint is not None and start + GRAIN <= sequence.unread:
                self._prefix.store_upper(link, sequence.fingerprint, start, kv, sequence.lane)

    def _outcome(self, work: Work, choice: TokenChoice | None) -> Outcome | None:
        sequence = work.sequence
        if sequence.is_shadow:
            return None
        events: list[Event] = []
        gates = sequence.steered.gates
        abort = None if gates is None else self._answers.tell_triggers(gates.take_triggers(), events)
        if not sequence.generates:
            if sequence.prefilling:
                return sequence, events, False
            read = torch.cat(sequence.logits) if sequence.logits else None
            answer = Read(None, read) if sequence.scores_next else Read(read)
            return sequence, [*events, answer], True
        if abort is not None:
            self._answers.abort(sequence, abort, events)
            return sequence, events, True
        if sequence.prefilling:
            return sequence, events, False
        done = self._answers.grow(sequence, choice, events)
        return sequence, events, done


def _next_logprobs(work: Work, logits: Tensor) -> Tensor:
    """The log probability of the token that follows each wanted row: whole rows of long texts fill the memory."""
    tokens = work.sequence.tokens
    follow = [tokens[p + 1] for p in work.sequence.logit_rows if work.start <= p < work.end]
    taken = logits.gather(1, torch.tensor(follow, device=logits.device)[:, None])[:, 0]
    return taken - logits.logsumexp(-1)


def _samples(work: Work) -> bool:
    sequence = work.sequence
    return sequence.generates and work.end == len(sequence.tokens) and sequence.ended is None


def _logit_rows(work: Work, first: int) -> list[int]:
    """Rows of a work, from its first row, whose logits are wanted."""
    sequence = work.sequence
    if sequence.is_shadow:
        return list(range(first, first + work.length))
    if sequence.generates:
        return [first + work.length - 1] if _samples(work) else []
    return [first + p - work.start for p in sequence.logit_rows if work.start <= p < work.end]
