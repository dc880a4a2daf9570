"""`hearth up` starts the real platform on the embedded model; the other commands work on it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch
from rich.console import Console

from services.cli.answers import ModelInfo, SaeInfo
from services.cli.ports import free_port, port_problem
from services.cli.render.welcome import Served, welcome
from services.cli.showcase import Showpiece, showpieces
from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.doctor import Check, Status
from services.inference.sae.write_saelens import write_saelens
from services.saelab.diagnosis_table import diagnosis_table, verdict
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeInference, running
from tests.cli.made_tables import write_features, write_labels
from tests.cli.test_command import ENVIRONMENT, HEARTH

ONE_THREAD = {**ENVIRONMENT, "HEARTH_INFERENCE_THREADS": "1"}
"""Quick enough for so little, also beside other tests."""
FREE_PORTS = ["--port", "0", "--features-port", "0", "--autosteer-port", "0", "--gateway-port", "0"]
FEATURES, WIDTH, LAYER, NORM = 32, 576, 15, 172.0
USUAL = "127.0.0.1:50051"


def random_sae(folder: Path) -> Path:
    """An SAE of random directions that fits the embedded model's hook point in all but its reconstruction."""
    decoder = torch.nn.functional.normalize(
        torch.randn(FEATURES, WIDTH, generator=torch.Generator().manual_seed(1))
    )
    bias, threshold = torch.zeros(FEATURES), torch.zeros(FEATURES)
    weights = SaeWeights(
        Architecture.JUMPRELU, decoder, bias, decoder, torch.zeros(WIDTH), threshold=threshold
    )
    hook = f"model.layers.{LAYER}"
    sae = Sae("random", weights, hook, LAYER, weights.digest(), NORM, 0.6, torch.full((FEATURES,), 20.0), {})
    sae = write_saelens(folder, sae)  # its weights are rounded
    samples = [{"prompt": "Tell me a story.", "plain": "", "steered": ""}]
    trial = {"topic": "ocean", "feature": 3, "strength": 0.4, "steers": True, "samples": samples}
    write_features(folder, sae)
    write_labels(folder, sae)
    (folder / "steering.json").write_text(json.dumps([trial, {**trial, "feature": 4, "steers": False}]))
    return folder


@dataclass(frozen=True)
class Up:
    """A running `hearth up`."""

    process: subprocess.Popen[str]
    address: str
    features: str
    """The features process's address."""
    output: str
    """What it printed until it was ready."""
    sae: Path


@pytest.fixture(scope="session")
def up(
    embedded_model: Path, sentence_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    sae = random_sae(tmp_path_factory.mktemp("sae"))
    command = [
        *HEARTH,
        "up",
        *FREE_PORTS,
        "--metrics-port",
        "0",
        "--device",
        "cpu",
        "--sae",
        str(sae),
        "--allow-mismatch",
    ]
    environment = {
        **ONE_THREAD,
        "HEARTH_FEATURES_DATA_DIR": str(tmp_path_factory.mktemp("data")),
        "HEARTH_AUTOSTEER_DATA_DIR": str(tmp_path_factory.mktemp("jobs")),
        "HEARTH_GATEWAY_DATA_DIR": str(tmp_path_factory.mktemp("keys")),
    }
    output = ""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            output += line
            if "Ctrl-C" in line:
                break
        assert "Hearth is ready" in output, output
        address = re.search(r"HEARTH_ADDRESS=(\S+)", output)
        features = re.search(r"HEARTH_FEATURES_ADDRESS=(\S+)", output)
        assert address is not None, output
        assert features is not None, output
        yield Up(process, address[1], features[1], output, sae)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
        assert "Stopped." in rest


@pytest.mark.model
def test_up_ends_its_start_with_commands_on_measured_features(up: Up) -> None:
    assert "inference │ " in up.output
    assert 'chat --nudge 3=0.4 "Tell me a story."' in up.output
    assert re.search(r'goodfire.Client\("dev", base_url="http://127.0.0.1:\d+"\)', up.output)
    assert "nudge 4" not in up.output


@pytest.mark.model
def test_up_imports_the_features_and_its_search_works(up: Up, run: Run) -> None:
    assert f"{FEATURES} features to search" in up.output
    assert 'features search "ocean"' in up.output
    done = run("features", "search", "ocean", "--json", HEARTH_FEATURES_ADDRESS=up.features)
    labels = [hit["feature"]["label"] for hit in json.loads(done.out)["hits"][:4]]
    assert all(label.startswith("the sea and ships") for label in labels), "not the word, but the meaning"
    assert (
        "in the catalogue already"
        in run("features", "import", str(up.sae), HEARTH_FEATURES_ADDRESS=up.features).out
    )


@pytest.mark.model
def test_every_process_answers_prometheus_on_a_port_of_its_own_and_the_gateway_nowhere_else(up: Up) -> None:
    told = re.search(r"Metrics at http://(\S+):PORT/metrics: (.+)", up.output)
    assert told is not None, up.output
    ports = dict(place.split(" ") for place in told[2].split(", "))
    assert list(ports) == ["inference", "features", "autosteer", "worker", "gateway"]
    patient = httpx.HTTPTransport(retries=8)  # nobody waits for the worker's start
    with httpx.Client(transport=patient, timeout=30) as client:
        for name, port in ports.items():
            text = client.get(f"http://{told[1]}:{port}/metrics").text
            assert f'hearth_build_info{{process="{name}"' in text
            assert ('hearth_engine_rows_limit{model="' in text) == (name == "inference")
        public = re.search(r'base_url="(http://127.0.0.1:\d+)"', up.output)
        assert public is not None
        assert client.get(f"{public[1]}/metrics").status_code == 404


@pytest.mark.model
def test_inspect_shows_labels(up: Up, run: Run) -> None:
    done = run("inspect", "The ship sailed.", "--address", up.address, HEARTH_FEATURES_ADDRESS=up.features)
    assert "Label" in done.out


@pytest.mark.model
def test_chat_answers_plain_and_steered_and_reports(up: Up, run: Run) -> None:
    edits = ("--nudge", "3=0.4", "--seed", "1", "--max-tokens", "5")
    arguments = ["chat", "Hi", *edits, "--json", "--address", up.address]
    answer = json.loads(run(*arguments).out)
    assert answer["plain"]["text"] != answer["steered"]["text"]
    [edit] = answer["steered"]["report"]["edits"]
    assert edit["edit"]["feature"] == {"sae": "random", "index": 3}
    assert edit["requested"]["strength"] == pytest.approx(0.4)
    assert edit["delivered"]["raw"] > 0
    again = json.loads(run(*arguments).out)
    for side in ("plain", "steered"):
        assert again[side]["text"] == answer[side]["text"]
    assert again["steered"]["report"] == answer["steered"]["report"]


@pytest.mark.model
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models"], "32"),
        (["inspect", "The ship sailed."], "·ship"),
        (["inspect", "-f", "3", "The ship sailed at dawn."], "Feature 3"),
        (["contrast", "--positive", "The ship sailed.", "--negative", "Two and two."], "AUROC"),
        (["logits", "The capital of France is", "--nudge", "3=0.4"], "·Paris"),
        (["attribute", "The capital of France is", "--token", " Paris", "--versus", " London"], "·Paris"),
        (["tokenize", "--chat", "Hi"], "<|im_start|>"),
    ],
)
def test_every_question_is_answered(up: Up, run: Run, arguments: list[str], says: str) -> None:
    done = run(*arguments, "--address", up.address)
    assert done.code == 0, done.err
    assert says in done.out


@pytest.mark.model
def test_the_servers_refusal_names_the_field_and_what_is_allowed(up: Up, run: Run) -> None:
    done = run("chat", "Hi", "--nudge", "32=0.4", "--address", up.address)
    assert done.code == 1
    assert done.err.splitlines()[0].endswith("feature 32 does not exist; allowed: 0 to 31")


@pytest.mark.model
def test_doctor_ends_with_1_where_the_server_would_refuse(up: Up) -> None:
    command = [*HEARTH, "doctor", "--sae", str(up.sae), "--json"]
    done = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True)
    assert done.returncode == 1
    [told] = json.loads(done.stdout)["saes"]
    assert told["refused"]
    status = {check["name"]: check["status"] for check in told["checks"]}
    assert (status["width"], status["variance_explained"]) == ("ok", "fail")


def test_a_diagnosis_is_a_sentence_for_each_check_and_a_verdict() -> None:
    findings = [
        Check("width", Status.OK, 576, 576, "Width 576, as the model's."),
        Check("median_norm", Status.WARN, 170.0, 100.0, "It is scaled otherwise."),
        Check("l0", Status.FAIL, 0.0, 32.0, "No feature fires."),
    ]
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(diagnosis_table("my-sae", findings))
    text = console.export_text()
    assert [line.split()[0:3] for line in text.splitlines()[4:7]] == [
        ["width", "✓", "ok"],
        ["median", "norm", "!"],
        ["l0", "✗", "bad"],
    ]
    assert all(finding.message in text for finding in findings)
    assert "Refused" in verdict(findings, refused=True).plain
    assert "Allowed" in verdict(findings, refused=False).plain
    assert "1 to look at" in verdict(findings[:2], refused=False).plain
    assert verdict(findings[:1], refused=False).plain.strip() == "Fits."


def test_a_taken_port_is_told_before_anything_starts(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--port", "--features-port", "--gateway-port"):
            done = run("up", *FREE_PORTS, option, str(port))
            assert done.code == 1
            assert f"Port {port} is taken" in done.err
            assert f"another one with {option} " in done.err


def test_a_hearth_that_runs_already_is_recognised(run: Run, service: FakeInference) -> None:
    with running(service) as address:
        done = run("up", "--port", address.rpartition(":")[2])
    assert done.code == 1
    assert "Hearth runs already" in done.err


def test_a_wrong_setting_is_named_where_it_was_made(run: Run) -> None:
    assert "--dtype" in run("up", "--dtype", "int4").err
    assert "HEARTH_INFERENCE_PORT" in run("up", HEARTH_INFERENCE_PORT="many").err
    assert "HEARTH_FEATURES_PORT" in run("up", HEARTH_FEATURES_PORT="many").err


def test_a_free_port_can_be_listened_on() -> None:
    assert port_problem("127.0.0.1", free_port("127.0.0.1")) == ""
    assert "Cannot listen on 203.0.113.1" in port_problem("203.0.113.1", 50051)


def test_a_foreign_steering_file_costs_the_examples_only(tmp_path: Path) -> None:
    for text in ("", "{}", "[1]", '[{"topic": "ocean"}]'):
        (tmp_path / "steering.json").write_text(text)
        assert showpieces([tmp_path]) == []


def test_the_welcome_speaks_of_the_usual_port_only_where_it_is_another() -> None:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    served = Served([], USUAL, "127.0.0.1:50052", "127.0.0.1:50053", 0)
    console.print(welcome(served, [Showpiece("ocean", 3, 0.4, "Hi")]))
    text = console.export_text()
    assert "HEARTH_ADDRESS" not in text
    assert "HEARTH_FEATURES_ADDRESS" not in text


def test_a_command_to_try_is_one_line_however_narrow_the_terminal() -> None:
    console = Console(width=40, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    command = "a/long/way/to/" * 5 + "hearth"
    piece = Showpiece("ocean", 3, 0.4, "Tell me a story.")
    sae = SaeInfo("sae", "model.layers.1", 1, 32, "relu", "float32", 1.0, 0.6, True, "")
    model = ModelInfo("tiny", 64, 256, 8, 2, "float32", True, "", (sae,))
    served = Served([model], USUAL, "127.0.0.1:6000", "127.0.0.1:50053", 32)
    console.print(welcome(served, [piece], command=command), soft_wrap=True)
    lines = console.export_text().splitlines()
    assert f'{command} chat --nudge 3=0.4 "Tell me a story."' in lines
    assert f'{command} features search "ocean"' in lines
    assert "export HEARTH_FEATURES_ADDRESS=127.0.0.1:6000" in lines
