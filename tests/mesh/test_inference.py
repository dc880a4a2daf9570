"""Every RPC of the inference service, against the process that `make up` starts, on the real model and SAE."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2, steering_pb2
from services.errors import Reason
from services.rpc.status import RpcFailure
from tests.mesh.conftest import chat
from tests.mesh.processes import ROOT, Process

pytestmark = pytest.mark.model
TIMEOUT = 60
QUESTION = "What did you do this morning?"


def nudges(*edits: tuple[int, float]) -> steering_pb2.Steering:
    """Nudges on the model's only SAE."""
    return steering_pb2.Steering(
        edits=[
            steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=index), nudge=value)
            for index, value in edits
        ]
    )


def generate(stub: rpc.InferenceServiceStub, **fields: object) -> tuple[str, pb.GenerationFinished]:
    """The text and the last message of a generation."""
    sampling = fields.pop("sampling", None) or pb.Sampling(max_tokens=16, seed=7, temperature=0.7)
    request = pb.GenerateRequest(sampling=sampling, **{"prompt": chat(QUESTION), **fields})  # type: ignore[arg-type]
    answers = list(stub.Generate(request, timeout=TIMEOUT))
    assert answers[0].HasField("started")
    assert answers[-1].HasField("finished")
    return "".join(a.delta.text for a in answers if a.HasField("delta")), answers[-1].finished


def test_the_readmes_snippet_streams_a_steered_completion(inference: Process, tmp_path: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    snippet = next(s for s in snippets if "Generate" in s).replace("127.0.0.1:50051", inference.address)
    snippet = snippet.replace("localhost:50051", inference.address)
    assert inference.address in snippet
    path = tmp_path / "snippet.py"
    path.write_text(snippet)
    done = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'protos/gen'}", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 10


def test_the_embedded_model_is_served_with_its_sae(stub: rpc.InferenceServiceStub) -> None:
    (model,) = stub.ListModels(pb.ListModelsRequest(), timeout=TIMEOUT).models
    assert model.id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (model.d_model, model.layer_count, model.vocabulary_size) == (576, 30, 49152)
    (sae,) = model.saes
    assert sae.d_model == 576
    assert sae.median_norm > 0
    assert sae.has_scales


def test_a_nudge_changes_the_text_and_a_nudge_of_zero_does_not(stub: rpc.InferenceServiceStub) -> None:
    plain, _ = generate(stub)
    assert generate(stub, steering=nudges((5, 0.0)))[0] == plain
    changed = {generate(stub, steering=nudges((index, 0.8)))[0] for index in (5, 6, 7)}
    assert changed - {plain}


def test_the_report_says_what_was_delivered(stub: rpc.InferenceServiceStub) -> None:
    _, finished = generate(stub, steering=nudges((5, 0.3)), report=True)
    (edit,) = finished.report.edits
    assert edit.requested.strength == pytest.approx(0.3, rel=1e-5)
    assert edit.tokens > 16
    assert finished.report.edited_tokens == edit.tokens
    assert 0 < finished.report.mean_relative_delta < 1
    assert edit.delivered.raw == pytest.approx(
        edit.delivered.activation_units * edit.requested.raw / edit.requested.activation_units, rel=1e-3
    )


def test_a_receipt_reproduces_the_text(stub: rpc.InferenceServiceStub) -> None:
    text, finished = generate(stub, steering=nudges((5, 0.4), (9, 0.2)), receipt=True)
    receipt = finished.receipt
    assert set(receipt.sae_digests) == {receipt.steering.edits[0].feature.sae}
    again, _ = generate(
        stub,
        model=receipt.model,
        prompt=prompt_pb2.Prompt(token_ids=receipt.prompt),
        steering=receipt.steering,
        sampling=receipt.sampling,
    )
    assert again == text


def test_an_abort_ends_the_generation_and_a_notify_reports(stub: rpc.InferenceServiceStub) -> None:
    always = steering_pb2.Condition(
        comparison=steering_pb2.Comparison(
            left=steering_pb2.FeatureSet(features=[steering_pb2.FeatureKey(index=3)]),
            operator=steering_pb2.Comparison.OPERATOR_GREATER_OR_EQUAL,
            threshold=0.0,
        )
    )
    generated = steering_pb2.POSITIONS_GENERATED
    told = steering_pb2.Steering(
        scopes=[steering_pb2.Scope(when=always, notify=steering_pb2.Notify(event="seen"))],
        positions=generated,
    )
    request = pb.GenerateRequest(
        prompt=chat(QUESTION), steering=told, sampling=pb.Sampling(max_tokens=4, seed=1, ignore_end=True)
    )
    events = [
        a.scope_triggered.event
        for a in stub.Generate(request, timeout=TIMEOUT)
        if a.HasField("scope_triggered")
    ]
    assert events == ["seen"] * 4
    stopped = steering_pb2.Steering(
        scopes=[steering_pb2.Scope(when=always, abort=steering_pb2.Abort(message="enough"))],
        positions=generated,
    )
    text, finished = generate(stub, steering=stopped)
    assert (text, finished.reason, finished.abort_message) == ("", pb.FINISH_REASON_ABORTED, "enough")


def test_stop_strings_seeds_and_logprobs(stub: rpc.InferenceServiceStub) -> None:
    sampling = pb.Sampling(max_tokens=24, seed=3, temperature=0.9, top_logprobs=3)
    text, finished = generate(stub, sampling=sampling)
    assert finished.usage.completion_tokens <= 24
    assert generate(stub, sampling=sampling)[0] == text
    stop = text[len(text) // 2 : len(text) // 2 + 3]
    sampling.stop.append(stop)
    cut, finished = generate(stub, sampling=sampling)
    assert cut == text[: text.index(stop)]
    assert (finished.reason, finished.stop) == (pb.FINISH_REASON_STOP, stop)


def test_logits_are_a_distribution_and_steering_moves_it(stub: rpc.InferenceServiceStub) -> None:
    request = pb.ComputeLogitsRequest(prompt=prompt_pb2.Prompt(text="The capital of France is"), top_k=1000)
    plain = stub.ComputeLogits(request, timeout=TIMEOUT)
    assert plain.top[0].token.piece == b" Paris"
    assert sum(math.exp(t.logprob) for t in plain.top) == pytest.approx(1.0, abs=0.02)
    request.steering.CopyFrom(nudges((5, 0.6)))
    assert stub.ComputeLogits(request, timeout=TIMEOUT).top[0].logit != plain.top[0].logit


def test_inspect_and_batch_inspect_agree(stub: rpc.InferenceServiceStub) -> None:
    prompt = prompt_pb2.Prompt(
        text="The ship sailed over the deep blue sea, and the sailors sang of the waves."
    )
    runs = list(stub.Inspect(pb.InspectRequest(prompt=prompt), timeout=TIMEOUT))
    tokens = [t.piece for r in runs for t in r.tokens]
    assert b"".join(tokens).decode() == prompt.text
    assert len(tokens) == runs[0].prompt_tokens
    assert runs[0].sinks[0] == 0
    largest: dict[int, float] = {}
    for run in runs:
        for index, value in zip(run.activations.indices, run.activations.values, strict=True):
            largest[index] = max(value, largest.get(index, 0.0))
    pooled = stub.BatchInspect(
        pb.BatchInspectRequest(prompts=[prompt], top_k=10), timeout=TIMEOUT
    ).activations
    for index, value in zip(pooled.indices, pooled.values, strict=True):
        assert value == pytest.approx(largest[index], rel=1e-4)


def test_contrast_finds_features_that_tell_the_sets_apart(stub: rpc.InferenceServiceStub) -> None:
    sea = ["the waves of the sea", "a ship on the ocean", "sailing over deep water", "the tide and the shore"]
    sums = ["add two and two", "divide ten by five", "the sum of numbers", "multiply three by four"]
    request = pb.ContrastRequest(
        positive=[chat(f"Write about {s}.") for s in sea],
        negative=[chat(f"Please {s}.") for s in sums],
        top_k=5,
    )
    answer = stub.Contrast(request, timeout=TIMEOUT)
    assert [f.auroc for f in answer.positive] == [1.0] * 5
    assert [f.auroc for f in answer.negative] == [0.0] * 5
    assert all(f.mean_positive > f.mean_negative for f in answer.positive)
    assert answer.tested_features > 50


def test_attribution_adds_up_and_names_features(stub: rpc.InferenceServiceStub) -> None:
    prompt = prompt_pb2.Prompt(text="The capital of France is")
    answer = stub.Attribute(pb.AttributeRequest(prompt=prompt, top_k=10), timeout=TIMEOUT)
    assert answer.target.piece == b" Paris"
    assert len(answer.features) == 10
    effects = [abs(f.effect) for f in answer.features]
    assert effects == sorted(effects, reverse=True)
    for feature in answer.features:
        assert sum(p.effect for p in feature.positions) == pytest.approx(feature.effect, rel=1e-3, abs=1e-4)


def test_errors_carry_reason_field_and_request_id(stub: rpc.InferenceServiceStub) -> None:
    cases = {
        Reason.MODEL_NOT_SERVED: pb.GenerateRequest(model="no/such", prompt=chat("x")),
        Reason.FEATURE_OUT_OF_RANGE: pb.GenerateRequest(prompt=chat("x"), steering=nudges((10**9, 0.1))),
        Reason.PROMPT_TOO_LONG: pb.GenerateRequest(
            prompt=prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=[5] * 9000))
        ),
        Reason.INVALID_FIELD: pb.GenerateRequest(),
    }
    for reason, request in cases.items():
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Generate(request, timeout=TIMEOUT))
        failure = RpcFailure.of(caught.value)
        assert failure.reason is reason
        assert failure.field
        assert failure.request_id


def test_a_text_is_as_likely_as_it_was_when_it_was_written(stub: rpc.InferenceServiceStub) -> None:
    steering = nudges((1, 0.3))
    sampling = pb.Sampling(max_tokens=12, temperature=0, logprobs=True)
    answers = list(
        stub.Generate(
            pb.GenerateRequest(prompt=chat(QUESTION), steering=steering, sampling=sampling), timeout=TIMEOUT
        )
    )
    text = "".join(a.delta.text for a in answers if a.HasField("delta"))
    written = [t.logprob for a in answers if a.HasField("delta") for t in a.delta.logprobs]
    same = pb.Continuation(prompt=chat(QUESTION), text=text)
    other = pb.Continuation(prompt=chat(QUESTION), text="Purple of the of of.")
    request = pb.ScoreTextsRequest(continuations=[same, other], steering=steering, token_logprobs=True)
    read, unlikely = stub.ScoreTexts(request, timeout=TIMEOUT).scores
    assert list(read.token_logprobs) == pytest.approx(written[: read.tokens], abs=1e-3)
    assert read.logprob == pytest.approx(sum(read.token_logprobs), abs=1e-3)
    assert unlikely.logprob / unlikely.tokens < read.logprob / read.tokens - 2
    plain = stub.ScoreTexts(pb.ScoreTextsRequest(continuations=[same]), timeout=TIMEOUT).scores[0]
    assert plain.logprob != pytest.approx(read.logprob, abs=0.01)
    assert not plain.token_logprobs


def test_a_text_without_tokens_is_refused_by_its_place(stub: rpc.InferenceServiceStub) -> None:
    request = pb.ScoreTextsRequest(
        continuations=[
            pb.Continuation(prompt=chat(QUESTION), text="Fine."),
            pb.Continuation(prompt=chat(QUESTION)),
        ]
    )
    with pytest.raises(grpc.RpcError) as refused:
        stub.ScoreTexts(request, timeout=TIMEOUT)
    assert [v.field for v in RpcFailure.of(refused.value).violations] == ["continuations[1].text"]
