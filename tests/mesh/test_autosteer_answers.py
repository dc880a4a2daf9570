"""DraftContrast and SuggestCondition over gRPC: pairs that match, a condition that inference then acts on, and defined
answers where inference is away or the time is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as rpc
from hearth.v1 import inference_service_pb2 as inference_pb
from hearth.v1 import inference_service_pb2_grpc as inference_rpc
from hearth.v1 import prompt_pb2, steering_pb2
from services.errors import Reason
from services.rpc.status import RpcFailure
from tests.autosteer.tiny_platform import BEHAVIOR, words
from tests.mesh.autosteered import TIMEOUT, Stack, stack_in

pytestmark = pytest.mark.model
SEEN = "seen"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, sentence_encoder: Path) -> Iterator[Stack]:
    """No worker: these are answered at once, by the server itself."""
    with stack_in(tmp_path_factory.mktemp("answers"), processes=("tiny", "broker", "server")) as running:
        yield running


@pytest.fixture
def stub(stack: Stack) -> Iterator[rpc.AutoSteerServiceStub]:
    with stack.stub() as asked:
        yield asked


def drafted(stub: rpc.AutoSteerServiceStub, **fields: object) -> pb.DraftContrastResponse:
    request = pb.DraftContrastRequest(**{"behavior": BEHAVIOR, "count": 12, **fields})  # type: ignore[arg-type]
    return stub.DraftContrast(request, timeout=TIMEOUT)


def text(*said: str) -> prompt_pb2.Prompt:
    return prompt_pb2.Prompt(text=" ".join(said))


def texts(about: int, count: int = 24, last: int = 20) -> list[prompt_pb2.Prompt]:
    """Texts that have three words in common, and end in one of their own."""
    known = words()
    return [text(*known[about : about + 3], known[last + n]) for n in range(count)]


def condition(stub: rpc.AutoSteerServiceStub, **fields: object) -> pb.SuggestConditionResponse:
    request = pb.SuggestConditionRequest(**fields)  # type: ignore[arg-type]
    return stub.SuggestCondition(request, timeout=TIMEOUT)


def share_held(stack: Stack, when: steering_pb2.Condition, prompts: Sequence[prompt_pb2.Prompt]) -> float:
    """The share of texts at which inference says that a condition held."""
    notify = steering_pb2.Scope(when=when, notify=steering_pb2.Notify(event=SEEN))
    steering = steering_pb2.Steering(scopes=[notify], positions=steering_pb2.POSITIONS_ALL)
    held = 0
    with grpc.insecure_channel(f"127.0.0.1:{stack.ports['tiny']}") as channel:
        inference = inference_rpc.InferenceServiceStub(channel)
        for prompt in prompts:
            request = inference_pb.GenerateRequest(
                prompt=prompt,
                steering=steering,
                sampling=inference_pb.Sampling(max_tokens=1),
            )
            events = list(inference.Generate(request, timeout=TIMEOUT))
            length = events[-1].finished.usage.prompt_tokens
            seen = [e.scope_triggered for e in events if e.HasField("scope_triggered")]
            held += any(each.event == SEEN and each.position < length for each in seen)
    return held / len(prompts)


def test_both_sides_of_a_pair_answer_the_same_question_and_no_pair_comes_twice(
    stub: rpc.AutoSteerServiceStub,
) -> None:
    pairs = drafted(stub)
    assert 1 <= len(pairs.positive) == len(pairs.negative) <= 12
    for positive, negative in zip(pairs.positive, pairs.negative, strict=True):
        shown, plain = positive.chat.messages, negative.chat.messages
        assert list(shown[:-1]) == list(plain[:-1])
        assert [message.role for message in shown] == [prompt_pb2.ROLE_USER, prompt_pb2.ROLE_ASSISTANT]
        assert shown[-1].content.strip()
        assert shown[-1].content != plain[-1].content
    both = zip(pairs.positive, pairs.negative, strict=True)
    assert len({(p.SerializeToString(), n.SerializeToString()) for p, n in both}) == len(pairs.positive)


def test_the_same_seed_drafts_the_same_pairs(stub: rpc.AutoSteerServiceStub) -> None:
    assert drafted(stub, seed=5) == drafted(stub, seed=5)


def test_a_condition_holds_where_inference_reads_texts_like_those_it_was_fitted_to(
    stack: Stack, stub: rpc.AutoSteerServiceStub
) -> None:
    found = condition(stub, positive=texts(0), negative=texts(5), max_features=2)
    comparison = found.condition.comparison
    assert comparison.threshold == found.threshold
    assert [label.feature for label in found.labels] == list(comparison.left.features)
    assert all(label.label for label in found.labels)
    assert 1 <= len(comparison.left.features) <= 2
    assert found.auroc > 0.7
    assert found.positives + found.negatives < 48  # those that it was fitted to do not count
    shown, plain = (share_held(stack, found.condition, texts(about, last=60)) for about in (0, 5))
    assert shown >= 0.7
    assert plain <= shown - 0.4


def test_words_alone_are_enough_and_the_same_seed_gives_the_same_condition(
    stub: rpc.AutoSteerServiceStub,
) -> None:
    found = condition(stub, behavior=BEHAVIOR, seed=4)
    assert found.condition.comparison.left.features
    assert found.positives
    assert found.negatives
    assert 0 <= found.false_positive_rate <= 1
    assert found == condition(stub, behavior=BEHAVIOR, seed=4)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"behavior": BEHAVIOR, "model": "nobody"}, "model"),
        ({"behavior": BEHAVIOR, "sae": "nothing"}, "sae"),
        ({"positive": texts(0, 3), "negative": texts(5, 3)}, "positive"),
        ({"positive": [text(*words()[:1] * 5000), *texts(0)], "negative": texts(5)}, "positive"),
        ({"negative": texts(5)}, "behavior"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_the_request_s_own_field(
    stub: rpc.AutoSteerServiceStub, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        condition(stub, **fields)
    failure = RpcFailure.of(caught.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.field == field


def test_a_model_that_is_not_served_is_named(stub: rpc.AutoSteerServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        drafted(stub, model="nobody")
    failure = RpcFailure.of(caught.value)
    assert (failure.code, failure.field) == (grpc.StatusCode.INVALID_ARGUMENT, "model")
    assert "tiny" in failure.message


def test_while_inference_is_away_both_say_so_and_afterwards_answer_again(stack: Stack) -> None:
    stack.kill("tiny")
    with stack.stub() as stub:
        for ask in (drafted, lambda asked: condition(asked, behavior=BEHAVIOR)):
            with pytest.raises(grpc.RpcError) as caught:
                ask(stub)
            failure = RpcFailure.of(caught.value)
            assert failure.code is grpc.StatusCode.UNAVAILABLE
            assert failure.reason is Reason.DEPENDENCY_UNAVAILABLE
        stack.start("tiny")
        assert drafted(stub).positive
