"""A served model: language model, tokenizer, SAEs and engine, and how prompts and steerings become sequences."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from services.errors import EngineUnsupported, InvalidField, PromptTooLong
from services.inference.answers import Vocabulary
from services.inference.compiled import CompiledSteering, compile_steering
from services.inference.engine import Engine
from services.inference.engine_thread import EngineLimits, EngineThread
from services.inference.gates import GateState
from services.inference.hooks import Capture, SteeredSequence
from services.inference.meters import Meters
from services.inference.model import LanguageModel
from services.inference.report import ReportBook
from services.inference.requests import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from services.inference.sae.base import Sae
from services.inference.sampling import DEFAULT_MAX_TOKENS, Sampling
from services.inference.sequence import Sequence, Sink
from services.inference.text import TextStream
from services.inference.tokenizer import MessageSpan, Tokenizer
from services.steering.edits import Abort, Notify, Positions, Steering
from services.steering.fingerprint import fingerprint
from services.steering.resolution import resolve, resolve_sae

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """A prompt as tokens, with the places of a chat's messages."""

    ids: list[int]
    spans: list[MessageSpan]


class Facts(Protocol):
    """What is known of a model whatever engine runs it."""

    @property
    def context_length(self) -> int:
        """Tokens of a prompt and its answer."""

    @property
    def vocabulary_size(self) -> int:
        """The number of its tokens."""

    @property
    def d_model(self) -> int:
        """The width of its residual stream."""

    @property
    def layer_count(self) -> int:
        """The number of its blocks."""

    @property
    def dtype(self) -> torch.dtype:
        """The type in which it is computed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a receipt says of the model."""

    id: str
    weights_digest: str
    tokenizer_digest: str
    platform: str
    template_digest: str = ""
    config_digest: str = ""


class ModelHost:
    """One served model. A LanguageModel gets an engine on torch; of any other engine the model's facts are given."""

    def __init__(
        self,
        identity: Identity,
        model: LanguageModel | Facts,
        tokenizer: Tokenizer,
        saes: Several[Sae],
        limits: EngineLimits,
        ends: frozenset[int],
        engine: EngineThread | None = None,
    ) -> None:
        self.identity, self.tokenizer = identity, tokenizer
        self.model: Facts = model
        self.saes = {sae.id: sae for sae in saes}
        self.feature_counts = {sae.id: sae.weights.d_sae for sae in saes}
        self.unit_digests = {sae.id: sae.unit_digest for sae in saes}
        self.meters = Meters()
        if engine is None:
            assert isinstance(model, LanguageModel)
            engine = Engine(model, Vocabulary(tokenizer.text_bytes, ends), limits, median_norms(saes))
        self.engine: EngineThread = engine

    def torch_model(self, what: str) -> LanguageModel:
        """The model as a module of torch, for what needs gradients. Raises EngineUnsupported, naming `what`."""
        if not isinstance(self.model, LanguageModel):
            raise EngineUnsupported(what, self.engine.name, "it needs gradients, and the engine has none")
        return self.model

    def sae(self, name: str, field: str = "sae") -> Sae:
        """The SAE of that id, or the only one where it is empty."""
        return self.saes[resolve_sae(name, self.feature_counts, field)]

    async def tokenize(
        self, prompt: Prompt, *, open_turn: bool, field: str = "prompt", room: int = 0
    ) -> TokenizedPrompt:
        """A prompt as tokens, off the event loop. `room` tokens must be left in the context.

        Raises InvalidField where it has no tokens or unknown ones, PromptTooLong where it does not fit.
        """
        allowed = self.model.context_length - room
        match prompt:
            case TokenPrompt(ids):
                wrong = next((n for n, i in enumerate(ids) if i >= self.model.vocabulary_size), None)
                if wrong is not None:
                    raise InvalidField(
                        f"{field}.token_ids.ids[{wrong}]",
                        f"{ids[wrong]} is no token; allowed: 0 to {self.model.vocabulary_size - 1}",
                    )
                done = TokenizedPrompt(list(ids), [])
            case TextPrompt(text):
                self.refuse_long(len(text.encode()), allowed, field)
                done = TokenizedPrompt(await asyncio.to_thread(self.tokenizer.encode_text, text), [])
            case ChatPrompt(messages):
                self.refuse_long(sum(len(m.content.encode()) for m in messages), allowed, field)
                chat = await asyncio.to_thread(self.tokenizer.encode_chat, messages, open_turn)
                done = TokenizedPrompt(chat.ids, chat.spans)
        if not done.ids:
            raise InvalidField(field, "it has no tokens; allowed: at least one")
        if len(done.ids) > allowed:
            raise PromptTooLong(field, len(done.ids), allowed)
        return done

    def refuse_long(self, size: int, allowed: int, field: str) -> None:
        """Refuses without tokenising what cannot fit: each token has at most so many bytes."""
        least = size // self.tokenizer.longest_piece
        if least > allowed:
            raise PromptTooLong(field, least, allowed)

    def generation(
        self, ids: list[int], steering: Steering, sampling: Sampling, sink: Sink, *, report: bool, owner: str
    ) -> Sequence:
        """A sequence that generates. `steering` is validated; SAE ids are filled in here."""
        compiled = self._compile(steering, report)
        sampling = self.bounded(sampling, len(ids))
        steered = _steered(compiled, report)
        sequence = Sequence(
            tokens=list(ids),
            prompt_tokens=len(ids),
            steered=steered,
            sink=sink,
            sampling=sampling,
            owner=owner,
            fingerprint=_reuse(compiled, report),
            text=TextStream(sampling.stop),
        )
        if compiled is not None and compiled.steering.gates_on_entropy:
            sequence.shadow = _shadow(sequence)
        return sequence

    def bounded(self, sampling: Sampling, prompt_tokens: int) -> Sampling:
        """The same sampling, with as many tokens as there may be."""
        most = sampling.max_tokens or DEFAULT_MAX_TOKENS
        return replace(sampling, max_tokens=min(most, self.model.context_length - prompt_tokens))

    def reading(
        self,
        ids: list[int],
        steering: Steering,
        sink: Sink,
        *,
        owner: str,
        captures: dict[int, Capture] | None = None,
        logit_rows: tuple[int, ...] = (),
        scores_next: bool = False,
    ) -> Sequence:
        """A sequence whose prompt is only read, up to the last block that a capture or the logits need."""
        compiled = self._compile(steering, False)
        if compiled is not None and any(isinstance(s.action, Abort | Notify) for s in compiled.scopes):
            raise InvalidField("steering.scopes", "abort and notify have no meaning here; allowed: steering")
        steered = _steered(compiled, False)
        steered.captures.update(captures or {})
        sequence = Sequence(
            tokens=list(ids),
            prompt_tokens=len(ids),
            steered=steered,
            sink=sink,
            owner=owner,
            fingerprint=None if captures else _reuse(compiled, False),
            last_layer=max(captures) if captures and not logit_rows else None,
            logit_rows=logit_rows,
            scores_next=scores_next,
        )
        if compiled is not None and compiled.steering.gates_on_entropy:
            sequence.shadow = _shadow(sequence)
        return sequence

    def resolve(self, steering: Steering) -> Steering:
        """The same steering with SAE ids filled in."""
        return steering if steering.empty else resolve(steering, self.feature_counts)

    def _compile(self, steering: Steering, report: bool) -> CompiledSteering | None:
        if steering.empty:
            return None
        return compile_steering(self.resolve(steering), self.saes, report)


def median_norms(saes: Several[Sae]) -> dict[int, float]:
    """The median norm of the residual stream at each block that has SAEs: the first one's."""
    medians: dict[int, float] = {}
    for sae in saes:
        medians.setdefault(sae.layer, sae.median_norm or 1.0)
    return medians


def new_seed() -> int:
    """A seed for a request that names none."""
    return secrets.randbits(63)


def _steered(compiled: CompiledSteering | None, report: bool) -> SteeredSequence:
    if compiled is None:
        return SteeredSequence(report=ReportBook() if report else None)
    gates = GateState(compiled) if compiled.scopes else None
    return SteeredSequence(compiled, gates, ReportBook() if report else None)


def _reuse(compiled: CompiledSteering | None, report: bool) -> str | None:
    """The name under which the prompt's upper blocks may be shared; None where they must be run to be observed."""
    if compiled is None or (compiled.steering.positions is Positions.GENERATED and not compiled.scopes):
        return "unsteered"
    if compiled.scopes or report or compiled.steering.gates_on_entropy:
        return None
    return fingerprint(compiled.steering)


def _shadow(leader: Sequence) -> Sequence:
    return Sequence(
        tokens=leader.tokens,
        prompt_tokens=leader.prompt_tokens,
        steered=SteeredSequence(),
        sink=lambda events: None,
        is_shadow=True,
    )
