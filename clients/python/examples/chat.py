"""Streams a steered chat: python chat.py ADDRESS [FEATURE [STRENGTH [KEY]]]"""

import sys

from hearth_client import Client, Feature, HearthError, Mesh, Variant

address, feature, strength, key = (*sys.argv[1:], *("localhost:50051", "114", "0.5", "")[len(sys.argv) - 1 :])
variant = Variant()
variant.set(Feature(int(feature)), float(strength))
question = "What did you do this weekend?"

with Client(key, mesh=Mesh(inference=address), deadline=120) as client:
    try:
        answer = client.chat.completions.create(
            [{"role": "user", "content": question}],
            variant,
            temperature=0,
            max_completion_tokens=40,
            stream=True,
        )
        for chunk in answer:
            print(chunk.text, end="", flush=True)
    except HearthError as error:
        print(error, file=sys.stderr)
        for violation in error.violations:
            print(f"  {violation.field}: {violation.problem}", file=sys.stderr)
        if error.retry_after is not None:
            print(f"  try again in {error.retry_after:g} s", file=sys.stderr)
        sys.exit(1)
