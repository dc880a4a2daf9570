"""What the benchmarks ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

_TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")


def describe(threads: int = 0) -> str:
    """The processor, what its vector units know, memory, releases and load; where peers run, their threads."""
    cpu, flags = _cpu()
    known = ", ".join(f"{flag} {'yes' if flag in flags else 'no'}" for flag in _TELLING)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    peers = f", {threads} threads for every peer" if threads else ""
    return "\n".join(
        [
            f"- {cpu}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; {known}",
            f"- {platform.system()} {platform.release()}, Python {platform.python_version()}, "
            f"torch {version('torch')}, transformers {version('transformers')}{peers}",
            f"- load average at the start (1, 5 and 15 minutes): {load}",
        ]
    )


def _cpu() -> tuple[str, set[str]]:
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name", platform.machine())
    return f"{model} (family {fields.get('cpu family')}, model {fields.get('model')})", set(
        fields.get("flags", "").split()
    )
