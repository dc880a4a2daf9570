"""A tiny random Llama with a real tokenizer and chat template in a folder, and a small corpus beside it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from services.saelab.activations import ActivationSettings
from services.saelab.corpus import CorpusSettings, build_corpus
from services.saelab.recipe import TrainSettings

HOOK = "model.layers.1"
D_MODEL = 32
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|system|>Be kind.<|end|>{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WORDS = (
    "sea ship wave star moon bread salt law court king love heart code list war army bird tree song".split()
)


def make_model(folder: Path) -> Path:
    """Saves the model: four blocks of width 32, about 300 tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=D_MODEL,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        eos_token_id=0,
        pad_token_id=0,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    return folder


def make_texts(path: Path, count: int = 90) -> Path:
    """Writes a JSONL file of made-up documents, every seventh a conversation."""
    draw = random.Random(0)

    def text() -> str:
        return ". ".join(" ".join(draw.choices(WORDS, k=8)) for _ in range(8)) + "."

    rows: list[dict[str, Any]] = []
    for index in range(count):
        if index % 7 == 0:
            rows.append(
                {"messages": [{"role": "user", "content": text()}, {"role": "assistant", "content": text()}]}
            )
        else:
            rows.append({"text": text()})
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def make_corpus(folder: Path, texts: Path) -> Path:
    """The corpus of the texts alone, a fifth held out."""
    build_corpus(CorpusSettings(folder, (texts,), sources=False, heldout_share=0.2))
    return folder


def activation_settings(corpus: Path, model: Path, out: Path, **changes: Any) -> ActivationSettings:
    """Small shards of the whole corpus."""
    settings: dict[str, Any] = {"hook_point": HOOK, "window": 64, "shard_tokens": 1000, "tokens": 4000}
    return ActivationSettings(corpus, out, str(model), **(settings | changes))


def train_settings(activations: Path, out: Path, **changes: Any) -> TrainSettings:
    """Some dozens of steps."""
    settings: dict[str, Any] = {
        "features": 64,
        "k": 4,
        "batch": 128,
        "epochs": 2,
        "warmup_steps": 4,
        "dead_tokens": 1000,
        "shards_in_memory": 2,
        "threads": 1,
    }
    return TrainSettings(activations, out, **(settings | changes))


def make_topics(path: Path) -> Path:
    """Writes two topics for `hearth sae steer`, and questions."""
    path.write_text(
        """choosing = ["ship star?", "tree?"]
proving = ["the sea?"]

[topics.sea]
sentences = ["ship wave sea", "sea ship ship wave"]
stems = "ship wave sea"

[topics.food]
sentences = ["bread salt", "salt bread bread"]
stems = "bread salt"
""",
        encoding="utf-8",
    )
    return path
