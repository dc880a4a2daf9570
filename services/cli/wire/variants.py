"""Messages of saved steering and the command line's plain data, each made from the other."""

from __future__ import annotations

from datetime import UTC

from google.protobuf import json_format

from hearth.v1 import variant_service_pb2 as pb
from services.cli.saved import SavedVariant, VariantDraft
from services.steering.edits import Steering
from services.steering.wire import steering_from_proto, steering_to_proto


def draft_message(draft: VariantDraft, identity: str = "") -> pb.Variant:
    """The message of what is saved."""
    return pb.Variant(
        id=identity,
        name=draft.name,
        description=draft.description,
        model=draft.model,
        steering=steering_to_proto(draft.steering),
    )


def variant_from_proto(message: pb.Variant) -> SavedVariant:
    """A saved steering."""
    return SavedVariant(
        id=message.id,
        draft=VariantDraft(
            name=message.name,
            steering=steering_from_proto(message.steering, "steering"),
            description=message.description,
            model=message.model,
        ),
        etag=message.etag,
        created=message.create_time.ToDatetime(UTC),
        updated=message.update_time.ToDatetime(UTC),
        deleted=message.delete_time.ToDatetime(UTC) if message.HasField("delete_time") else None,
    )


def steering_json(steering: Steering, indent: int | None = 2) -> str:
    """A steering as JSON (proto3's own mapping), as `hearth chat --steering` reads it."""
    return json_format.MessageToJson(steering_to_proto(steering), indent=indent)
