"""The inference process on vLLM, over gRPC, with the embedded model: what it can do, and how it says what it cannot."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from hearth.v1.inference_service_pb2_grpc import InferenceServiceStub
from services.errors import Reason
from services.inference.embedded import ensure_embedded_model
from services.rpc.status import RpcFailure, rpc_failures
from tests.inference.vllm.conftest import ABSENT, INSTALLED
from tests.mesh.processes import Running

pytestmark = [pytest.mark.platform, pytest.mark.model, pytest.mark.skipif(not INSTALLED, reason=ABSENT)]


@pytest.fixture(scope="module")
def stub() -> Iterator[InferenceServiceStub]:
    """A client of the process."""
    ensure_embedded_model(progress=False)
    with (
        Running("inference", engine="vllm", max_context=512, kv_tokens=8192, dtype="float32") as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        yield InferenceServiceStub(channel)


@pytest.fixture(scope="module")
def sae(stub: InferenceServiceStub) -> str:
    """The embedded SAE's id."""
    (model,) = stub.ListModels(pb.ListModelsRequest(), timeout=60).models
    return model.saes[0].id


def said(text: str) -> prompt_pb2.Prompt:
    message = prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=text)
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=[message]))


def nudge(sae: str, index: int, value: float) -> steering_pb2.Edit:
    return steering_pb2.Edit(feature=steering_pb2.FeatureKey(sae=sae, index=index), nudge=value)


HELLO = said("Tell me something about the sea.")


def test_a_steered_chat_streams_with_report_and_receipt_that_names_the_engine(
    stub: InferenceServiceStub, sae: str
) -> None:
    texts = []
    for value in (0.0, 0.6):
        request = pb.GenerateRequest(
            prompt=HELLO,
            steering=steering_pb2.Steering(edits=[nudge(sae, 11, value)]),
            sampling=pb.Sampling(temperature=0, max_tokens=16),
            report=True,
            receipt=True,
        )
        events = list(stub.Generate(request, timeout=120))
        assert events[0].HasField("started")
        finished = events[-1].finished
        texts.append("".join(event.delta.text for event in events))
        assert finished.usage.completion_tokens == 16
        assert finished.report.edits[0].tokens > 16
        assert finished.receipt.engine_version == "vllm-1"
        assert finished.receipt.platform.startswith("vllm ")
        assert finished.receipt.text == texts[-1]
    assert texts[0] != texts[1]


def test_everything_that_reads_a_prompt_forward_is_there(stub: InferenceServiceStub, sae: str) -> None:
    logits = stub.ComputeLogits(pb.ComputeLogitsRequest(prompt=HELLO, top_k=3), timeout=60)
    assert len(logits.top) == 3
    runs = list(stub.Inspect(pb.InspectRequest(prompt=HELLO, sae=sae, top_k=5), timeout=60))
    assert sum(len(run.tokens) for run in runs) == runs[0].prompt_tokens
    assert any(len(run.activations.values) for run in runs)
    pooled = stub.BatchInspect(
        pb.BatchInspectRequest(prompts=[HELLO, said("Hi")], sae=sae, top_k=4), timeout=60
    )
    assert len(pooled.token_counts) == 2
    sides = pb.ContrastRequest(
        positive=[said("Ahoy, matey!"), said("Arr, the ship!")],
        negative=[said("Dear Sir,"), said("Kind regards")],
        sae=sae,
        top_k=3,
    )
    assert stub.Contrast(sides, timeout=60).positive
    continuation = pb.Continuation(prompt=HELLO, text="The sea is deep.")
    scored = stub.ScoreTexts(pb.ScoreTextsRequest(continuations=[continuation]), timeout=60)
    assert scored.scores[0].logprob < 0


def test_attribution_is_refused_with_the_engine_named(stub: InferenceServiceStub, sae: str) -> None:
    with pytest.raises(RpcFailure) as refusal, rpc_failures():
        stub.Attribute(pb.AttributeRequest(prompt=HELLO, sae=sae), timeout=60)
    assert refusal.value.code is grpc.StatusCode.UNIMPLEMENTED
    assert refusal.value.reason is Reason.ENGINE_UNSUPPORTED
    assert "vllm" in refusal.value.message


def test_gates_on_entropy_are_refused_before_a_token_is_sent(stub: InferenceServiceStub, sae: str) -> None:
    steering = steering_pb2.Steering(edits=[nudge(sae, 11, 0.5)], min_nudge_entropy=1.0)
    with pytest.raises(RpcFailure) as refusal, rpc_failures():
        list(stub.Generate(pb.GenerateRequest(prompt=HELLO, steering=steering), timeout=60))
    assert refusal.value.reason is Reason.ENGINE_UNSUPPORTED
    assert refusal.value.field == "steering"
