"""VariantService over gRPC: each method decodes, makes one call, encodes."""

from __future__ import annotations

from hearth.v1 import variant_service_pb2 as pb
from hearth.v1 import variant_service_pb2_grpc as rpc
from services.features.variants import Variants
from services.features.wire import variants as wire
from services.rpc import fields
from services.rpc.calls import Context, owner


class VariantsServicer(rpc.VariantServiceServicer):
    """Answers for the owner on whose behalf a call is made."""

    def __init__(self, variants: Variants) -> None:
        self._variants = variants

    async def CreateVariant(
        self, request: pb.CreateVariantRequest, context: Context
    ) -> pb.CreateVariantResponse:
        """See the proto."""
        content, request_id = wire.created(request)
        made = await self._variants.create(owner(context), content, request_id)
        return pb.CreateVariantResponse(variant=wire.variant(made))

    async def GetVariant(self, request: pb.GetVariantRequest, context: Context) -> pb.GetVariantResponse:
        """See the proto."""
        which, key = wire.key(request)
        read = self._variants.get if which == "id" else self._variants.by_name
        return pb.GetVariantResponse(variant=wire.variant(await read(owner(context), key)))

    async def ListVariants(
        self, request: pb.ListVariantsRequest, context: Context
    ) -> pb.ListVariantsResponse:
        """See the proto."""
        size = fields.page_size(request.page_size, wire.MAX_PAGE)
        found, following = await self._variants.page(
            owner(context), size, request.page_token, with_deleted=request.show_deleted
        )
        return pb.ListVariantsResponse(variants=map(wire.variant, found), next_page_token=following)

    async def UpdateVariant(
        self, request: pb.UpdateVariantRequest, context: Context
    ) -> pb.UpdateVariantResponse:
        """See the proto."""
        call = wire.updated(request)
        now = await self._variants.update(owner(context), call.id, call.change, call.etag, call.request_id)
        return pb.UpdateVariantResponse(variant=wire.variant(now))

    async def DeleteVariant(
        self, request: pb.DeleteVariantRequest, context: Context
    ) -> pb.DeleteVariantResponse:
        """See the proto."""
        variant_id = fields.uuid(request.id, "id")
        now = await self._variants.delete(owner(context), variant_id, fields.etag(request.etag))
        return pb.DeleteVariantResponse(variant=wire.variant(now))

    async def UndeleteVariant(
        self, request: pb.UndeleteVariantRequest, context: Context
    ) -> pb.UndeleteVariantResponse:
        """See the proto."""
        now = await self._variants.undelete(owner(context), fields.uuid(request.id, "id"))
        return pb.UndeleteVariantResponse(variant=wire.variant(now))
