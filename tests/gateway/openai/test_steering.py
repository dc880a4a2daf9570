"""Steered answers: three ways to say how, and what comes back about it."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from google.protobuf import json_format

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import variant_service_pb2
from tests.gateway.light import Light
from tests.gateway.openai.conftest import CHAT, LONG, sdk_of

NUDGE = {"edits": [{"feature": {"index": 3}, "nudge": 0.9}]}
CONTROLLER = {
    "interventions": [
        {
            "mode": "nudge",
            "features": {"features": [{"uuid": "0" * 32, "label": "", "index_in_sae": 3}]},
            "value": 0.9,
        }
    ],
    "scopes": [],
}
ALWAYS = {
    "comparison": {
        "left": {"features": [{"index": 3}]},
        "operator": "OPERATOR_GREATER_OR_EQUAL",
        "threshold": 0,
    }
}


def ask(sdk: openai.OpenAI, extra: dict[str, Any], **changes: Any) -> Any:
    """An answer of twelve tokens."""
    asked = {"model": "tiny", "messages": CHAT, "seed": 7, "max_tokens": 12}
    return sdk.chat.completions.create(**{**asked, **changes}, extra_body={**LONG, **extra})


def text_of(answer: Any) -> str:
    return str(answer.choices[0].message.content)


def saved(light: Light, key: str, name: str, **fields: Any) -> str:
    """The id of a new variant that is steered by NUDGE."""
    variant = variant_service_pb2.Variant(name=name, **fields)
    json_format.ParseDict(NUDGE, variant.steering)

    async def create() -> str:
        owner = [("x-hearth-owner", "ann")] if key != "dev" else []
        request = variant_service_pb2.CreateVariantRequest(variant=variant)
        return (await light.gateway.services.variants.CreateVariant(request, metadata=owner)).variant.id

    return light.call(create())


def test_a_steered_answer_differs_from_a_plain_one_and_comes_again(sdk: openai.OpenAI) -> None:
    plain, steered = text_of(ask(sdk, {})), text_of(ask(sdk, {"steering": NUDGE}))
    assert plain != steered
    assert steered == text_of(ask(sdk, {"steering": NUDGE}))
    assert plain == text_of(ask(sdk, {"steering": {}}))


def test_embers_controller_and_our_steering_and_a_variant_say_the_same(light: Light) -> None:
    key = light.key()
    variant = saved(light, key, "three ways", model="tiny")
    with sdk_of(light, key) as sdk:
        steered = text_of(ask(sdk, {"steering": NUDGE}))
        assert text_of(ask(sdk, {"controller": CONTROLLER})) == steered
        answer = ask(sdk, {}, model=f"variant:{variant}")
    assert text_of(answer) == steered
    assert answer.model == f"variant:{variant}"


def test_a_steered_stream_says_what_the_whole_answer_says(sdk: openai.OpenAI) -> None:
    chunks = ask(sdk, {"steering": NUDGE}, stream=True)
    streamed = "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert streamed == text_of(ask(sdk, {"steering": NUDGE}))


def test_a_report_tells_what_was_delivered(sdk: openai.OpenAI) -> None:
    choice = ask(sdk, {"steering": NUDGE, "report": True}).choices[0]
    (edit,) = choice.report["edits"]
    assert edit["requested"]["strength"] == pytest.approx(0.9)
    assert edit["tokens"] >= 12
    assert not hasattr(choice, "receipt")


def test_a_receipt_reproduces_each_answer(sdk: openai.OpenAI, light: Light) -> None:
    answer = ask(sdk, {"steering": NUDGE, "receipt": True}, n=2)

    async def again(receipt: pb.Receipt) -> str:
        request = pb.GenerateRequest(
            model=receipt.model, steering=receipt.steering, sampling=receipt.sampling
        )
        request.prompt.token_ids.CopyFrom(receipt.prompt)
        call = light.gateway.services.inference.Generate(request)
        return "".join([event.delta.text async for event in call if event.HasField("delta")])

    for choice in answer.choices:
        receipt = json_format.ParseDict(choice.receipt, pb.Receipt())
        assert light.call(again(receipt)) == choice.message.content


def test_the_last_chunk_carries_report_and_receipt(sdk: openai.OpenAI) -> None:
    *chunks, last = ask(sdk, {"steering": NUDGE, "receipt": True, "report": True}, stream=True)
    assert not any(hasattr(chunk.choices[0], "receipt") for chunk in chunks)
    whole = ask(sdk, {"steering": NUDGE, "receipt": True, "report": True}).choices[0]
    assert (last.choices[0].receipt, last.choices[0].report) == (whole.receipt, whole.report)


def test_an_abort_ends_an_answer_as_filtered_and_says_why(sdk: openai.OpenAI) -> None:
    abort = {"scopes": [{"when": ALWAYS, "abort": {"message": "enough"}}], "positions": "POSITIONS_GENERATED"}
    choice = ask(sdk, {"steering": abort}).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("", "content_filter")
    assert choice.abort_message == "enough"


def test_a_notify_names_its_event_in_chunks_and_in_the_answer(sdk: openai.OpenAI) -> None:
    notify = {"scopes": [{"when": ALWAYS, "notify": {"event": "seen"}, "latched": True}]}
    assert ask(sdk, {"steering": notify}).gf_event_names == ["seen"]
    chunks = list(ask(sdk, {"steering": notify}, stream=True))
    assert [chunk.gf_event_names for chunk in chunks if chunk.gf_event_names] == [["seen"]]
    assert ask(sdk, {}).gf_event_names is None


def test_another_owners_variant_is_as_one_that_never_was(light: Light) -> None:
    variant = saved(light, light.key(), "mine alone")
    asked = [f"variant:{variant}", "variant:00000000-0000-4000-8000-000000000000", "variant:nonsense"]
    told = set()
    with sdk_of(light, light.key(owner="bob")) as sdk:
        for name in asked:
            with pytest.raises(openai.NotFoundError) as caught:
                ask(sdk, {}, model=name)
            told.add(caught.value.message.replace(name, "IT"))
            assert (caught.value.param, caught.value.status_code) == ("model", 404)
        with pytest.raises(openai.NotFoundError):
            sdk.models.retrieve(asked[0])
        assert asked[0] not in [model.id for model in sdk.models.list()]
    assert len(told) == 1


@pytest.mark.parametrize(
    ("extra", "model", "param"),
    [
        ({"steering": NUDGE, "controller": CONTROLLER}, "tiny", "steering"),
        ({"steering": {"edit": []}}, "tiny", "steering"),
        (
            {"steering": {"edits": [{"feature": {"index": 40}, "nudge": 1}]}},
            "tiny",
            "steering.edits[0].feature",
        ),
        (
            {"steering": {"edits": [{"feature": {"index": 3}, "nudge": 101}]}},
            "tiny",
            "steering.edits[0].nudge",
        ),
        ({"controller": {"interventions": [{"mode": "add"}]}}, "tiny", "controller.interventions[0].mode"),
        ({"steering": NUDGE}, "variant:00000000-0000-4000-8000-000000000000", "steering"),
    ],
)
def test_a_wrong_steering_is_refused_by_its_place(
    sdk: openai.OpenAI, extra: dict[str, Any], model: str, param: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            ask(sdk, extra, model=model, stream=stream)
        assert caught.value.param is not None
        assert caught.value.param.startswith(param)
