from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from services.inference.sae.base import Architecture, Sae, SaeWeights
from services.inference.sae.formats import load_sae
from services.inference.sae.write_saelens import write_saelens
from services.saelab.activations import load_tokenizer
from services.saelab.dictionary import dictionary_metrics, nearest_patterns
from services.saelab.documents import HELDOUT, read_documents
from services.saelab.evaluate import EvaluateSettings, evaluate
from services.saelab.heldout import HeldoutSettings
from services.saelab.reference import feature_statistics
from services.saelab.shards import ShardFolder
from services.saelab.windows import Windower
from tests.saelab.tiny_lab import D_MODEL, HOOK

FEATURES = 40


def random_sae(threshold: float = 1.0) -> Sae:
    generator = torch.Generator().manual_seed(3)
    W = torch.nn.functional.normalize(torch.randn(FEATURES, D_MODEL, generator=generator), dim=1)
    weights = SaeWeights(
        architecture=Architecture.JUMPRELU,
        W_enc=0.3 * W,
        b_enc=torch.zeros(FEATURES),
        W_dec=W,
        b_dec=torch.randn(D_MODEL, generator=generator) * 0.1,
        threshold=torch.full((FEATURES,), threshold),
    )
    return Sae("tiny", weights, HOOK, 1, weights.digest())


def lossless_sae() -> Sae:
    """Two features a dimension: their reconstruction is the input itself."""
    eye = torch.eye(D_MODEL)
    both = torch.cat([eye, -eye])
    weights = SaeWeights(
        Architecture.JUMPRELU,
        both,
        torch.zeros(len(both)),
        both,
        torch.zeros(D_MODEL),
        torch.zeros(len(both)),
    )
    return Sae("lossless", weights, HOOK, 1, weights.digest())


def settings_of(folder: Path, corpus: Path, shards: ShardFolder, model: Path) -> EvaluateSettings:
    work = folder / "work"
    heldout = HeldoutSettings(cross_entropy_tokens=5000)
    return EvaluateSettings(
        folder, corpus, shards.folder, str(model), work, window=64, heldout=heldout, threads=1
    )


def test_feature_statistics_equal_plain_ones(tiny_shards: ShardFolder) -> None:
    sae = random_sae()
    found = feature_statistics(sae, tiny_shards, 10**9)
    h = torch.cat([shard.activations for shard in tiny_shards]).float()
    f = sae.weights.encode(h)
    assert found.tokens == len(h)
    torch.testing.assert_close(found.density, (f > 0).float().mean(0))
    torch.testing.assert_close(found.mean, h.mean(0))
    torch.testing.assert_close(found.maxima, f.max(0).values)
    for index in range(FEATURES):
        active = f[:, index][f[:, index] > 0].numpy()
        expected = np.quantile(active, 0.999) if len(active) else 1.0
        assert float(found.scales[index]) == pytest.approx(float(expected), rel=1e-4)


def test_dictionary_metrics_count_dead_dense_and_redundant_features(tiny_shards: ShardFolder) -> None:
    sae = random_sae()
    W = sae.weights
    W.threshold[0] = 1e9  # type: ignore[index]
    W.threshold[1] = -1e9  # type: ignore[index]
    W.W_dec[2] = W.W_dec[3]
    W.W_enc[4] = 1.01 * W.W_enc[5]
    patterns, tokens = nearest_patterns(sae, tiny_shards, 10**9)
    metrics = dictionary_metrics(sae, feature_statistics(sae, tiny_shards, 10**9), patterns, tokens)
    f = W.encode(torch.cat([shard.activations for shard in tiny_shards]).float())
    density = (f > 0).float().mean(0)
    assert metrics.dead == pytest.approx(float((density == 0).float().mean()))
    assert metrics.dead >= 1 / FEATURES
    assert metrics.dense == pytest.approx(float((density > 0.1).float().mean()))
    assert metrics.decoder_cosine_above_07 == pytest.approx(2 / FEATURES)
    unit = f[:, f.sum(0) > 0] / f[:, f.sum(0) > 0].norm(dim=0)
    cosines = (unit.T @ unit).fill_diagonal_(0.0).max(1).values
    assert metrics.coactivation_tokens == len(f)
    assert metrics.coactivation_median == pytest.approx(float(cosines.median()), rel=1e-4)
    assert metrics.coactivation_above_07 == pytest.approx(float((cosines > 0.7).float().mean()))
    assert metrics.coactivation_above_07 > 0


def test_metrics_equal_an_obvious_evaluation(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    sae = write_saelens(tmp_path, random_sae())
    found = evaluate(settings_of(tmp_path, tiny_corpus, tiny_shards, tiny_model))["plain"]

    statistics = feature_statistics(sae, tiny_shards, 10**9)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    block = model.get_submodule(HOOK)
    plain = [document for document in read_documents(tiny_corpus / HELDOUT) if not document.is_chat]
    windows = list(Windower(load_tokenizer(str(tiny_model)), 64).windows(plain))
    streams = []
    for window in windows:
        with torch.inference_mode():
            streams.append(
                model(torch.tensor([window.tokens]), output_hidden_states=True).hidden_states[2][0, 1:]
            )
    h = torch.cat(streams)
    error = (h - sae.weights.decode(sae.weights.encode(h))).square().sum()
    assert found["documents"] == len(plain)
    assert found["tokens"] == len(h)
    assert found["l0"] == pytest.approx(float((sae.weights.encode(h) > 0).sum(1).float().mean()), rel=1e-3)
    variance = (h - h.mean(0)).square().sum()
    assert found["variance_explained"] == pytest.approx(float(1 - error / variance), abs=1e-4)

    def loss(replace: object) -> tuple[float, int]:
        def hook(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
            made = replace(output) if callable(replace) else output
            return torch.cat([output[:, :1], made[:, 1:]], dim=1)

        handle = block.register_forward_hook(hook)
        total, count = 0.0, 0
        for window in windows:
            tokens = torch.tensor([window.tokens])
            with torch.inference_mode():
                logprobs = model(tokens).logits[0].log_softmax(-1)
            for position in range(1, len(window.tokens) - 1):
                total -= float(logprobs[position, window.tokens[position + 1]])
                count += 1
        handle.remove()
        return total / count, count

    # Every window is measured: there are fewer held-out tokens than asked for.
    assert found["cross_entropy_tokens"] == loss(None)[1]
    assert found["cross_entropy"] == pytest.approx(loss(None)[0], rel=1e-4)
    spliced = loss(lambda h: sae.weights.decode(sae.weights.encode(h)))[0]
    assert found["cross_entropy_spliced"] == pytest.approx(spliced, rel=1e-4)
    ablated = loss(lambda h: statistics.mean.expand_as(h))[0]
    assert found["cross_entropy_ablated"] == pytest.approx(ablated, rel=1e-4)


def test_a_lossless_sae_explains_and_recovers_everything(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    write_saelens(tmp_path, lossless_sae())
    found = evaluate(settings_of(tmp_path, tiny_corpus, tiny_shards, tiny_model))
    for kind in ("plain", "chat"):
        assert found[kind]["variance_explained"] == pytest.approx(1.0, abs=1e-6)
        assert found[kind]["loss_recovered"] == pytest.approx(1.0, abs=1e-4)
        assert found[kind]["l0"] == pytest.approx(D_MODEL, abs=0.1)


def test_evaluation_puts_units_and_key_numbers_beside_the_weights(
    tmp_path: Path, tiny_corpus: Path, tiny_model: Path, tiny_shards: ShardFolder
) -> None:
    before = write_saelens(tmp_path, random_sae())
    found = evaluate(settings_of(tmp_path, tiny_corpus, tiny_shards, tiny_model))
    after = load_sae(tmp_path)
    assert after.weights_digest == before.weights_digest
    assert after.scales is not None
    assert float(after.scales.min()) > 0
    norms = torch.cat([shard.norms for shard in tiny_shards])
    assert after.median_norm == pytest.approx(float(norms.median()))
    assert after.card["variance_explained"] == found["plain"]["variance_explained"]
