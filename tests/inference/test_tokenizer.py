"""The embedded model's tokenizer is the GGUF file's own. make_tokenizer_gold.py says where the gold comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

from services.inference.embedded import SOURCE
from tests.inference.make_tokenizer_gold import COUNT, GOLD, SEED, strings

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def tokenizer(embedded_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(embedded_model)


@pytest.fixture(scope="module")
def gold() -> list[list[Any]]:
    """Rows of text, llama.cpp's tokens, and where they differ its tokens with special tokens spelled out."""
    return [json.loads(line) for line in GOLD.read_text("utf-8").splitlines()[1:]]


def test_the_gold_is_of_these_strings_and_this_gguf(gold: list[list[Any]]) -> None:
    made_by = json.loads(GOLD.read_text("utf-8").splitlines()[0])
    assert (made_by["gguf_sha256"], made_by["seed"], made_by["pre_tokenizer"]) == (
        SOURCE.member_sha256,
        SEED,
        "smollm",
    )
    assert [row[0] for row in gold] == strings()
    assert len({row[0] for row in gold}) == COUNT == 500


def test_500_strings_tokenise_as_in_llama_cpp(tokenizer: Any, gold: list[list[Any]]) -> None:
    ours = {text: tokenizer(text)["input_ids"] for text, *_ in gold}
    assert ours == {text: tokens for text, tokens, *_ in gold}


def test_special_tokens_can_be_spelled_out_as_in_llama_cpp(tokenizer: Any, gold: list[list[Any]]) -> None:
    spelled = {text: tokenizer(text, split_special_tokens=True)["input_ids"] for text, *_ in gold}
    assert spelled == {row[0]: row[-1] for row in gold}
    assert sum(len(row) == 3 for row in gold) > 100


def test_tokens_decode_to_the_text_they_came_from(tokenizer: Any, gold: list[list[Any]]) -> None:
    assert {text: tokenizer.decode(tokens) for text, tokens, *_ in gold} == {text: text for text, *_ in gold}


def test_without_the_repair_the_gold_would_fail(embedded_model: Path, gold: list[list[Any]]) -> None:
    unrepaired = AutoTokenizer.from_pretrained(embedded_model)
    unrepaired.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert sum(unrepaired(text)["input_ids"] != tokens for text, tokens, *_ in gold) > 50


def test_each_digit_is_a_token(tokenizer: Any) -> None:
    assert tokenizer.tokenize("in 2024, 3.5") == ["in", "Ġ", "2", "0", "2", "4", ",", "Ġ", "3", ".", "5"]


def test_ids_of_begin_end_and_padding(tokenizer: Any) -> None:
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|im_start|>", 1)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert tokenizer.pad_token_id == 2
    assert tokenizer("a")["input_ids"] == tokenizer("a", add_special_tokens=False)["input_ids"]


def test_a_chat_renders_with_the_default_system_message(tokenizer: Any) -> None:
    chat = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_chat_with_its_own_system_message_keeps_it(tokenizer: Any) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
    ]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYo<|im_end|>\n"
    )
