"""VariantService through a real server: what its messages may hold, and what comes back."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import hypothesis
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from hearth.v1 import steering_pb2
from hearth.v1 import variant_service_pb2 as pb
from hearth.v1 import variant_service_pb2_grpc as rpc
from services.database.database import Database
from services.errors import Reason
from services.features.variants import Variant, Variants
from services.features.variants_servicer import VariantsServicer
from services.features.wire import variants as wire
from services.rpc.calls import OWNER_KEY
from services.rpc.channel import RpcFailure, connect, rpc_failures
from services.rpc.server import ServerSettings, serve
from services.steering.edits import Steering
from services.steering.wire import steering_from_proto, steering_to_proto
from tests.steering.strategies import steerings

SERVICE = "hearth.v1.VariantService"
ANN = ((OWNER_KEY, "ann"),)
BOB = ((OWNER_KEY, "bob"),)
KEY = steering_pb2.FeatureKey(sae="sae", index=7)
NUDGE = steering_pb2.Steering(edits=[steering_pb2.Edit(feature=KEY, nudge=0.1)])
PIRATE = pb.Variant(name="pirate", description="talks like one", model="some/model", steering=NUDGE)


@pytest.fixture
async def channel(database: Database) -> AsyncIterator[grpc.aio.Channel]:
    servicer = VariantsServicer(Variants(database))
    server = await serve(
        {SERVICE: lambda s: rpc.add_VariantServiceServicer_to_server(servicer, s)},
        ServerSettings(),
        handle_signals=False,
    )
    async with connect(server.address) as channel:
        yield channel
    server.begin_drain()
    server.begin_drain()
    await server.stopped()


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> rpc.VariantServiceAsyncStub:
    return rpc.VariantServiceStub(channel)


async def create(stub: rpc.VariantServiceAsyncStub, metadata: Any = ANN, **more: Any) -> pb.Variant:
    request = pb.CreateVariantRequest(variant=PIRATE, **more)
    return (await stub.CreateVariant(request, metadata=metadata)).variant


async def refusal(call: Any) -> RpcFailure:
    with pytest.raises(RpcFailure) as refused, rpc_failures():
        await call
    return refused.value


async def test_a_variant_comes_back_whole(stub: rpc.VariantServiceAsyncStub) -> None:
    made = await create(stub)
    assert (made.name, made.description, made.model) == ("pirate", "talks like one", "some/model")
    assert steering_from_proto(made.steering) == steering_from_proto(NUDGE)
    assert made.create_time.ToMicroseconds() > 0
    assert made.create_time == made.update_time
    assert not made.HasField("delete_time")
    by_id = await stub.GetVariant(pb.GetVariantRequest(id=made.id.upper()), metadata=ANN)
    by_name = await stub.GetVariant(pb.GetVariantRequest(name="pirate"), metadata=ANN)
    assert by_id.variant == by_name.variant == made


async def test_what_only_the_server_says_is_not_read(stub: rpc.VariantServiceAsyncStub) -> None:
    claimed = pb.Variant(id=str(uuid.uuid4()), etag="mine")
    claimed.MergeFrom(PIRATE)
    claimed.delete_time.GetCurrentTime()
    made = (await stub.CreateVariant(pb.CreateVariantRequest(variant=claimed), metadata=ANN)).variant
    assert made.id != claimed.id
    assert made.etag not in ("", "mine")
    assert not made.HasField("delete_time")


@hypothesis.given(steerings())
@hypothesis.settings(max_examples=40, deadline=None)
def test_every_steering_is_read_as_it_was_saved(steering: Steering) -> None:
    variant = pb.Variant(name="v", steering=steering_to_proto(steering))
    content, _ = wire.created(pb.CreateVariantRequest(variant=variant))
    now = datetime.now(UTC)
    saved = wire.variant(Variant(str(uuid.uuid4()), content, "etag", now, now, None))
    assert steering_from_proto(saved.steering) == steering


def test_equal_steerings_are_saved_in_the_same_bytes() -> None:
    """Else a request that is repeated with defaults written out would count as another one."""
    explicit = steering_to_proto(steering_from_proto(NUDGE))
    assert explicit != NUDGE
    saved = [
        wire.created(pb.CreateVariantRequest(variant=pb.Variant(name="v", steering=each)))
        for each in (NUDGE, explicit)
    ]
    assert saved[0] == saved[1]


async def test_owners_are_told_apart_by_metadata(stub: rpc.VariantServiceAsyncStub) -> None:
    made = await create(stub)
    assert (await refusal(stub.GetVariant(pb.GetVariantRequest(id=made.id), metadata=BOB))).code is (
        grpc.StatusCode.NOT_FOUND
    )
    assert (await refusal(stub.GetVariant(pb.GetVariantRequest(id=made.id)))).reason is Reason.NOT_FOUND
    assert not (await stub.ListVariants(pb.ListVariantsRequest(), metadata=BOB)).variants
    too_long = await refusal(stub.ListVariants(pb.ListVariantsRequest(), metadata=((OWNER_KEY, "a" * 201),)))
    assert too_long.field == OWNER_KEY
    assert (await create(stub, metadata=((OWNER_KEY, "a" * 200),))).name == "pirate"


async def test_lists_page_through_all_and_show_deleted_ones_where_asked(
    stub: rpc.VariantServiceAsyncStub,
) -> None:
    for number in range(5):
        variant = pb.Variant(name=f"v{number}")
        made = (await stub.CreateVariant(pb.CreateVariantRequest(variant=variant), metadata=ANN)).variant
    deleted = (await stub.DeleteVariant(pb.DeleteVariantRequest(id=made.id), metadata=ANN)).variant
    assert deleted.HasField("delete_time")
    for show_deleted, expected in ((False, ["v3", "v2", "v1", "v0"]), (True, ["v4", "v3", "v2", "v1", "v0"])):
        names: list[str] = []
        request = pb.ListVariantsRequest(page_size=2, show_deleted=show_deleted)
        while True:
            page = await stub.ListVariants(request, metadata=ANN)
            names += [variant.name for variant in page.variants]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        assert names == expected


async def test_a_mask_says_what_changes(stub: rpc.VariantServiceAsyncStub) -> None:
    made = await create(stub)
    request = pb.UpdateVariantRequest(
        # The name is not in the mask, so that it is neither read nor checked.
        variant=pb.Variant(id=made.id, name="x" * 500, description="like a captain"),
        update_mask=FieldMask(paths=["description", "steering"]),
        etag=made.etag,
        request_id=str(uuid.uuid4()),
    )
    changed = (await stub.UpdateVariant(request, metadata=ANN)).variant
    assert (changed.name, changed.description, changed.model) == ("pirate", "like a captain", "some/model")
    assert steering_from_proto(changed.steering) == Steering()
    assert (await stub.UpdateVariant(request, metadata=ANN)).variant == changed
    request.request_id = ""
    stale = await refusal(stub.UpdateVariant(request, metadata=ANN))
    assert (stale.code, stale.reason, stale.field) == (
        grpc.StatusCode.ABORTED,
        Reason.ETAG_MISMATCH,
        "etag",
    )


async def test_deleting_and_bringing_back(stub: rpc.VariantServiceAsyncStub) -> None:
    made = await create(stub)
    request = pb.DeleteVariantRequest(id=made.id, etag=made.etag)
    deleted = (await stub.DeleteVariant(request, metadata=ANN)).variant
    assert (await stub.DeleteVariant(request, metadata=ANN)).variant == deleted
    again = await create(stub)
    undelete = pb.UndeleteVariantRequest(id=made.id)
    taken = await refusal(stub.UndeleteVariant(undelete, metadata=ANN))
    assert (taken.code, taken.field) == (grpc.StatusCode.ALREADY_EXISTS, "id")
    await stub.DeleteVariant(pb.DeleteVariantRequest(id=again.id), metadata=ANN)
    back = (await stub.UndeleteVariant(undelete, metadata=ANN)).variant
    assert not back.HasField("delete_time")
    assert back.steering == made.steering


async def test_a_repeated_request_creates_once(stub: rpc.VariantServiceAsyncStub) -> None:
    request_id = str(uuid.uuid4())
    made = await create(stub, request_id=request_id)
    assert await create(stub, request_id=request_id.upper()) == made
    other = pb.CreateVariantRequest(variant=pb.Variant(name="other"), request_id=request_id)
    refused = await refusal(stub.CreateVariant(other, metadata=ANN))
    assert (refused.reason, refused.field) == (Reason.ALREADY_EXISTS, "request_id")


def _with(**fields: Any) -> pb.CreateVariantRequest:
    variant = pb.Variant()
    variant.CopyFrom(PIRATE)
    variant.MergeFrom(pb.Variant(**fields))
    for name in [name for name, value in fields.items() if value == ""]:
        variant.ClearField(name)  # type: ignore[arg-type]
    return pb.CreateVariantRequest(variant=variant)


def _update(*paths: str, **fields: Any) -> pb.UpdateVariantRequest:
    variant = pb.Variant(**{"id": str(uuid.uuid4()), **fields})
    return pb.UpdateVariantRequest(variant=variant, update_mask=FieldMask(paths=paths))


BAD_EDIT = steering_pb2.Steering(edits=[steering_pb2.Edit(feature=KEY, nudge=float("nan"))])
BIG = steering_pb2.Steering(
    scopes=[
        steering_pb2.Scope(
            when=steering_pb2.Condition(
                comparison=steering_pb2.Comparison(
                    left=steering_pb2.FeatureSet(
                        features=[steering_pb2.FeatureKey(sae="s" * 300, index=n) for n in range(256)]
                    ),
                    operator=steering_pb2.Comparison.OPERATOR_GREATER,
                    threshold=1.0,
                )
            ),
            abort=steering_pb2.Abort(),
        )
    ]
    * 20
)
MALFORMED = [
    ("CreateVariant", _with(name=""), "variant.name"),
    ("CreateVariant", _with(name="n" * 201), "variant.name"),
    ("CreateVariant", _with(name="a\0b"), "variant.name"),
    ("CreateVariant", pb.CreateVariantRequest(), "variant.name"),
    ("CreateVariant", _with(description="d" * 2001), "variant.description"),
    ("CreateVariant", _with(model="m" * 1001), "variant.model"),
    ("CreateVariant", _with(steering=BAD_EDIT), "variant.steering.edits[1].nudge"),
    ("CreateVariant", _with(steering=BIG), "variant.steering"),
    ("CreateVariant", pb.CreateVariantRequest(variant=PIRATE, request_id="7"), "request_id"),
    ("GetVariant", pb.GetVariantRequest(), "key"),
    ("GetVariant", pb.GetVariantRequest(id="7"), "id"),
    ("GetVariant", pb.GetVariantRequest(id=str(uuid.uuid4())), "id"),
    ("GetVariant", pb.GetVariantRequest(name=""), "name"),
    ("GetVariant", pb.GetVariantRequest(name="nobody's"), "name"),
    ("ListVariants", pb.ListVariantsRequest(page_size=1001), "page_size"),
    ("ListVariants", pb.ListVariantsRequest(page_token="2"), "page_token"),
    ("UpdateVariant", _update(), "update_mask"),
    ("UpdateVariant", _update("etag"), "update_mask"),
    ("UpdateVariant", _update("name", "steering.edits", name="n"), "update_mask"),
    ("UpdateVariant", _update("*"), "update_mask"),
    ("UpdateVariant", _update("name"), "variant.name"),
    ("UpdateVariant", _update("steering", steering=BAD_EDIT), "variant.steering.edits[0].nudge"),
    ("UpdateVariant", _update("model", id="7"), "variant.id"),
    ("UpdateVariant", _update("model"), "variant.id"),
    ("DeleteVariant", pb.DeleteVariantRequest(), "id"),
    ("DeleteVariant", pb.DeleteVariantRequest(id=str(uuid.uuid4())), "id"),
    ("UndeleteVariant", pb.UndeleteVariantRequest(id="{" + str(uuid.uuid4()) + "}"), "id"),
    ("UndeleteVariant", pb.UndeleteVariantRequest(id=str(uuid.uuid4())), "id"),
]


async def test_what_is_not_allowed_is_refused_by_its_path(stub: rpc.VariantServiceAsyncStub) -> None:
    wrong = []
    for method, request, field in MALFORMED:
        refused = await refusal(getattr(stub, method)(request, metadata=ANN))
        allowed = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        if refused.code not in allowed or refused.field != field:
            wrong.append((method, field, refused))
    assert wrong == []
    assert not (await stub.ListVariants(pb.ListVariantsRequest(), metadata=ANN)).variants


async def test_a_page_of_the_longest_variants_fits_a_message(stub: rpc.VariantServiceAsyncStub) -> None:
    variant = pb.Variant(description="é" * 2000, model="é" * 1000, steering=BIG)
    del variant.steering.scopes[12:]
    for number in range(4):
        variant.name = f"{number}"
        await stub.CreateVariant(pb.CreateVariantRequest(variant=variant), metadata=ANN)
    names: list[str] = []
    request = pb.ListVariantsRequest(page_size=1000)
    while not names or request.page_token:
        page = await stub.ListVariants(request, metadata=ANN)
        assert page.ByteSize() < 4 << 20
        names += [each.name for each in page.variants]
        request.page_token = page.next_page_token
    assert names == ["3", "2", "1", "0"]
