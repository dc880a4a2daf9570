"""A real server on a loopback port, in a thread of its own, that answers like the inference service from a script."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as pb_grpc
from hearth.v1 import prompt_pb2, steering_pb2
from services.errors import HearthError
from services.rpc.server import ServerSettings, serve
from tests.cli.loops import loop_in_thread

SERVICE = "hearth.v1.InferenceService"
WORDS = {False: ["I ", "went ", "home."], True: ["We ", "sailed ", "the ", "sea.\nAhoy!"]}
"""What is said plain and steered."""
VOCABULARY = ["<s>", "The", " ship", " sailed", " at", " dawn", "\n"]


def token(number: int) -> prompt_pb2.Token:
    return prompt_pb2.Token(id=number, piece=VOCABULARY[number % len(VOCABULARY)].encode())


@dataclass
class FakeInference(pb_grpc.InferenceServiceServicer):
    """Answers from constants; remembers what it was asked; `error` is raised instead where it is set."""

    error: HearthError | None = None
    hang: bool = False
    """Whether generations stop after their first word and wait."""
    sae: str = "small-sae"
    weights_digest: str = "d" * 64
    """Of the SAE's weights."""
    asked: list[Any] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def _take(self, request: Any) -> None:
        self.asked.append(request)
        if self.error is not None:
            raise self.error

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        self._take(request)
        sae = pb.Sae(
            id=self.sae,
            hook_point="model.layers.15",
            layer=15,
            feature_count=4096,
            architecture="jumprelu",
            weights_digest=self.weights_digest,
        )
        names = ["first/model", "second/model"]
        at = int(request.page_token or 0)
        model = pb.Model(
            id=names[at], context_length=8192, layer_count=30, d_model=576, saes=[sae] if at == 0 else []
        )
        return pb.ListModelsResponse(models=[model], next_page_token="" if at else "1")

    async def Tokenize(self, request: pb.TokenizeRequest, context: Any) -> pb.TokenizeResponse:
        self._take(request)
        if request.prompt.text == " unknown":
            return pb.TokenizeResponse(
                tokens=[prompt_pb2.Token(id=8, piece=b" un"), prompt_pb2.Token(id=9, piece=b"known")]
            )
        if request.prompt.text in VOCABULARY:
            return pb.TokenizeResponse(tokens=[token(0), token(VOCABULARY.index(request.prompt.text))])
        spans = [pb.MessageSpan(message=0, start=1, end=6, content_start=2, content_end=5)]
        return pb.TokenizeResponse(
            tokens=[*map(token, range(7)), prompt_pb2.Token(id=99, piece=b"\xe2\x82")],
            spans=spans if request.prompt.HasField("chat") else [],
        )

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        self._take(request)
        steered = bool(request.steering.edits or request.steering.scopes)
        yield pb.GenerateResponse(started=pb.GenerationStarted(prompt_tokens=7, seed=request.sampling.seed))
        for number, word in enumerate(WORDS[steered]):
            yield pb.GenerateResponse(delta=pb.GenerationDelta(text=word, token_ids=[number]))
            if self.hang:
                try:
                    self.hanging.set()
                    await asyncio.Event().wait()
                finally:
                    self.cancelled.set()
        finished = pb.GenerationFinished(
            reason=pb.FINISH_REASON_STOP,
            usage=pb.Usage(prompt_tokens=7, completion_tokens=len(WORDS[steered]), decode_seconds=0.1),
        )
        if request.report:
            finished.report.CopyFrom(report_of(request.steering))
        if request.receipt:
            finished.receipt.CopyFrom(pb.Receipt(engine_version="9"))
        yield pb.GenerateResponse(finished=finished)

    async def Inspect(self, request: pb.InspectRequest, context: Any) -> AsyncIterator[pb.InspectResponse]:
        self._take(request)
        for offset in (0, 4):
            tokens = [token(number) for number in range(offset, min(offset + 4, 7))]
            rows = [
                ([], []) if number == 0 else ([12, 7], [2.0 * number, 1.0])
                for number in range(offset, offset + len(tokens))
            ]
            if request.feature_indices:
                rows = [([12], [values[0]]) if indices else ([], []) for indices, values in rows]
            starts = [0]
            for indices, _ in rows:
                starts.append(starts[-1] + len(indices))
            yield pb.InspectResponse(
                offset=offset,
                tokens=tokens,
                sinks=[0] if offset == 0 else [],
                prompt_tokens=7,
                activations=pb.SparseRows(
                    starts=starts,
                    indices=[index for indices, _ in rows for index in indices],
                    values=[value for _, values in rows for value in values],
                ),
            )

    async def Contrast(self, request: pb.ContrastRequest, context: Any) -> pb.ContrastResponse:
        self._take(request)
        one = pb.FeatureContrast(
            index=12, mean_positive=3, auroc=0.97, effect_size=2.5, p_value=1e-5, q_value=1e-4
        )
        other = pb.FeatureContrast(
            index=7, mean_negative=2, auroc=0.1, effect_size=-1.5, p_value=0.1, q_value=0.25
        )
        return pb.ContrastResponse(positive=[one], negative=[other], tested_features=50)

    async def ComputeLogits(self, request: pb.ComputeLogitsRequest, context: Any) -> pb.ComputeLogitsResponse:
        self._take(request)
        best = 3 if request.steering.edits else 2

        def logit(number: int) -> pb.TokenLogit:
            return pb.TokenLogit(
                token=token(number), logit=9 if number == best else 5, logprob=-0.1 if number == best else -3
            )

        return pb.ComputeLogitsResponse(
            position=4, top=[logit(best)], named=map(logit, request.token_ids), entropy=1.25
        )

    async def Attribute(self, request: pb.AttributeRequest, context: Any) -> pb.AttributeResponse:
        self._take(request)
        return pb.AttributeResponse(
            target=token(2),
            position=4,
            logit=9,
            features=[
                pb.FeatureEffect(
                    index=12, effect=1.5, positions=[pb.PositionEffect(position=2, activation=3, effect=1.5)]
                ),
                pb.FeatureEffect(index=7, effect=-0.5),
            ],
            feature_effect=1.0,
            error_effect=-2.0,
            bias_effect=0.5,
        )


def report_of(steering: steering_pb2.Steering) -> pb.SteeringReport:
    """Each edit at half of what was asked."""
    edits = [*steering.edits, *(edit for scope in steering.scopes for edit in scope.steering.edits)]
    return pb.SteeringReport(
        edits=[
            pb.EditReport(
                edit=edit,
                requested=pb.EditValues(raw=40, strength=0.5, activation_units=2),
                delivered=pb.EditValues(raw=20, strength=0.25, activation_units=1),
                tokens=9,
                mean_activation_before=0.1,
                mean_activation_after=1.1,
            )
            for edit in edits
        ],
        mean_relative_delta=0.2,
        max_relative_delta=0.3,
        clipped_tokens=2,
        edited_tokens=9,
        scopes=[pb.ScopeReport(scope=[number], tried=9, held=4) for number in range(len(steering.scopes))],
    )


@contextmanager
def running(service: FakeInference, *, serving: bool = True) -> Iterator[str]:
    """The address of a server for `service`; it is gone afterwards."""
    with loop_in_thread() as wait:
        server = wait(
            serve(
                {SERVICE: lambda server: pb_grpc.add_InferenceServiceServicer_to_server(service, server)},
                ServerSettings(drain_seconds=0),
                serving=serving,
                handle_signals=False,
            )
        )
        try:
            yield server.address
        finally:
            wait(server.drain())
