"""The list of models: what is served, and what the caller has saved."""

from __future__ import annotations

import openai
import pytest

from tests.gateway.light import Light
from tests.gateway.openai.conftest import sdk_of
from tests.gateway.openai.test_steering import saved


def test_models_are_listed_with_their_saes(sdk: openai.OpenAI) -> None:
    model = next(iter(sdk.models.list()))
    assert (model.id, model.object, model.owned_by) == ("tiny", "model", "hearth")
    (sae,) = model.saes
    assert (sae["id"], sae["feature_count"]) == ("relu", 40)
    assert sdk.models.retrieve("tiny") == model


def test_saved_variants_are_models_of_their_owner(light: Light, base: str) -> None:
    key = light.key(owner="ann")
    variant = saved(light, key, f"a variant at {base}", model="tiny")
    with sdk_of(light, key, base) as sdk:
        listed = {model.id: model for model in sdk.models.list()}
        found = listed[f"variant:{variant}"]
        assert (found.name, found.root) == (f"a variant at {base}", "tiny")
        assert sdk.models.retrieve(found.id) == found
        with pytest.raises(openai.NotFoundError):
            sdk.models.retrieve("no/such model")
