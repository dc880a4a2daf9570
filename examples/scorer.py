"""A scorer of your own: the reward that an auto-steer job maximises in place of the built-in judge.

    python examples/scorer.py --port 9000

Then name it in a job: judge `http`, endpoint http://127.0.0.1:9000. docs/scorers.md says what is sent and what is
answered. This one wants short sentences, whatever the behaviour is called: 1 where a sentence has five words on
average, 0 where it is as long as in the unsteered text. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WANTED_WORDS = 5.0
"""Words of a sentence that get the full score."""
MOST_BYTES = 4 << 20
"""Of a request; 32 texts are far below it."""


def words_a_sentence(text: str) -> float:
    """Mean number of words of the sentences; the last one may be cut off."""
    sentences = [part.split() for part in re.split(r"[.!?]+", text)]
    lengths = [len(words) for words in sentences if words]
    return sum(lengths) / len(lengths) if lengths else 0.0


def score(text: str, unsteered: str) -> dict[str, float]:
    """The row for one text. Relevance and fluency may be left out: Hearth then judges them itself."""
    length, usual = words_a_sentence(text), words_a_sentence(unsteered)
    if not length or usual <= WANTED_WORDS:
        return {"adherence": 0.0}
    return {"adherence": min(1.0, max(0.0, (usual - length) / (usual - WANTED_WORDS)))}


def answer(asked: Any) -> dict[str, Any]:
    """The answer to a request. Raises KeyError or TypeError where the request has another form."""
    return {"scores": [score(each["text"], each["unsteered"]) for each in asked["texts"]]}


class Handler(BaseHTTPRequestHandler):
    """Reads one request, writes one answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """200 with the scores; 400 for what cannot be read, which ends the job."""
        size = int(self.headers.get("Content-Length", 0))
        if size > MOST_BYTES:
            self.close_connection = True
            self._send(413, {"error": f"more than {MOST_BYTES} bytes"})
            return
        try:
            self._send(200, answer(json.loads(self.rfile.read(size))))
        except (ValueError, KeyError, TypeError) as error:
            self._send(400, {"error": f"{type(error).__name__}: {error}"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Says nothing: texts may be private."""


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(description="scores texts by how short their sentences are")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    given = parser.parse_args(argv)
    with ThreadingHTTPServer((given.host, given.port), Handler) as server:
        sys.stdout.write(f"http://{given.host}:{server.server_port}\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
