"""Runs the quickstart of Ember's SDK, as its installed package describes it, top to bottom in one namespace.

Changed are the key, the model and the base URL. Prints a line of JSON for each block of code. By hand:

    PYTHONPATH=.venv-goodfire .venv/bin/python tests/gateway/ember/quickstart.py \\
        '{"base_url": "http://127.0.0.1:8080", "key": "dev", "model": "HuggingFaceTB/SmolLM2-135M-Instruct"}'
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import time
import traceback
from contextlib import redirect_stdout
from importlib.metadata import metadata
from typing import Any

GIVEN: dict[str, str] = json.loads(sys.argv[1])
CHANGES = {
    '"{YOUR_API_KEY}"': repr(GIVEN["key"]),
    "(api_key=GOODFIRE_API_KEY)": f"(api_key=GOODFIRE_API_KEY, base_url={GIVEN['base_url']!r})",
    '"meta-llama/Llama-3.3-70B-Instruct"': repr(GIVEN["model"]),
    "https://api.goodfire.ai/": f"{GIVEN['base_url']}/",
}
"""The key, the base URL of both SDKs, and the model."""
WAY_ROUND = {
    "goodfire.conditional.AutoConditional(": "client.features.AutoConditional(",
    "    client=client,\n": "",
    ",\n    num_features_to_use=5": "",
}
"""The quickstart names a module that the SDK does not have: on Ember too, that block raised AttributeError."""


def blocks() -> list[tuple[str, str]]:
    """Title and code of each block of Python; those that only install something are left out."""
    text = metadata("goodfire").get_payload()
    assert isinstance(text, str)
    found = re.findall(r"^```python ([^\n]*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [(title, code) for title, code in found if not code.startswith("!pip")]


def changed(code: str, changes: dict[str, str]) -> str:
    """Code with texts in place of others."""
    for old, new in changes.items():
        code = code.replace(old, new)
    return code


def run(code: str, names: dict[str, Any]) -> str:
    """What a block prints, and what a notebook shows of its last expression."""
    statements = ast.parse(code).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(ast.Module(statements, []), "quickstart", "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), "quickstart", "eval"), names)
            printed.write("" if shown is None else repr(shown))
    return printed.getvalue()


def main() -> None:
    """Runs all blocks; one that names what the SDK does not have runs again by the way round."""
    names: dict[str, Any] = {}
    for title, original in blocks():
        began, output, error = time.perf_counter(), "", ""
        code = changed(original, CHANGES)
        try:
            output = run(code, names)
        except Exception:
            error = traceback.format_exc(limit=-3)
            if "goodfire.conditional" in code:
                output = run(changed(code, WAY_ROUND), names)
        seconds = round(time.perf_counter() - began, 2)
        told = {"title": title, "code": code, "output": output, "error": error, "seconds": seconds}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
