"""Calls of saved steering: plain data in, plain data out, RpcFailure where a call fails."""

from __future__ import annotations

import uuid

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from hearth.v1 import variant_service_pb2 as pb
from hearth.v1 import variant_service_pb2_grpc as pb_grpc
from services.cli.clients.channel import Client, pages
from services.cli.saved import SavedVariant, VariantDraft
from services.cli.wire import variants as wire
from services.rpc.channel import rpc_failures


class VariantClient(Client):
    """Calls on behalf of one owner, who sees no other's variants."""

    def __init__(self, address: str, owner: str = "") -> None:
        super().__init__(address)
        self._metadata = self.owned(owner)

    def _open(self, channel: grpc.aio.Channel) -> None:
        self._stub: pb_grpc.VariantServiceAsyncStub = pb_grpc.VariantServiceStub(channel)

    async def listed(self, *, deleted: bool = False) -> list[SavedVariant]:
        """All of the owner's variants, newest first."""
        request = pb.ListVariantsRequest(show_deleted=deleted)
        answered = pages(self._stub.ListVariants, request, self._metadata)
        return [wire.variant_from_proto(each) async for page in answered for each in page.variants]

    async def named(self, name: str) -> SavedVariant:
        """The variant of a name."""
        with rpc_failures():
            response = await self._stub.GetVariant(pb.GetVariantRequest(name=name), metadata=self._metadata)
        return wire.variant_from_proto(response.variant)

    async def save(self, draft: VariantDraft) -> SavedVariant:
        """Saves a variant under a name that is not taken."""
        request = pb.CreateVariantRequest(variant=wire.draft_message(draft), request_id=str(uuid.uuid4()))
        with rpc_failures():
            response = await self._stub.CreateVariant(request, metadata=self._metadata)
        return wire.variant_from_proto(response.variant)

    async def replace(self, before: SavedVariant, draft: VariantDraft) -> SavedVariant:
        """Saves another steering under the same name, unless somebody changed it since it was read."""
        request = pb.UpdateVariantRequest(
            variant=wire.draft_message(draft, before.id),
            update_mask=FieldMask(paths=["description", "model", "steering"]),
            etag=before.etag,
            request_id=str(uuid.uuid4()),
        )
        with rpc_failures():
            response = await self._stub.UpdateVariant(request, metadata=self._metadata)
        return wire.variant_from_proto(response.variant)

    async def delete(self, variant: SavedVariant) -> SavedVariant:
        """Puts a variant aside."""
        request = pb.DeleteVariantRequest(id=variant.id, etag=variant.etag)
        with rpc_failures():
            response = await self._stub.DeleteVariant(request, metadata=self._metadata)
        return wire.variant_from_proto(response.variant)

    async def restore(self, identity: str) -> SavedVariant:
        """Brings a deleted variant back."""
        request = pb.UndeleteVariantRequest(id=identity)
        with rpc_failures():
            response = await self._stub.UndeleteVariant(request, metadata=self._metadata)
        return wire.variant_from_proto(response.variant)
