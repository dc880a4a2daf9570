from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from services.inference.tokenizer import Tokenizer
from services.saelab.logit_lens import folded, lens, listed, one_of_each_form, ranked
from services.saelab.vocabulary import LEAST_COUNT, Spelling, Vocabulary, vocabulary
from tests.saelab.tiny_lab import D_MODEL


def words(count: int) -> Vocabulary:
    """Every third token is a word, every fourth word a form of the one before."""
    ids = np.arange(0, 3 * count, 3)
    forms = np.arange(count)
    forms[3::4] = forms[2::4][: len(forms[3::4])]
    return Vocabulary(ids, tuple(f" word{n}" for n in range(count)), forms)


@pytest.fixture(scope="module")
def llama(tiny_model: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    torch.manual_seed(1)
    model.model.norm.weight.data.uniform_(0.2, 3.0)
    return model


def test_weights_are_the_direction_times_norm_weight_times_unembedding(llama: Any) -> None:
    table, directions = words(80), torch.randn(6, D_MODEL)
    found = lens(llama, directions, table)
    unembedding, gain = llama.lm_head.weight.detach(), llama.model.norm.weight.detach()
    for feature in range(6):
        direction = directions[feature] / directions[feature].norm()
        logits = [float(sum(unembedding[t] * gain * direction)) for t in range(len(unembedding))]
        mean = sum(logits) / len(logits)
        expected = [logits[token] - mean for token in table.ids]
        assert found[feature].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_layer_norm_centres_the_direction_first() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=16))
    norm = model.transformer.ln_f
    norm.weight.data.uniform_(0.2, 3.0)
    norm.bias.data.normal_()
    directions = torch.randn(4, 16)
    unit = directions / directions.norm(dim=1, keepdim=True)
    expected = (unit - unit.mean(1, keepdim=True)) * norm.weight
    torch.testing.assert_close(folded(model, directions), expected, atol=1e-4, rtol=1e-3)


def test_words_are_ranked_by_how_far_they_are_from_their_own_mean() -> None:
    torch.manual_seed(2)
    table = words(40)
    weights = torch.randn(300, 40) * torch.linspace(0.1, 3.0, 40) + torch.linspace(-5, 5, 40)
    standing = (weights - weights.mean(0)) / weights.std(0)
    for promoted in (True, False):
        found = ranked(weights, table, 5, promoted=promoted)
        for feature in range(300):
            order = standing[feature].argsort(descending=promoted).tolist()
            expected: list[int] = []
            for word in order:
                if table.forms[word] not in [table.forms[other] for other in expected]:
                    expected.append(word)
            assert found[feature].tolist() == expected[:5]


def test_a_list_that_runs_out_of_words_ends_with_none() -> None:
    table = words(4)
    found = one_of_each_form(torch.tensor([[1.0, 4.0, 3.0, 2.0]]), table, 6, largest=True)
    assert found.tolist() == [[1, 2, 0, -1, -1, -1]]
    tokens = listed(found[0], torch.arange(6.0), table)
    assert [(token.token, token.id, token.weight) for token in tokens] == [
        (" word1", 3, 0.0),
        (" word2", 6, 1.0),
        (" word0", 0, 2.0),
    ]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer(tiny_model)


def test_the_vocabulary_is_made_of_words_that_stand_alone_and_frequent_signs(tokenizer: Tokenizer) -> None:
    text = (
        "The ship. " * LEAST_COUNT
        + "waveship " * 3
        + "moon " * (LEAST_COUNT - 1)
        + "Wave, wave, a wave! wave; wave."
    )
    ids = np.array(tokenizer.encode_text(text))
    spelling = Spelling.of(tokenizer)
    found = vocabulary([ids, ids[:0]], spelling)
    names = set(found.names)
    pieces = [spelling.names[token] for token in ids]
    assert " ship" in names
    assert " wave" in names
    assert "." in names  # A sign, and frequent.
    assert "!" not in names  # Too rare.
    assert " moon" not in names  # Too rare.
    assert "h" in pieces  # The tokenizer knows no "the" and spells it out:
    assert "h" not in names  # no letter of it is a word,
    assert not any(spelling.is_special[token] for token in found.ids)
    assert [spelling.names[token] for token in found.ids] == list(found.names)


def test_forms_differ_in_case_or_the_space_before_alone() -> None:
    names = ("sea", " sea", " Sea", " ship", ".")
    letters = np.array([name != "." for name in names])
    starts = np.array([name == "sea" for name in names])
    spelling = Spelling(names, starts, letters, np.zeros(5, bool))
    rows = [np.array([4, token, 4] * LEAST_COUNT) for token in range(5)]
    found = vocabulary(rows, spelling)
    assert found.names == names
    assert found.forms.tolist() == [0, 0, 0, 1, 2]


def test_the_word_around_a_token_is_found_with_its_beginning(tokenizer: Tokenizer) -> None:
    spelling = Spelling.of(tokenizer)
    ids = np.array(tokenizer.encode_text("the seafarers moon, 1984"))
    found = [spelling.word(ids, place) for place in range(len(ids))]
    assert list(dict.fromkeys(word for word, _ in found))[:4] == ["the", "seafarers", "moon", ","]
    starts = {start for word, start in found if word == "seafarers"}
    assert starts == {next(place for place, (word, _) in enumerate(found) if word == "seafarers")}
    assert sum(word == "seafarers" for word, _ in found) > 1  # It is made of several tokens.
