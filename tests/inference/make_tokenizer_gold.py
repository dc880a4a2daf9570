"""Writes tests/inference/data/tokenizer_gold.jsonl: 500 strings and their tokens as llama.cpp makes them.

llama.cpp reads the tokenizer out of the embedded model's GGUF file and is the reference for it. It is no dependency of
Hearth; run this in an environment of its own, and only to change the strings:

    python -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python==0.3.36
    /tmp/llama/bin/python tests/inference/make_tokenizer_gold.py SmolLM2-135M-Instruct.Q4_1.gguf

The first line says what made the file. Each further line is ``[text, tokens]`` or, where text that looks like a
special token makes a difference, ``[text, tokens, plain tokens]``: ``tokens`` with parse_special=True (``<|im_end|>``
in the text is the one control token 2), ``plain tokens`` with parse_special=False (it is spelled out like any other
text). No token is ever added at the start or the end (add_special=False).
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

SEED = 20240607
COUNT = 500
GOLD = Path(__file__).parent / "data" / "tokenizer_gold.jsonl"

WORDS = (
    "the of and model feature steering residual stream Paris London tokens hello world wonderful it's don't we'll "
    "they've I'm you'd she's THEY'RE IT'S o'clock rock'n'roll ’tis don’t naïve café déjà vu Müller straße Ångström "
    "garçon São Paulo Łódź Dvořák smörgåsbord ñandú crème brûlée İstanbul ılık Ğ ç œuvre Æsir þorn ðæt ŷ Ǆ ﬁne"
).split()
DIGITS = (
    "0 7 42 007 1234 2024 3.14159 1,000,000 1e-5 6.02e23 0x1F 0b1010 v2.0.1 192.168.0.1 12:34:56 2024-06-07 +49 50% "
    "$9.99 1st 2nd A4 B2B h2o x86_64 utf8 ½ ² x² H₂O Ⅷ ① ٣٤٥ १२३ ๔๕ 𝟘𝟙𝟚 ３４ 四 10¹² 1/2 ½cup 3rd. (12) #1 9's 5ve"
).split()
CODE = (
    "def f(x: int) -> int:\n    return x**2 + 1\n",
    "for (int i = 0; i < 10; ++i) { a[i] = i*i; }",
    'print(f"{name!r:>10}: {value:.3f}")',
    "SELECT id, COUNT(*) FROM t WHERE ts >= '2024-01-01' GROUP BY 1;",
    "<div class=\"a b\" id='x1'>\n\t<p>&nbsp;12&#39;</p>\n</div>",
    'let s: &\'a str = r#"raw \\d+"#;',
    'if err != nil {\n\treturn fmt.Errorf("%w: %d", err, 404)\n}',
    '{"a": [1, 2.5, null, true], "b": {"c": "\\u00e9"}}',
    "$ curl -sS http://localhost:8080/v1?x=1&y=2 | jq '.[0]'",
    "\\frac{1}{2}\\sum_{i=0}^{n} x_i^{2}",
    "a&&b||c!=d===e<=>f ... --- ___ *** ### ///",
    "x = [[0]*3 for _ in range(1_000)]\r\n\r\n\tassert x[0][1:2] == [0]\r\n",
)
SCRIPTS = (
    "你好，世界。",
    "今天是2024年6月7日",
    "東京タワーは333mです",
    "ｶﾀｶﾅ",
    "안녕하세요 세계 100원",
    "Привет, мир! 5 рублей",
    "Ελλάδα 1821",
    "שלום עולם",
    "مرحبا بالعالم ١٢",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "Xin chào thế giới",
    "Việt Nam 84",
    "გამარჯობა",
    "ሰላም",
    "e\u0301 decomposed a\u0308",
    "Z͑ͫa̴l̷g̵o",
    "ﷺ",
    "ẞ ß",
    "ꙮ",
    "𝐀𝐁𝐂",
    "𠮷野家",
)
EMOJI = "😀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇫🇷🇩🇪 ❤️ 1️⃣ 🤖🔥 ☃ → ™ ©2024 … “q” — €5 � \u200b \ufeff".split()
SPACE = (
    " ",
    "  ",
    "   ",
    "        ",
    "\n",
    "\n\n",
    "\n\n\n\n",
    "\t",
    "\t\t",
    " \t ",
    "\r\n",
    " \n",
    "\n ",
    "\n    ",
    "\u00a0",
    "\u3000",
    "\u2003",
    "\u2028",
    "\u00a0 ",
    " \u3000 ",
    "\v",
    "\f",
    "\x85",
    "\x1c",
    "\x1f ",
    "\u180e",
    "\u200a\n",
    "\x00",
    "\x07",
    "\x7f",
)
SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<jupyter_code>",
    "<empty_output>",
    "<|im_start|>user\n",
    "<|im_end|>\n",
    "<|im_start",
    "|im_end|>",
    "<|IM_END|>",
    "<|im_start|><|im_end|>",
    "<|unknown|>",
    "<s>",
    "</s>",
    " <|im_end|> ",
    "1<|im_end|>2",
)


def any_character(rng: random.Random) -> str:
    """One character from anywhere in Unicode.

    Only what Unicode 3.2 assigned: tokenizers and llama.cpp are built with different later versions, and where one
    knows a character as a letter and the other does not know it at all, their tokens differ by right.
    """
    planes = (
        (0x20, 0x7F),
        (0xA0, 0x250),
        (0x250, 0x2000),
        (0x2000, 0x2C00),
        (0x3000, 0xD7FF),
        (0xE000, 0xFFFE),
        (0x10000, 0x1FFFF),
    )
    while True:
        character = chr(rng.randrange(*rng.choice(planes)))
        if unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs"):
            return character


def pieces(rng: random.Random) -> list[Callable[[], str]]:
    """What strings are made of: one maker of random pieces for each kind."""
    pools = (WORDS, DIGITS, CODE, SCRIPTS, EMOJI, SPACE, SPECIAL)
    makers: list[Callable[[], str]] = [lambda pool=pool: rng.choice(pool) for pool in pools]  # type: ignore[misc]
    makers.append(lambda: str(rng.randrange(10 ** rng.randrange(1, 15))))
    makers.append(lambda: f"{rng.uniform(-1e6, 1e6):.{rng.randrange(6)}f}")
    makers.append(lambda: "".join(any_character(rng) for _ in range(rng.randrange(1, 6))))
    makers.append(lambda: rng.choice(" \n\t") * rng.randrange(1, 20))
    return makers


def strings() -> list[str]:
    """COUNT different strings: every listed piece by itself, then seeded mixtures, most of them across kinds."""
    rng = random.Random(SEED)
    makers = pieces(rng)
    made = list(dict.fromkeys(["", *DIGITS, *CODE, *SCRIPTS, *EMOJI, *SPACE, *SPECIAL]))
    while len(made) < COUNT:
        kinds = makers if rng.random() < 0.75 else [rng.choice(makers)]
        count = rng.randrange(2, 12)
        text = rng.choice(("", " ", " ")).join(rng.choice(kinds)() for _ in range(count))
        if text not in made:
            made.append(text)
    return made


def main(gguf: Path) -> None:
    """Tokenises strings() with llama.cpp and writes GOLD."""
    import llama_cpp  # type: ignore[import-not-found]

    model = llama_cpp.Llama(model_path=str(gguf), vocab_only=True, verbose=False)
    made_by = {
        "command": "python tests/inference/make_tokenizer_gold.py SmolLM2-135M-Instruct.Q4_1.gguf",
        "llama_cpp_python": llama_cpp.__version__,
        "gguf_sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(),
        "pre_tokenizer": model.metadata["tokenizer.ggml.pre"],
        "seed": SEED,
        "strings": COUNT,
    }
    lines: list[object] = [made_by]
    for text in strings():
        parsed, plain = (
            model.tokenize(text.encode(), add_bos=False, special=special) for special in (True, False)
        )
        lines.append([text, parsed] if parsed == plain else [text, parsed, plain])
    GOLD.write_text(
        "".join(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n" for line in lines)
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
