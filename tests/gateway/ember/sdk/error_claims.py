"""Each error class, on the routes that can bring it."""

from __future__ import annotations

import re
import time

import goodfire
import pytest
from calls import GIVEN, HELLO, MODEL, URL, WORDS, client, found, say, stream
from claims import claim
from goodfire.api import exceptions


@claim
def a_wrong_key_is_unauthorized() -> None:
    for key in ("wrong", "", *([GIVEN["revoked"]] if "revoked" in GIVEN else [])):
        stranger = goodfire.Client(key or "none", base_url=URL)
        with pytest.raises(exceptions.UnauthorizedException, match="key"):
            stranger.features.search(WORDS, MODEL)
        with pytest.raises(exceptions.UnauthorizedException):
            stranger.chat.completions.create(HELLO, MODEL)
        with pytest.raises(exceptions.UnauthorizedException):
            list(stranger.chat.completions.create(HELLO, MODEL, stream=True))


@claim
def an_unknown_model_is_not_found() -> None:
    for call in (
        lambda: client.features.search(WORDS, "nobody/nothing"),
        lambda: client.features.inspect(HELLO, "nobody/nothing"),
        lambda: client.features.AutoSteer(WORDS, "nobody/nothing"),
        lambda: say("nobody/nothing"),
        lambda: stream("nobody/nothing"),
    ):
        with pytest.raises(exceptions.NotFoundException, match="not served"):
            call()


@claim
def a_feature_that_is_not_there_is_not_found() -> None:
    foreign = goodfire.Feature("00000000-0000-0000-0000-000000000000", "none", 0)
    with pytest.raises(exceptions.NotFoundException, match="feature"):
        client.features.rerank(goodfire.FeatureGroup([foreign]), WORDS, MODEL)


@claim
def what_is_not_allowed_is_an_invalid_request_that_names_the_field() -> None:
    feature = found(1)[0]
    beyond = goodfire.Feature(feature.uuid, feature.label, 2**31)
    too_strong, unknown = goodfire.Variant(MODEL), goodfire.Variant(MODEL)
    too_strong.set(feature, 1000.0)
    unknown.set(beyond, 0.5)
    for call, words in (
        (lambda: client.features.search(WORDS, MODEL, top_k=101), "perPage"),
        (lambda: client.features.search("", MODEL), "query"),
        (lambda: say(too_strong), "1000"),
        (lambda: stream(too_strong), "1000"),
        (lambda: say(unknown), str(2**31)),
        (lambda: client.features.lookup([2**31], MODEL), str(2**31)),
        (lambda: client.features.inspect([], MODEL), "messages"),
        (lambda: client.features.inspect([{"role": "robot", "content": ""}], MODEL), "messages[0].role"),
        (lambda: client.features.inspect(HELLO * 129, MODEL), "messages"),
        (lambda: client.features.contrast([HELLO] * 65, [HELLO] * 65, MODEL), "dataset_1"),
        (lambda: client.features.attribute(HELLO, 10_000, MODEL), "startIndex"),
        (
            lambda: client.chat.logits(HELLO, MODEL, filter_vocabulary=["two words of text"]),
            "filter_vocabulary",
        ),
        (lambda: client.features.AutoSteer("", MODEL), "behavior"),
        (lambda: client.features.AutoConditional("", MODEL), ""),
        (lambda: client.features.generate_contrastive_stimulus(""), "behavior"),
        (lambda: client.features.neighbors(goodfire.FeatureGroup([]), MODEL), "feature_indices"),
    ):
        with pytest.raises(exceptions.InvalidRequestException, match=re.escape(words)):
            call()


@claim
def a_used_up_quota_is_a_rate_limit_after_the_sdk_has_slept_five_times() -> None:
    if "limited" not in GIVEN:
        return
    hasty = goodfire.Client(GIVEN["limited"], base_url=URL)
    hasty.features.search(WORDS, MODEL)
    slept: list[float] = []
    sleeps, time.sleep = time.sleep, slept.append
    try:
        with pytest.raises(exceptions.RateLimitException, match="Rate limit exceeded"):
            hasty.features.search(WORDS, MODEL)
        assert slept == [1, 2, 4, 8, 16]  # whatever Retry-After says
        slept.clear()
        with pytest.raises(exceptions.RateLimitException):
            hasty.features.lookup([1], MODEL)
        assert slept == [2, 4, 8, 16, 32]
        slept.clear()
        with pytest.raises(exceptions.RateLimitException):
            list(hasty.chat.completions.create(HELLO, MODEL, stream=True))
        assert len(slept) == 5
        slept.clear()
        hasty.features._async_client._http.max_retries = 0  # the way round
        with pytest.raises(exceptions.RateLimitException):
            hasty.features.search(WORDS, MODEL)
        assert slept == []
    finally:
        time.sleep = sleeps
