"""The schema: its style, its compatibility, and the stubs that are committed with it."""

import filecmp
import importlib
import keyword
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "protos"
BUF = Path(sys.executable).parent / "buf"
GENERATOR_PYTHON = ROOT / ".venv-protoc" / "bin" / "python"
SOURCES = sorted(path.stem for path in PROTOS.glob("hearth/v1/*.proto"))


def run(*command: str | Path) -> None:
    """Run a tool in protos/ and fail with what it said."""
    done = subprocess.run(command, cwd=PROTOS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def file_descriptors() -> list[FileDescriptor]:
    return [importlib.import_module(f"hearth.v1.{source}_pb2").DESCRIPTOR for source in SOURCES]


def messages(parents: list[Descriptor]) -> Iterator[Descriptor]:
    for message in parents:
        yield message
        yield from messages(list(message.nested_types))


def methods() -> list[MethodDescriptor]:
    services = [service for file in file_descriptors() for service in file.services_by_name.values()]
    return [method for service in services for method in service.methods]


def test_the_schema_follows_bufs_standard_and_comments_every_element() -> None:
    run(BUF, "lint")


def test_the_schema_is_formatted() -> None:
    run(BUF, "format", "--diff", "--exit-code")


def test_the_schema_breaks_no_client_of_the_baseline() -> None:
    run(BUF, "breaking", "--against", "baseline.binpb")


def test_the_baseline_covers_the_whole_schema(tmp_path: Path) -> None:
    run(BUF, "build", "--exclude-source-info", "--output", tmp_path / "now.binpb")
    assert filecmp.cmp(tmp_path / "now.binpb", PROTOS / "baseline.binpb", shallow=False), "run `make protos`"


def test_a_removed_field_is_found_to_break_clients(tmp_path: Path) -> None:
    for path in [PROTOS / "buf.yaml", *PROTOS.glob("hearth/v1/*.proto")]:
        copy = tmp_path / path.relative_to(PROTOS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    prompt = tmp_path / "hearth" / "v1" / "prompt.proto"
    prompt.write_text(prompt.read_text().replace("bytes piece = 2;", "bytes surface = 3;"))
    command = [BUF, "breaking", tmp_path, "--against", PROTOS / "baseline.binpb"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "piece" in done.stdout


def test_the_committed_stubs_are_what_the_schema_gives() -> None:
    assert GENERATOR_PYTHON.exists(), "the generators are installed by `make test` and `make protos`"
    run(GENERATOR_PYTHON, PROTOS / "generate.py", "--check")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", ["pb2", "pb2_grpc"])
def test_the_stubs_load_on_the_installed_protobuf(source: str, kind: str) -> None:
    program = f"import hearth.v1.{source}_{kind}"
    run(sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, 'gen'); {program}")


def test_the_schema_imports_only_itself_and_the_well_known_types() -> None:
    imported = {dependency.name for file in file_descriptors() for dependency in file.dependencies}
    assert all(name.startswith(("hearth/v1/", "google/protobuf/")) for name in imported), imported


def test_every_method_but_generate_states_its_idempotency() -> None:
    unknown = {
        method.name
        for method in methods()
        if method.GetOptions().idempotency_level == MethodOptions.IDEMPOTENCY_UNKNOWN
    }
    assert unknown == {"Generate"}


def test_no_field_is_a_python_keyword() -> None:
    names = {
        field.name
        for file in file_descriptors()
        for message in messages(list(file.message_types_by_name.values()))
        for field in message.fields
    }
    assert "index" in names
    assert not {name for name in names if keyword.iskeyword(name)}
