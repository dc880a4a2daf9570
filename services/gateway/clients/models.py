"""The models that inference serves, over gRPC."""

from __future__ import annotations

from hearth.v1 import inference_service_pb2 as pb
from services.gateway.clients.services import Services
from services.gateway.models import ServedModel, ServedSae
from services.rpc.channel import rpc_failures


async def served_models(services: Services) -> list[ServedModel]:
    """All of them, in inference's order."""
    found: list[ServedModel] = []
    request = pb.ListModelsRequest()
    while True:
        with rpc_failures():
            page = await services.inference.ListModels(request)
        found += map(_model, page.models)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _model(model: pb.Model) -> ServedModel:
    return ServedModel(
        model.id,
        model.context_length,
        model.has_chat_template,
        model.weights_digest,
        tuple(
            ServedSae(
                sae.id,
                sae.hook_point,
                sae.layer,
                sae.feature_count,
                sae.strength_constant,
                sae.has_scales,
                sae.weights_digest,
            )
            for sae in model.saes
        ),
    )
