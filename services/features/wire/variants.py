"""VariantService's messages, to the domain's words and back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from google.protobuf import timestamp_pb2

from hearth.v1 import steering_pb2
from hearth.v1 import variant_service_pb2 as pb
from services.errors import InvalidField
from services.features.variants import Variant, VariantChange, VariantContent
from services.rpc import fields
from services.steering.wire import steering_from_proto, steering_to_proto

MAX_NAME = 200
MAX_DESCRIPTION = 2000
MAX_MODEL = 1000
MAX_STEERING_BYTES = 1 << 20
"""So that an answer with a few of them fits gRPC's 4 MiB."""
MAX_PAGE = 1000
CHANGEABLE = ("name", "description", "model", "steering")


@dataclass(frozen=True, slots=True)
class UpdateCall:
    """What changes of which variant."""

    id: str
    change: VariantChange
    etag: str
    request_id: str


def created(request: pb.CreateVariantRequest) -> tuple[VariantContent, str]:
    """What is saved, and the request_id."""
    asked = request.variant
    content = VariantContent(_name(asked), _description(asked), _model(asked), _steering(asked))
    return content, fields.optional_uuid(request.request_id, "request_id")


def key(request: pb.GetVariantRequest) -> tuple[str, str]:
    """`id` or `name`, and which."""
    match request.WhichOneof("key"):
        case "id":
            return "id", fields.uuid(request.id, "id")
        case "name":
            return "name", fields.text(request.name, "name", MAX_NAME, least=1)
        case _:
            raise InvalidField("key", "is not set; allowed: one of id, name")


def updated(request: pb.UpdateVariantRequest) -> UpdateCall:
    """What changes. Values that the mask does not name are not looked at."""
    asked = request.variant
    named = fields.mask(request.update_mask.paths, CHANGEABLE)
    change = VariantChange(
        name=_name(asked) if "name" in named else None,
        description=_description(asked) if "description" in named else None,
        model=_model(asked) if "model" in named else None,
        steering=_steering(asked) if "steering" in named else None,
    )
    request_id = fields.optional_uuid(request.request_id, "request_id")
    return UpdateCall(fields.uuid(asked.id, "variant.id"), change, fields.etag(request.etag), request_id)


def variant(found: Variant) -> pb.Variant:
    """The message of a variant."""
    content = found.content
    return pb.Variant(
        id=found.id,
        name=content.name,
        description=content.description,
        model=content.model,
        steering=steering_pb2.Steering.FromString(content.steering),
        etag=found.etag,
        create_time=_time(found.created),
        update_time=_time(found.updated),
        delete_time=_time(found.deleted) if found.deleted else None,
    )


def _name(asked: pb.Variant) -> str:
    return fields.text(asked.name, "variant.name", MAX_NAME, least=1)


def _description(asked: pb.Variant) -> str:
    return fields.text(asked.description, "variant.description", MAX_DESCRIPTION)


def _model(asked: pb.Variant) -> str:
    return fields.text(asked.model, "variant.model", MAX_MODEL)


def _steering(asked: pb.Variant) -> bytes:
    """Serialised, its defaults filled in: what it does stays the same, whatever the defaults of a later release are."""
    field = "variant.steering"
    message = steering_to_proto(steering_from_proto(asked.steering, field))
    if message.ByteSize() > MAX_STEERING_BYTES:
        raise InvalidField(field, f"takes {message.ByteSize():,} bytes; allowed: {MAX_STEERING_BYTES:,}")
    return message.SerializeToString(deterministic=True)


def _time(moment: datetime) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message
