"""Records of the big test, as its processes write them."""

from __future__ import annotations

from bench.soak.journal import Record

MIB = 2**20


def done(who: int, step: str = "chat", seconds: float = 1.0, t: float = 1.0, tries: int = 1) -> Record:
    return {
        "t": t,
        "kind": "done",
        "who": who,
        "way": "grpc",
        "step": step,
        "tries": tries,
        "seconds": seconds,
    }


def usage(t: float, pid: int, resident: float, cpu: float = 0.0) -> Record:
    return {"t": t, "kind": "usage", "processes": {"inference": [pid, resident, cpu]}}
