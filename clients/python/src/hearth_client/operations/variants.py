"""Variants that are kept on the server."""

from __future__ import annotations

import uuid

from hearth_client.answers import SavedVariant
from hearth_client.operations.methods import (
    CREATE_VARIANT,
    DELETE_VARIANT,
    GET_VARIANT,
    LIST_VARIANTS,
    UPDATE_VARIANT,
)
from hearth_client.operations.models import Session
from hearth_client.operations.steps import Operation
from hearth_client.v1 import variant_service_pb2 as pb
from hearth_client.variant import Variant
from hearth_client.wire.steering import steering, variant_of


def create_variant(
    session: Session, name: str, variant: Variant, description: str
) -> Operation[SavedVariant]:
    """Saves a variant under a name that is not taken."""
    request = pb.CreateVariantRequest(
        variant=_draft(name, variant, description), request_id=str(uuid.uuid4())
    )
    answer = yield from session.patience.ask(CREATE_VARIANT, request)
    return _saved(answer.variant)


def get_variant(session: Session, name: str, identity: str) -> Operation[SavedVariant]:
    """A variant, by name or by id."""
    request = pb.GetVariantRequest(id=identity) if identity else pb.GetVariantRequest(name=name)
    answer = yield from session.patience.ask(GET_VARIANT, request)
    return _saved(answer.variant)


def list_variants(session: Session, deleted: bool) -> Operation[list[SavedVariant]]:
    """All of the owner's, newest first."""
    found: list[SavedVariant] = []
    request = pb.ListVariantsRequest(show_deleted=deleted)
    while True:
        page = yield from session.patience.ask(LIST_VARIANTS, request)
        found += map(_saved, page.variants)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def update_variant(session: Session, saved: SavedVariant, variant: Variant) -> Operation[SavedVariant]:
    """Puts another variant in the place of one, unless somebody changed it since it was read."""
    request = pb.UpdateVariantRequest(
        variant=_draft(saved.name, variant, saved.description),
        etag=saved.etag,
        request_id=str(uuid.uuid4()),
    )
    request.variant.id = saved.id
    request.update_mask.paths.extend(("model", "steering"))
    answer = yield from session.patience.ask(UPDATE_VARIANT, request)
    return _saved(answer.variant)


def delete_variant(session: Session, saved: SavedVariant) -> Operation[SavedVariant]:
    """Puts a variant aside, unless somebody changed it since it was read."""
    answer = yield from session.patience.ask(
        DELETE_VARIANT, pb.DeleteVariantRequest(id=saved.id, etag=saved.etag)
    )
    return _saved(answer.variant)


def _draft(name: str, variant: Variant, description: str) -> pb.Variant:
    return pb.Variant(
        name=name, description=description, model=variant.base_model, steering=steering(variant)
    )


def _saved(message: pb.Variant) -> SavedVariant:
    return SavedVariant(
        message.id,
        message.name,
        message.description,
        message.etag,
        variant_of(message.steering, message.model),
        message.HasField("delete_time"),
    )
