"""On a GPU the engine gives what it gives on a CPU, where there is one (skipped elsewhere)."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache

import pytest
import torch

from services.inference.attribution import attribute
from services.inference.engine import EngineLimits
from services.inference.inspection import inspect_runs, live_tokens
from services.inference.model import LanguageModel
from tests.inference.driver import Answer, Request, answer, engine_of, finish, submit
from tests.inference.steerings import some_request
from tests.inference.tiny import Tiny, tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
COUNT = 64


@cache
def on_gpu() -> Tiny:
    """The tiny model, its weights on the GPU in float32."""
    there, gpu = tiny(), torch.device("cuda")
    model = LanguageModel(copy.deepcopy(there.plain), torch.float32, gpu)
    saes = {name: replace(sae, weights=sae.weights.to(gpu)) for name, sae in there.saes.items()}
    return replace(there, model=model, saes=saes)


def some_requests() -> list[Request]:
    """Steerings of all kinds; every eighth prompt is of several chunks."""
    return [some_request(n, longest_prompt=160 if n % 8 == 0 else 20, tokens=4) for n in range(COUNT)]


def logprobs(given: Answer) -> list[float]:
    return [value for value in given.logprobs if value is not None]


@pytest.mark.parametrize("number", range(COUNT))
def test_tokens_events_and_logprobs_are_those_of_the_cpu(number: int) -> None:
    request = some_requests()[number]
    here = answer(engine_of(tiny()), request, tiny().saes)
    there = answer(engine_of(on_gpu()), request, on_gpu().saes)
    assert there.tokens == here.tokens
    assert there.reason is here.reason
    assert [event[:2] for event in there.triggered] == [event[:2] for event in here.triggered]
    assert logprobs(there) == pytest.approx(logprobs(here), abs=2e-3)


def test_company_changes_no_text() -> None:
    engine = engine_of(on_gpu(), EngineLimits(max_running=64))
    together = [submit(engine, request, on_gpu().saes) for request in some_requests()]
    finish(engine)
    for request, given in zip(some_requests(), together, strict=True):
        alone = answer(engine_of(on_gpu()), request, on_gpu().saes)
        assert given.tokens == alone.tokens
        assert logprobs(given) == pytest.approx(logprobs(alone), abs=2e-3)


@pytest.mark.parametrize("name", ["relu", "topk", "gated", "jump"])
def test_attribution_is_that_of_the_cpu(name: str) -> None:
    ids = [12, 201, 7, 90, 33, 150, 61, 5, 244]
    here = attribute(tiny().model, tiny().saes[name], ids, top_k=5)
    there = attribute(on_gpu().model, on_gpu().saes[name], ids, top_k=5)
    assert there.target == here.target
    assert [f.index for f in there.features] == [f.index for f in here.features]
    assert there.feature_effect == pytest.approx(here.feature_effect, rel=1e-3)


def test_inspection_reads_tensors_on_the_gpu() -> None:
    sae, there = tiny().saes["jump"], on_gpu().saes["jump"]
    h = torch.randn(30, sae.weights.d_model, generator=torch.Generator().manual_seed(0))
    h *= sae.median_norm / h.norm(dim=-1, keepdim=True)
    live = live_tokens(h, sae.median_norm)
    ((_, here),) = inspect_runs(sae.weights, h, live, (), 5)
    ((_, found),) = inspect_runs(there.weights, h.cuda(), live, (), 5)
    assert found.indices.tolist() == here.indices.tolist()
    assert found.values.tolist() == pytest.approx(here.values.tolist(), rel=1e-4)
