"""The platform as `make up` starts it: real processes, the embedded model, its SAE, real gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2
from tests.mesh.processes import Process, Running


@pytest.fixture(scope="session")
def inference(embedded_model: Path) -> Iterator[Process]:
    """One inference process for all mesh tests."""
    with Running("inference") as process:
        yield process


@pytest.fixture(scope="session")
def features(sentence_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One features process for all mesh tests, empty at first."""
    with Running("features", data_dir=tmp_path_factory.mktemp("features")) as process:
        yield process


@pytest.fixture
def stub(inference: Process) -> Iterator[rpc.InferenceServiceStub]:
    """A plain client of the inference process."""
    with grpc.insecure_channel(inference.address) as channel:
        yield rpc.InferenceServiceStub(channel)


def chat(text: str, system: str = "") -> prompt_pb2.Prompt:
    """A prompt of one user message."""
    messages = [prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_SYSTEM, content=system)] if system else []
    messages.append(prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content=text))
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))
