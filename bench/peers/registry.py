"""The peers by name. A new one is a module with `load(options)` and an entry here."""

from __future__ import annotations

import os

from bench.peers.process import PeerSpec
from services.fetched.cache import CacheSettings

CACHE = CacheSettings.at().root
VLLM = CACHE / "bench" / "vllm"
"""The environment that `make bench-peers` makes."""


def _hearth(name: str, **options: object) -> PeerSpec:
    return PeerSpec(name, "bench.peers.hearth_engine", {"dtype": "auto", **options})


def _transformers(dtype: str) -> PeerSpec:
    return PeerSpec(f"transformers-{dtype}", "bench.peers.transformers_generate", {"dtype": dtype})


def _vllm(dtype: str, eager: bool, tuned: bool = True) -> PeerSpec:
    cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
    # As vLLM's own guide for CPUs asks; the library comes with its dependencies.
    tuning = {"VLLM_CPU_OMP_THREADS_BIND": cores, "LD_PRELOAD": str(VLLM / "lib" / "libiomp5.so")}
    return PeerSpec(
        f"vllm-{dtype}-{'eager' if eager else 'compiled'}{'' if tuned else '-untuned'}",
        "bench.peers.vllm_offline",
        {"dtype": dtype, "eager": eager},
        VLLM / "bin" / "python",
        {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_NO_USAGE_STATS": "1", **(tuning if tuned else {})},
        "run `make bench-peers`",
    )


PEERS: dict[str, PeerSpec] = {
    spec.name: spec
    for spec in [
        _hearth("hearth"),
        _hearth("hearth-no-reuse", prefix_bytes=0),
        _hearth("hearth-256", max_running=256),
        *(_transformers(dtype) for dtype in ("bfloat16", "float32")),
        *(_vllm(dtype, eager) for dtype in ("bfloat16", "float32") for eager in (True, False)),
        _vllm("float32", eager=True, tuned=False),
    ]
}
