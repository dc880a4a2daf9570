"""Ember's routes of features tell what the catalogue tells, in the JSON that its SDK reads."""

from __future__ import annotations

import uuid

import httpx
import pytest

from hearth.v1 import feature_service_pb2 as features_pb
from hearth.v1 import steering_pb2
from services.gateway.ember import features
from tests.gateway.ember.asking import BASE, post, said, search
from tests.gateway.light import Light


def test_search_goes_page_by_page_and_tells_cosines(client: httpx.Client) -> None:
    ten = search(client, perPage=10)
    assert [*search(client, perPage=5), *search(client, perPage=5, page=2)] == ten
    assert search(client, perPage=100, page=2) == []
    assert all(-1 <= feature["relevance"] <= 1 for feature in ten)
    assert {"id", "label", "index_in_sae", "relevance"} == set(ten[0])


def test_features_by_id_in_their_order_without_those_that_are_not_there(client: httpx.Client) -> None:
    found = search(client, perPage=3)
    nobody = str(uuid.UUID(int=0))
    wanted = [found[2]["id"], nobody, uuid.UUID(found[0]["id"]).hex, found[0]["id"]]
    answer = client.get(f"{BASE}/features/", params={"feature_id": wanted})
    assert [each["id"] for each in answer.json()["features"]] == [found[2]["id"], found[0]["id"]]
    assert client.get(f"{BASE}/features/").json() == {"features": []}


def test_rerank_orders_by_cosine(client: httpx.Client) -> None:
    ids = [feature["id"] for feature in search(client, perPage=20)]
    ranked = post(client, "features/rerank", query="baking bread", feature_ids=ids, top_k=20)["features"]
    relevance = [each["relevance"] for each in ranked]
    assert sorted(each["id"] for each in ranked) == sorted(ids)
    assert relevance == sorted(relevance, reverse=True)
    first = post(client, "features/rerank", query="baking bread", feature_ids=ids, top_k=2)["features"]
    assert first == ranked[:2]
    assert post(client, "features/rerank", query="x", feature_ids=[], top_k=2) == {"features": []}
    assert post(client, "features/rerank", query="x", feature_ids=ids, top_k=0) == {"features": []}


def test_what_is_ranked_in_parts_is_ranked_as_a_whole(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [feature["id"] for feature in search(client, perPage=40)]
    body = {"query": "winter weather", "feature_ids": ids, "top_k": len(ids)}
    whole = post(client, "features/rerank", **body)["features"]
    monkeypatch.setattr(features, "TOGETHER", 7)
    parts = post(client, "features/rerank", **body)["features"]
    assert [each["relevance"] for each in parts] == [each["relevance"] for each in whole]
    assert {each["id"] for each in parts} == {each["id"] for each in whole}
    looked_up = post(client, "features/lookup", indices=list(range(40)))["features"]
    assert [each["index_in_sae"] for each in looked_up] == list(range(40))


def test_rerank_takes_8192_ids(client: httpx.Client) -> None:
    many = [str(uuid.UUID(int=n)) for n in range(8193)]
    body = {"model": "tiny", "query": "x", "feature_ids": many[:8192]}
    assert client.post(f"{BASE}/features/rerank", json=body).status_code == 404  # none of them is there
    body["feature_ids"] = many
    refused = client.post(f"{BASE}/features/rerank", json=body)
    assert (refused.status_code, refused.json()["field"]) == (400, "feature_ids")


def test_lookup_names_features_as_the_sdk_reads_them_there(client: httpx.Client) -> None:
    told = post(client, "features/lookup", indices=[3, 1, 3])["features"]
    assert [each["index_in_sae"] for each in told] == [3, 1]
    assert {"uuid", "label", "index_in_sae"} == set(told[0])


def test_neighbors_of_one_and_of_many(light: Light, client: httpx.Client) -> None:
    told = post(client, "attributions/neighbors", feature_indices=[1], top_k=4)["neighbors"]
    key = steering_pb2.FeatureKey(sae=light.sae, index=1)
    asked = features_pb.FindNeighborsRequest(keys=[key], top_k=4)
    answer = said(light, light.gateway.services.features.FindNeighbors, asked)
    assert [each["id"] for each in told] == [hit.feature.id for hit in answer.hits]
    many = post(client, "attributions/neighbors", feature_indices=[1] * 2048, top_k=4)["neighbors"]
    assert many == told
