from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from services.saelab.activations import collect, deal, load_tokenizer
from services.saelab.documents import Document, Message, read_documents
from services.saelab.errors import BadActivation, CorruptShard, HookPointError, RunMismatch
from services.saelab.residual import HookedModel, without_sinks
from services.saelab.shards import ShardFolder
from services.saelab.windows import Windower
from tests.saelab.tiny_lab import D_MODEL, HOOK, activation_settings


def contents(folder: Path) -> dict[int, tuple[bytes, bytes, int]]:
    """All that shards say, bit for bit."""
    shards = ShardFolder(folder)
    found = {}
    for index in shards.indices():
        shard = shards.read(index)
        bits = shard.activations.view(torch.uint8).numpy().tobytes()
        found[index] = bits, shard.norms.numpy().tobytes(), shard.sinks
    return found


def test_shards_hold_every_residual_but_first_positions_and_fixed_prompts(
    tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    settings = activation_settings(tiny_corpus, tiny_model, tiny_shards.folder)
    dealt = deal(settings, load_tokenizer(str(tiny_model)))
    assert tiny_shards.indices() == list(range(len(dealt)))
    for windows, shard in zip(dealt, tiny_shards, strict=True):
        rows = []
        for window in windows:
            with torch.inference_mode():
                states = model(torch.tensor([window.tokens]), output_hidden_states=True).hidden_states
            rows.append(states[2][0, max(1, window.skip) :])  # hidden_states[i + 1] is the output of block i.
        expected = torch.cat(rows)
        assert shard.sinks == 0
        assert shard.activations.shape == (len(expected), D_MODEL)
        # In random order: compare as sorted by the first coordinate.
        got = shard.activations.float()
        torch.testing.assert_close(
            got[got[:, 0].argsort()].sum(0), expected.sum(0), rtol=0.02, atol=0.02 * len(expected)
        )
        torch.testing.assert_close(
            shard.norms.sort().values, expected.norm(dim=1).sort().values, rtol=1e-4, atol=1e-4
        )


def test_a_killed_collection_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    settings = activation_settings(tiny_corpus, tiny_model, tmp_path)

    def kill_after_two(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(settings, progress=kill_after_two)
    assert ShardFolder(tmp_path).indices() == [0, 1]
    (tmp_path / "shard-00002.partial").write_bytes(b"half a shard")
    assert contents(collect(settings).folder) == contents(tiny_shards.folder)


def test_workers_give_the_same_bytes(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    settings = activation_settings(tiny_corpus, tiny_model, tmp_path, workers=2)
    assert contents(collect(settings).folder) == contents(tiny_shards.folder)


def test_more_tokens_add_shards_to_those_that_are_there(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    collect(activation_settings(tiny_corpus, tiny_model, tmp_path, tokens=1500))
    assert ShardFolder(tmp_path).indices() == [0, 1]
    assert contents(collect(activation_settings(tiny_corpus, tiny_model, tmp_path)).folder) == contents(
        tiny_shards.folder
    )


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:-1] + bytes([data[-1] ^ 1])]
)
def test_a_corrupt_shard_is_named_and_made_anew_once_it_is_deleted(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, damage: object
) -> None:
    settings = activation_settings(tiny_corpus, tiny_model, tmp_path)
    folder = collect(settings)
    whole = contents(tmp_path)
    path = folder.path(1)
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptShard, match=r"shard-00001.*delete it"):
        list(folder)
    path.unlink()
    collect(settings)
    assert contents(tmp_path) == whole


def test_a_folder_of_another_run_is_refused(tmp_path: Path, tiny_corpus: Path, tiny_model: Path) -> None:
    collect(activation_settings(tiny_corpus, tiny_model, tmp_path, tokens=500))
    with pytest.raises(RunMismatch, match="hook_point, seed"):
        collect(activation_settings(tiny_corpus, tiny_model, tmp_path, hook_point="model.layers.2", seed=1))


@pytest.mark.parametrize("hook", ["model.layers.4", "transformer.h.1", "model.norm.x"])
def test_a_wrong_hook_point_is_named_with_the_choices(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, hook: str
) -> None:
    with pytest.raises(HookPointError, match=r"model\.layers\.0 to model\.layers\.3"):
        collect(activation_settings(tiny_corpus, tiny_model, tmp_path, hook_point=hook))


def test_a_module_that_gives_no_residual_stream_is_refused(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path
) -> None:
    with pytest.raises(HookPointError):
        collect(activation_settings(tiny_corpus, tiny_model, tmp_path, hook_point="model.layers"))


def test_activations_that_are_not_finite_are_refused(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path
) -> None:
    model = HookedModel.load(tiny_model, HOOK)
    with torch.no_grad():
        model.model.get_submodule(HOOK).mlp.down_proj.weight[0, 0] = float("nan")  # type: ignore[union-attr, index, operator]
    with pytest.raises(BadActivation, match=r"model\.layers\.1 holds NaN"):
        collect(activation_settings(tiny_corpus, tiny_model, tmp_path), model)
    assert ShardFolder(tmp_path).indices() == []


def test_tokens_over_four_medians_are_sinks() -> None:
    norms = torch.tensor([1.0, 1.0, 1.0, 3.9, 4.1, 100.0, 100.0])
    used = torch.tensor([True, True, True, True, True, True, False])
    assert without_sinks(norms, used, 1.0).tolist() == [True, True, True, True, False, False, False]
    assert without_sinks(norms, used).tolist() == [True, True, True, True, False, False, False]
    assert without_sinks(norms, used, 2.0).tolist() == [True, True, True, True, True, False, False]


def test_a_fixed_system_prompt_is_skipped_and_ones_own_is_not(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model))
    windower = Windower(tokenizer, 128, shortest=1)
    say = Message("user", "the ship and the sea")
    fixed, own = windower.windows(
        [
            Document("1", "s", messages=(say,)),
            Document("2", "s", messages=(Message("system", "Be kind."), say)),
        ]
    )
    assert tokenizer.decode(fixed.tokens[: fixed.skip]) == "<|system|>Be kind.<|end|><|user|>"
    assert own.tokens == fixed.tokens
    assert own.skip == 0


def test_windows_cover_documents_without_a_gap(tiny_corpus: Path, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model))
    document = next(found for found in read_documents(tiny_corpus / "train.jsonl") if not found.is_chat)
    windows = list(Windower(tokenizer, 20, shortest=1).windows([document]))
    assert [token for window in windows for token in window.tokens] == tokenizer(document.text).input_ids
    assert all(len(window.tokens) == 20 for window in windows[:-1])


def test_the_run_is_recorded_beside_the_shards(tiny_shards: ShardFolder) -> None:
    run = json.loads((tiny_shards.folder / "run.json").read_text())
    assert run["hook_point"] == HOOK
    assert tiny_shards.seconds > 0
