"""A process that optimizes one closed shard: `python edge_optimizer.py SHARD PARENT`.

qdrant_edge holds Python's global lock as long as a call of it runs, and this one takes minutes: in the process that
serves, nothing else would run meanwhile. It may be killed at any time, and the shard is then as it was. Nothing of
Hearth is imported here, so that it starts quickly.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from qdrant_edge import EdgeShard

POLITE = 10
"""Niceness: searches in the process that serves come first."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that this process gets when its parent dies."""


def main(shard: str, parent: int) -> None:
    """Optimizes the shard as its own configuration asks, and writes it out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before
            return
    os.nice(POLITE)
    edge = EdgeShard.load(shard)
    edge.optimize()
    edge.flush()
    edge.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
