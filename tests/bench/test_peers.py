"""The peers on a tiny random model, in this process, and one in its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import gpu
from bench.peers import hearth_engine, transformers_generate
from bench.peers.process import PeerProcess, PeerSpec
from bench.races import PeerFailed
from bench.workload import KINDS, Request, Stream, prompts, steered

OPTIONS = {"shape": "tiny", "dtype": "float32", "threads": 1}


def _requests(count: int, new_tokens: int = 3) -> list[Request]:
    return [Request(p, new_tokens, sampled=n % 2 == 1) for n, p in enumerate(prompts("tiny", count, 8))]


def _in_order(streams: list[Stream], new_tokens: int) -> bool:
    return all(len(s.tokens) == new_tokens and list(s.tokens) == sorted(s.tokens) for s in streams)


@pytest.fixture(scope="module")
def hearth() -> hearth_engine.HearthEngine:
    return hearth_engine.load(OPTIONS)


def test_transformers_generates_every_token_alone_batched_and_spliced() -> None:
    peer = transformers_generate.load(OPTIONS)
    assert _in_order(peer.run(_requests(2), 1, {}), 3)
    ragged = [Request(p, n + 2) for n, p in enumerate([(1, 2), (3, 4, 5)])]
    assert [len(s.tokens) for s in peer.run(ragged, None, {})] == [2, 3]
    assert _in_order(peer.run(steered(_requests(2)), None, {"splice": True}), 3)


def test_hearth_generates_every_token_with_every_kind_of_edit(hearth: hearth_engine.HearthEngine) -> None:
    assert _in_order(hearth.run(_requests(4), None, {}), 3)
    for kind in KINDS:
        assert _in_order(hearth.run(steered(_requests(4), [kind]), 2, {}), 3)


def test_the_hook_is_timed_for_every_kind_and_for_the_splice(hearth: hearth_engine.HearthEngine) -> None:
    for kinds in ([*KINDS], []):
        timed = hearth.hook_seconds(rows=3, kinds=kinds, configurations=2, repeats=2)
        assert 0 < timed["least"] <= timed["median"]


def test_a_peer_that_cannot_load_says_why() -> None:
    spec = PeerSpec("broken", "bench.peers.vllm_offline", {"dtype": "float32"})
    with pytest.raises(PeerFailed, match="broken: ModuleNotFoundError"):
        PeerProcess(spec, {}, threads=1)


def test_a_peer_whose_environment_is_missing_names_the_command_that_makes_it(tmp_path: Path) -> None:
    spec = PeerSpec(
        "vllm", "bench.peers.vllm_offline", python=tmp_path / "python", install="run `make bench-peers`"
    )
    with pytest.raises(PeerFailed, match="make bench-peers"):
        PeerProcess(spec, {}, threads=1)


def test_the_gpu_comparison_runs_with_a_tiny_model_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "gpu.md"
    sizes = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--batches", "2", "--rounds", "1"]
    small = ["--prompt", "4", "--new-tokens", "3", "--peers", "^hearth$", "--out", str(out)]
    assert gpu.main([*sizes, *small]) == 0
    assert "| Hearth, unsteered |" in out.read_text()
