"""The Python package: small, light to import, and at peace with whatever else is in the process."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

import hearth_client
from hearth_client.operations import methods
from hearth_client.v1 import (
    autosteer_service_pb2,
    feature_service_pb2,
    inference_service_pb2,
    variant_service_pb2,
)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients/python"
SERVICES: dict[str, ServiceDescriptor] = {
    name: service
    for module in (
        autosteer_service_pb2,
        feature_service_pb2,
        inference_service_pb2,
        variant_service_pb2,
    )
    for name, service in module.DESCRIPTOR.services_by_name.items()
}


def run(program: str) -> str:
    path = f"import sys; sys.path[:0] = {[str(PACKAGE / 'src'), str(ROOT / 'protos/gen')]!r}\n"
    done = subprocess.run([sys.executable, "-c", path + program], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def project(folder: Path) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return found


def test_the_client_has_the_version_of_the_server_and_depends_on_grpc_and_protobuf_alone() -> None:
    client, server = project(PACKAGE), project(ROOT)
    assert client["version"] == server["version"] == hearth_client.__version__
    wanted = [each for each in server["dependencies"] if each.startswith(("grpcio>", "protobuf>"))]  # type: ignore[attr-defined]
    assert client["dependencies"] == wanted


def test_importing_it_loads_nothing_of_the_server() -> None:
    loaded = run("import hearth_client; print(*sys.modules)").split()
    strange = ("hearth", "services", "torch", "numpy", "grpc_status", "google.rpc", "pydantic")
    assert "hearth_client.v1.inference_service_pb2" in loaded
    assert not {name for name in loaded if name in strange or name.startswith(("torch.", "services."))}


@pytest.mark.parametrize("order", ["hearth.v1 hearth_client", "hearth_client hearth.v1"])
def test_server_and_client_stubs_work_in_one_process(order: str) -> None:
    imports = "\n".join(
        f"from {name.removesuffix('.v1')}.v1 import steering_pb2 as {name.removesuffix('.v1')}"
        for name in order.split()
    )
    program = f"""{imports}
from google.rpc import error_details_pb2
import hearth_client as package
one, other = hearth.Edit(nudge=0.5), hearth_client.Edit(nudge=0.5)
assert type(one) is not type(other)
assert one.SerializeToString() == other.SerializeToString()
print("fine")
"""
    assert run(program) == "fine\n"


def test_another_release_of_the_schema_in_the_process_does_not_clash() -> None:
    program = """
from google.protobuf import descriptor_pb2, descriptor_pool
from hearth_client.v1 import steering_pb2
changed = descriptor_pb2.FileDescriptorProto.FromString(steering_pb2.DESCRIPTOR.serialized_pb)
changed.message_type[0].field.add(name="later", number=99, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(changed.SerializeToString())
from google.protobuf import message_factory
theirs = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName("hearth.v1.FeatureKey")
)
assert theirs(later="x").later == "x"
import hearth_client
assert not hasattr(steering_pb2.FeatureKey(), "later")
print(hearth_client.Variant())
"""
    assert run(program).startswith("Variant(")


def test_well_known_types_in_its_messages_read_and_write_as_usual() -> None:
    spec = autosteer_service_pb2.AutoSteerSpec()
    spec.budget.FromSeconds(90)
    assert spec.budget.ToSeconds() == 90
    variant = variant_service_pb2.Variant()
    variant.update_time.GetCurrentTime()
    assert variant.update_time.ToDatetime().year > 2020


def test_every_method_it_calls_is_the_schemas_with_these_messages() -> None:
    used = {name: each for name, each in vars(methods).items() if isinstance(each, methods.Method)}
    assert len(used) > 15
    assert len({each.path for each in used.values()}) == len(used)
    for each in used.values():
        assert each.name in SERVICES[each.service].methods_by_name


def test_every_public_name_is_exported_once_and_documented() -> None:
    assert sorted(set(hearth_client.__all__)) == sorted(hearth_client.__all__)
    for name in hearth_client.__all__:
        assert getattr(hearth_client, name).__doc__, name
