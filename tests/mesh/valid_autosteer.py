"""Valid requests of the autosteer process, with every field set in at least one of them."""

from __future__ import annotations

import uuid

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from hearth.v1 import autosteer_service_pb2 as pb
from hearth.v1 import autosteer_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from tests.mesh.autosteered import TIMEOUT

BEHAVIOR = "write about the sea and ships"
REQUEST_ID = str(uuid.UUID(int=1))
TEXTS = 8
"""Of each kind: the fewest that a condition is fitted on."""


def said(text: str) -> prompt_pb2.Prompt:
    """A chat whose answer is a text."""
    return prompt_pb2.Prompt(
        chat=prompt_pb2.Chat(
            messages=[
                prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content="What do you see?"),
                prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_ASSISTANT, content=text),
            ]
        )
    )


def a_spec() -> pb.AutoSteerSpec:
    """A spec with every field set."""
    return pb.AutoSteerSpec(
        model="tiny",
        sae="relu",
        behavior=BEHAVIOR,
        positive=[said("ships on the sea"), prompt_pb2.Prompt(text="a boat on the water")],
        negative=[said("a court of law"), prompt_pb2.Prompt(text="the judge and the law")],
        prompts=[prompt_pb2.Prompt(text="Tell me of the day.")],
        max_features=2,
        max_trials=4,
        budget=Duration(seconds=30),
        seed=3,
        tier=pb.AUTO_STEER_TIER_QUICK,
        judge=pb.AutoSteerJudge(name="openai", endpoint="http://localhost:9/v1", model="a judge"),
        temperature=0.5,
        max_tokens=8,
    )


def prepare(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> str:
    """The id of a job that is over."""
    stub = rpc.AutoSteerServiceStub(channel)
    request = pb.CreateAutoSteerJobRequest(spec=pb.AutoSteerSpec(behavior=BEHAVIOR))
    job: str = stub.CreateAutoSteerJob(request, timeout=TIMEOUT, metadata=metadata).job.id
    stub.CancelAutoSteerJob(pb.CancelAutoSteerJobRequest(id=job), timeout=TIMEOUT, metadata=metadata)
    return job


def valid_autosteer_requests(job: str) -> list[tuple[str, Message]]:
    """(method, request) of AutoSteerService; each must succeed."""
    offline = a_spec()
    offline.judge.CopyFrom(pb.AutoSteerJudge(name="offline"))
    positive, negative = (
        [said(f"{text} {number}") for number in range(TEXTS)] for text in ("the sea", "the law")
    )
    return [
        ("CreateAutoSteerJob", pb.CreateAutoSteerJobRequest(spec=a_spec())),
        ("CreateAutoSteerJob", pb.CreateAutoSteerJobRequest(spec=offline, request_id=REQUEST_ID)),
        ("GetAutoSteerJob", pb.GetAutoSteerJobRequest(id=job)),
        ("ListAutoSteerJobs", pb.ListAutoSteerJobsRequest(page_size=5)),
        ("CancelAutoSteerJob", pb.CancelAutoSteerJobRequest(id=job)),
        ("WatchAutoSteerJob", pb.WatchAutoSteerJobRequest(id=job, after_sequence=1)),
        ("DraftContrast", pb.DraftContrastRequest(model="tiny", behavior=BEHAVIOR, count=4, seed=2)),
        (
            "SuggestCondition",
            pb.SuggestConditionRequest(
                model="tiny",
                sae="relu",
                behavior=BEHAVIOR,
                positive=positive,
                negative=negative,
                max_features=2,
                seed=1,
            ),
        ),
    ]
