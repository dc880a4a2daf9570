"""One generation: what is asked, and the answer while it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hearth_client.answers import Chunk, Prompt
from hearth_client.operations.methods import GENERATE
from hearth_client.operations.models import Session, as_variant
from hearth_client.operations.steps import Operation
from hearth_client.v1 import inference_service_pb2 as pb
from hearth_client.variant import Variant
from hearth_client.wire.generation import Answer, Sampling, request


@dataclass(frozen=True, slots=True)
class Generation:
    """A request for text, and its answer."""

    request: pb.GenerateRequest
    answer: Answer

    @classmethod
    def of(
        cls, messages: Prompt, model: str | Variant, sampling: Sampling, *, report: bool, receipt: bool
    ) -> Generation:
        """A generation that has not begun; later changes of the variant do not touch it."""
        variant = as_variant(model).copy()
        asked = request(messages, variant, sampling, report=report, receipt=receipt)
        return cls(asked, Answer(messages, variant))

    def begin(self, session: Session) -> Operation[tuple[Any, Chunk | None]]:
        """The stream of its events, once the server has given it a place, and what the first of them tells."""
        stream, first = yield from session.patience.begin(GENERATE, self.request)
        return stream, self.answer.take(first)
