"""The process that runs one peer: `python -m bench.peers.worker MODULE`, a line of JSON in, a line of JSON out."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from dataclasses import asdict
from typing import Any

from bench.workload import request_from_json


def main() -> None:
    """Answers until standard input ends. What libraries print goes to standard error, never between the answers."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module = importlib.import_module(sys.argv[1])
    peer: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["op"] == "load":
                peer = module.load(message["options"])
                answer: Any = peer.about()
            elif message["op"] == "run":
                requests = [request_from_json(r) for r in message["requests"]]
                answer = [asdict(s) for s in peer.run(requests, message["max_batch"], message["options"])]
            else:
                answer = getattr(peer, message["op"])(**message["options"])
            reply = {"answer": answer}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
