"""`hearth replay` generates texts again from their receipts, and names what is not as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import inference_service_pb2_grpc as rpc
from hearth.v1 import prompt_pb2, steering_pb2
from services.inference.engine import Engine
from tests.cli.conftest import NOBODY, Done, Run
from tests.cli.served_folder import SAE, an_sae, change_template, change_weights, serving, write_model

CHAT = prompt_pb2.Prompt(
    chat=prompt_pb2.Chat(
        messages=[prompt_pb2.ChatMessage(role=prompt_pb2.ROLE_USER, content="tell me of the sea")]
    )
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def made(original: Path) -> list[dict[str, Any]]:
    """Receipts of a server that is gone: steered differently, hot and cold, one of them with digests only."""
    with serving(original, an_sae()) as address, grpc.insecure_channel(address) as channel:
        stub = rpc.InferenceServiceStub(channel)
        return [
            json_format.MessageToDict(_receipt(stub, number, digests_only=number == 5)) for number in range(6)
        ]


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """The model's folder, to be changed."""
    for file in original.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def file(made: list[dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "receipts.jsonl"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in made[:5]))
    return path


def _receipt(stub: rpc.InferenceServiceStub, number: int, digests_only: bool) -> pb.Receipt:
    edits = [
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=number), nudge=0.3),
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=number + 7), pin=1.0),
        steering_pb2.Edit(feature=steering_pb2.FeatureKey(index=number + 14), scale=2.0),
    ]
    request = pb.GenerateRequest(
        prompt=CHAT,
        steering=steering_pb2.Steering(edits=edits[: number % 4]),
        sampling=pb.Sampling(max_tokens=12, temperature=0.8 * (number % 2), seed=number, ignore_end=True),
        receipt=True,
        digests_only=digests_only,
    )
    return list(stub.Generate(request))[-1].finished.receipt


def replayed(run: Run, folder: Path, file: Path, *options: str, sae: Any = None) -> Done:
    with serving(folder, sae or an_sae()) as address:
        return run("replay", str(file), *options, HEARTH_ADDRESS=address)


def differing(done: Done) -> set[str]:
    """What differs in any receipt, as `--json` has it."""
    assert done.code == 1
    answer = json.loads(done.out)
    return {each["what"] for receipt in answer["receipts"] for each in receipt["differences"]}


def test_a_receipt_states_every_edit_in_all_units_and_the_defaults(made: list[dict[str, Any]]) -> None:
    nudge, pin, scale = made[3]["edits"]
    assert nudge["edit"] == {"feature": {"sae": SAE, "index": 3}, "nudge": 0.3}
    assert nudge["values"]["strength"] == pytest.approx(0.3)
    assert nudge["values"]["raw"] > 0
    assert pin["values"]["activationUnits"] == pytest.approx(1.0)
    assert scale["values"]["activationUnits"] == 2
    assert made[3]["sampling"]["topP"] == 1
    assert len(made[3]["completion"]["ids"]) == 12


def test_after_a_restart_every_text_is_identical(run: Run, original: Path, file: Path) -> None:
    done = replayed(run, original, file)
    assert done.code == 0, done.out
    assert done.out.splitlines()[-1] == "5 of 5 identical."


def test_a_changed_weight_is_named_with_the_first_token_that_differs(
    run: Run, folder: Path, file: Path
) -> None:
    change_weights(folder)
    done = replayed(run, folder, file, "--json")
    assert differing(done) == {"weights", "text"}
    texts = [d for r in json.loads(done.out)["receipts"] for d in r["differences"] if d["what"] == "text"]
    assert all("from token" in each["where"] for each in texts)


def test_a_changed_template_is_named_though_the_text_is_the_same(run: Run, folder: Path, file: Path) -> None:
    change_template(folder)
    assert differing(replayed(run, folder, file, "--json")) == {"template"}


def test_a_changed_version_is_named(
    run: Run, original: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "version", "2")
    done = replayed(run, original, file)
    assert done.code == 1
    assert "version: 1 then, 2 now" in done.out
    assert done.out.splitlines()[-1] == "0 of 5 identical."


def test_a_changed_configuration_is_named(run: Run, folder: Path, file: Path) -> None:
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-02'))
    assert differing(replayed(run, folder, file, "--json")) >= {"configuration", "text"}


def test_other_units_of_the_sae_are_named_with_the_edits_that_they_change(
    run: Run, original: Path, file: Path
) -> None:
    louder = an_sae(lambda sae: replace(sae, strength_constant=2 * sae.strength_constant))
    done = replayed(run, original, file, "--json", sae=louder)
    assert {"units", "steering"} <= differing(done) <= {"units", "steering", "text"}
    steering = [
        d for r in json.loads(done.out)["receipts"] for d in r["differences"] if d["what"] == "steering"
    ]
    assert all(each["where"].startswith("nudge of feature") for each in steering)


def test_another_sae_is_named(run: Run, original: Path, file: Path) -> None:
    assert "SAE" in differing(
        replayed(run, original, file, "--json", sae=an_sae(lambda sae: replace(sae, weights_digest="f" * 64)))
    )
    gone = differing(
        replayed(run, original, file, "--json", sae=an_sae(lambda sae: replace(sae, id="other")))
    )
    assert gone == {"SAE"}


def test_a_receipt_with_digests_only_needs_its_prompt(
    run: Run, original: Path, made: list[dict[str, Any]], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps(made[5]))
    assert "sea" not in secret.read_text()
    assert not {"prompt", "completion", "text"} & set(made[5])
    done = replayed(run, original, secret)
    assert done.code == 1
    assert "--prompts" in done.out
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json_format.MessageToJson(CHAT))
    assert replayed(run, original, secret, "--prompts", str(prompts)).code == 0


def test_receipts_are_found_in_answers_that_hold_them(
    run: Run, original: Path, made: list[dict[str, Any]], tmp_path: Path
) -> None:
    answer = {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "receipt": made[0]}, {"index": 1, "receipt": made[1]}],
    }
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer, indent=2))
    assert "2 of 2 identical." in replayed(run, original, path).out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no JSON"),
        ('{"text": "no receipt"}', "holds no receipt"),
        ('{"weightsDigest": 5, "engineVersion": "1"}', "hearth.v1.Receipt"),
    ],
)
def test_a_file_without_receipts_is_refused(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    done = run("replay", str(path))
    assert done.code == 1
    assert problem in done.err


@pytest.fixture
def address() -> str:
    """The scripted server is not asked here: each test names its own."""
    return NOBODY
