"""The doctor's residuals are the model's own, and its texts reach the model as users' texts do."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from services.inference.sae.calibration import calibrate, calibration_sequences, residuals_of, served_tokens
from services.inference.sae.calibration_texts import CHATS, TEXTS

TEMPLATE = "<s>{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}"
STRICT = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE


def a_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """Words as tokens, all unknown but a few, with BOS first as Llama's has it."""
    words = ["<unk>", "<s>", "<user>", "<assistant>", "<system>"]
    inner = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", unk_token="<unk>")
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [TEMPLATE, STRICT, None])
def test_every_text_starts_with_one_bos_and_chats_use_the_template(template: str | None) -> None:
    sequences = calibration_sequences(a_tokenizer(template))
    assert len(sequences) == len(TEXTS) + len(CHATS)
    assert all(sequence[0] == 1 and (sequence == 1).sum() == 1 for sequence in sequences)
    users = sum(int((sequence == 2).sum()) for sequence in sequences)
    systems = sum(int((sequence == 4).sum()) for sequence in sequences)
    turns = sum(role == "user" for chat in CHATS for role, _ in chat)
    assert users == (turns if template else 0)
    assert systems == (1 if template == TEMPLATE else 0)


def test_the_texts_are_many_varied_and_long_enough() -> None:
    assert len(TEXTS) + len(CHATS) >= 30
    assert len(set(TEXTS)) == len(TEXTS)
    assert sum(len(text.split()) for text in TEXTS) > 800


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(
            vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2
        ),
        GPT2Config(vocab_size=50, n_embd=16, n_layer=4, n_head=2, n_positions=32),
    ],
    ids=["llama", "gpt2"],
)
def test_residuals_are_the_hidden_states_of_each_sequence(config: LlamaConfig | GPT2Config) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    sequences = [torch.randint(0, 50, (length,)) for length in (5, 9)]
    residuals = residuals_of(model, sequences, [2, 0])
    assert not any(module._forward_hooks for module in model.modules())
    with torch.no_grad():
        states = [model(sequence[None], output_hidden_states=True).hidden_states for sequence in sequences]
    for layer in (0, 2):
        expected = torch.cat([state[layer + 1][0] for state in states])
        torch.testing.assert_close(residuals[layer], expected)


def test_a_calibration_knows_positions_and_bos() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2))
    sequences = [torch.tensor([7, 1, 2]), torch.tensor([7, 3])]
    calibration = calibrate(model, sequences, bos=7)
    assert calibration.positions.tolist() == [0, 1, 2, 0, 1]
    assert (calibration.d_model, calibration.layer_count) == (16, 2)
    assert calibration.starts_with_bos is True
    assert calibrate(model, sequences, bos=8).starts_with_bos is False
    assert calibrate(model, sequences).starts_with_bos is None


def test_first_tokens_and_those_over_four_medians_are_not_served() -> None:
    norms = torch.tensor([900.0, 1.0, 2.0, 3.0, 8.0, 8.1, 1.0])
    residuals = torch.zeros(7, 4)
    residuals[:, 2] = norms
    kept, median = served_tokens(residuals, torch.tensor([0, 1, 2, 3, 4, 5, 0]), 4.0)
    assert median == 3.0
    assert kept.tolist() == [False, True, True, True, True, True, False]
    kept, _ = served_tokens(residuals, torch.tensor([0, 1, 2, 3, 4, 5, 0]), 2.68)
    assert kept.tolist() == [False, True, True, True, True, False, False]
