"""Write constraints.txt: one exact release of every package, from a resolution that ignores what is installed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "inference,features,autosteer,gateway,saelab,cli,dev"
HEADER = """\
# Every release that `make up` and `make test` install, transitive ones included, so that two machines get the
# same. Written by `make constraints`; torch carries no build suffix, so that the build that fits the machine is
# taken (its CUDA packages, where it has any, are pinned by torch itself).
"""


def resolve() -> dict[str, str]:
    """Version by name of all that Hearth with its extras needs, and of pip itself."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    report = subprocess.run(
        [*command, "--report", "-", "pip", f".[{EXTRAS}]"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    ).stdout
    packages = (item["metadata"] for item in json.loads(report)["install"])
    return {
        package["name"]: package["version"].partition("+")[0]
        for package in packages
        if package["name"] != "hearth" and not package["name"].startswith(("nvidia-", "triton"))
    }


if __name__ == "__main__":
    pins = resolve()
    lines = [f"{name}=={pins[name]}\n" for name in sorted(pins, key=str.lower)]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines), encoding="utf-8")
