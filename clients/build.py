"""Build the clients of all languages whose tools are here, or of those named: `make clients`.

Each needs its own language's tools; what is missing is said, with what installs it, and the others are built. What
comes of it lies in clients/python/dist and clients/{typescript,go,cpp,java}/build. Nothing that is generated here is
committed, so that no code can be older than the schema; the Python stubs are: the tests can generate them again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PROTOS = HERE / "build" / "protos"
"""All .proto files that a client needs, for any language: hearth/v1, and google/rpc's error details."""
DETAILS = ("google/rpc/error_details.proto", "google/rpc/status.proto")
GO_MODULE = "hearth.local/client"
GO_PATH = Path("/usr/share/gocode")
GO_NEEDS = ("google.golang.org/grpc", "github.com/golang/protobuf/proto/wire.go")
"""Of the second, release 1.5: 1.3, which Debian takes unless told, cannot send these messages."""
JARS = Path("/usr/share/java")
JAVA_NEEDS = (
    "grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub "
    "geronimo-annotation-1.3-spec gson guava perfmark-api protobuf netty-buffer netty-codec netty-codec-http "
    "netty-codec-http2 netty-codec-socks "
    "netty-common netty-handler netty-handler-proxy netty-resolver netty-transport netty-transport-native-unix-common"
).split()


@dataclass(frozen=True)
class Language:
    """How one client is built."""

    name: str
    needs: dict[str, bool]
    """Whether each tool is here."""
    hint: str
    """What installs them."""
    generate: Callable[[], object]
    build: Callable[[], None]

    @property
    def missing(self) -> list[str]:
        """The tools that are not here."""
        return [tool for tool, is_here in self.needs.items() if not is_here]


def run(*command: str | Path, where: Path = ROOT, **environment: str) -> None:
    """Runs a tool; where it fails, its own message is on stderr and the build ends."""
    done = subprocess.run(list(map(str, command)), cwd=where, env={**os.environ, **environment}, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed: what it says is above.")


def on_path(*tools: str) -> dict[str, bool]:
    """Whether programs are on the path."""
    return {tool: shutil.which(tool) is not None for tool in tools}


def lay_protos() -> list[str]:
    """Lays all .proto files into one folder; their names there."""
    shutil.rmtree(PROTOS, ignore_errors=True)
    ours = sorted(path.relative_to(ROOT / "protos") for path in (ROOT / "protos/hearth/v1").glob("*.proto"))
    for name in ours:
        _copy(ROOT / "protos" / name, PROTOS / name)
    for detail in DETAILS:
        _copy(Path(str(resources.files("google.rpc") / Path(detail).name)), PROTOS / detail)
    _copy(ROOT / "protos/service_config.json", PROTOS / "hearth/v1/service_config.json")
    return [str(name) for name in ours]


def protoc(*arguments: str | Path, names: list[str]) -> None:
    """Generates with the pinned protoc of .venv-protoc, for plugins that do not mind which one calls them."""
    known = resources.files("grpc_tools") / "_proto"
    run(
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"--proto_path={PROTOS}",
        f"--proto_path={known}",
        *arguments,
        *names,
    )


def fresh(folder: Path) -> Path:
    """An empty folder in its place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def build_python() -> None:
    """The wheel, in clients/python/dist."""
    distribution = fresh(HERE / "python/dist")
    pip = (sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--quiet", "--no-deps")
    run(*pip, "--wheel-dir", distribution, HERE / "python")


def generate_typescript() -> None:
    """Installs the npm packages, the generator among them, and generates src/gen."""
    folder = HERE / "typescript"
    run("npm", "ci", "--no-audit", "--no-fund", where=folder)
    generated = fresh(folder / "src/gen")
    protoc(
        f"--plugin=protoc-gen-es={folder / 'node_modules/.bin/protoc-gen-es'}",
        f"--es_out={generated}",
        "--es_opt=target=ts,import_extension=js",
        names=[*lay_protos(), DETAILS[0]],
    )


def build_typescript() -> None:
    """The package, as npm would publish it, in clients/typescript/build, beside the examples."""
    folder = HERE / "typescript"
    shutil.rmtree(folder / "dist", ignore_errors=True)
    build = fresh(folder / "build")
    run("npm", "run", "--silent", "build", where=folder)
    run("npm", "pack", "--silent", "--pack-destination", build, where=folder)


def generate_go() -> None:
    """The package hearthv1."""
    generated = fresh(HERE / "go/hearthv1")
    names = lay_protos()
    options = ",".join([f"module={GO_MODULE}", *(f"M{name}={GO_MODULE}/hearthv1" for name in names)])
    out = HERE / "go"
    protoc(
        f"--go_out={out}",
        f"--go_opt={options}",
        f"--go-grpc_out={out}",
        f"--go-grpc_opt={options}",
        names=names,
    )
    _copy(ROOT / "protos/service_config.json", generated / "service_config.json")


def build_go() -> None:
    """The example, in clients/go/build, against the packages of Debian (no module is downloaded)."""
    path = fresh(HERE / "go/build") / "path"
    module = path / "src" / GO_MODULE
    module.parent.mkdir(parents=True)
    module.symlink_to(HERE / "go")
    run(
        "go",
        "build",
        "-o",
        HERE / "go/build/chat",
        f"{GO_MODULE}/examples/chat",
        where=path,
        GO111MODULE="off",
        GOPATH=f"{path}:{GO_PATH}",
        GOFLAGS="",
    )


def build_cpp() -> None:
    """The library and the example, in clients/cpp/build; CMake generates, with the protoc of the protobuf it links."""
    build = HERE / "cpp/build"
    run("cmake", "-S", HERE / "cpp", "-B", build, "-DCMAKE_BUILD_TYPE=Release", f"-DHEARTH_PROTOS={PROTOS}")
    run("cmake", "--build", build, "--parallel", "2")


def generate_java() -> None:
    """The sources of the API's package, with the protoc of the protobuf that is on the class path."""
    generated = fresh(HERE / "java/build/generated")
    names = lay_protos()
    plugin = f"--plugin=protoc-gen-grpc-java={shutil.which('grpc_java_plugin')}"
    out = (f"--java_out={generated}", f"--grpc-java_out={generated}")
    run("protoc", f"--proto_path={PROTOS}", plugin, *out, *names)
    run("protoc", f"--proto_path={PROTOS}", f"--java_out={generated}", *DETAILS)
    config = json.loads((ROOT / "protos/service_config.json").read_text(encoding="utf-8"))
    text = f"""package hearth.client;

import java.util.List;
import java.util.Map;

/** The API's service config: deadline, retries and load balancing by method. */
final class ServiceConfig {{
  static final Map<String, ?> CONFIG =
      {java(config)};

  private ServiceConfig() {{}}
}}
"""
    (generated / "hearth/client").mkdir(parents=True)
    (generated / "hearth/client/ServiceConfig.java").write_text(text, encoding="utf-8")


def build_java() -> None:
    """hearth-client.jar and the example's class, in clients/java/build, against the jars of Debian."""
    build = HERE / "java/build"
    classes, examples = fresh(build / "classes"), fresh(build / "examples")
    jars = ":".join(str(JARS / f"{name}.jar") for name in JAVA_NEEDS)
    compile_ = ("javac", "--release", "17", "-encoding", "UTF-8", "-nowarn")
    sources = [*sorted((build / "generated").rglob("*.java")), *sorted((HERE / "java/src").rglob("*.java"))]
    run(*compile_, "-d", classes, "-cp", jars, *sources)
    run("jar", "--create", "--file", build / "hearth-client.jar", "-C", classes, ".")
    class_path = f"{build / 'hearth-client.jar'}:{jars}"
    run(*compile_, "-d", examples, "-cp", class_path, HERE / "java/examples/Chat.java")
    (build / "classpath").write_text(f"{examples}:{class_path}", encoding="utf-8")


def java(value: Any) -> str:
    """A JSON value as grpc-java wants it."""
    if isinstance(value, dict):
        return f"Map.of({', '.join(f'{java(key)}, {java(each)}' for key, each in value.items())})"
    if isinstance(value, list):
        return f"List.of({', '.join(map(java, value))})"
    return json.dumps(value) if isinstance(value, str) else repr(float(value))


def languages() -> list[Language]:
    """All of them, in the order in which they are built."""
    nothing = lambda: None  # noqa: E731
    cpp = on_path("cmake", "g++", "pkg-config", "protoc", "grpc_cpp_plugin")
    found = (
        cpp["pkg-config"]
        and subprocess.run(["pkg-config", "--exists", "grpc++"], check=False).returncode == 0
    )
    return [
        Language("python", {}, "", nothing, build_python),
        Language(
            "typescript",
            on_path("node", "npm"),
            "Node 20 or newer with npm",
            generate_typescript,
            build_typescript,
        ),
        Language(
            "go",
            {
                **on_path("go", "protoc-gen-go", "protoc-gen-go-grpc"),
                **{each: (GO_PATH / "src" / each).exists() for each in GO_NEEDS},
            },
            "apt-get install golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev "
            "golang-google-protobuf-dev protoc-gen-go protoc-gen-go-grpc",
            generate_go,
            build_go,
        ),
        Language(
            "cpp",
            {**cpp, "libgrpc++": found},
            "apt-get install cmake g++ pkg-config libgrpc++-dev protobuf-compiler protobuf-compiler-grpc",
            lay_protos,
            build_cpp,
        ),
        Language(
            "java",
            {
                **on_path("javac", "protoc", "grpc_java_plugin"),
                **{f"{name}.jar": (JARS / f"{name}.jar").exists() for name in JAVA_NEEDS},
            },
            "apt-get install openjdk-17-jdk-headless protobuf-compiler protobuf-compiler-grpc-java-plugin libgrpc-java "
            "libprotobuf-java libnetty-java libperfmark-java libgoogle-gson-java libgeronimo-annotation-1.3-spec-java",
            generate_java,
            build_java,
        ),
    ]


def main() -> int:
    """Builds; the process's exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {each.name: each for each in languages()}
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(known))
    parser.add_argument("--generate", action="store_true", help="generate the code, build nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.languages) - set(known):
        parser.error(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    left_out = False
    for language in [known[name] for name in arguments.languages] or known.values():
        if language.missing:
            print(f"{language.name}: left out, for lack of {', '.join(language.missing)} ({language.hint})")
            left_out = True
            continue
        language.generate()
        if not arguments.generate:
            language.build()
        print(f"{language.name}: {'generated' if arguments.generate else 'built'}")
    return 1 if left_out and arguments.languages else 0  # who names a language wants it


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
