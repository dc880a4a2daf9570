"""Hearth's client: steer a model by the features of its sparse autoencoders, over gRPC.

    from hearth_client import Client, Variant

    with Client() as client:
        variant = Variant()
        variant.set(client.features.search("sailing ships", top_k=1)[0], 0.5)
        for chunk in client.chat.completions.create(
            [{"role": "user", "content": "What did you do this weekend?"}], variant, stream=True
        ):
            print(chunk.text, end="", flush=True)

`AsyncClient` is the same on an event loop. The API's own messages are in `hearth_client.v1`.
"""

from hearth_client.answers import (
    Attribution,
    AutoCondition,
    AutoSteered,
    ChatCompletion,
    ChatMessage,
    Chunk,
    Contrast,
    FeatureActivation,
    FeatureAttribution,
    InferenceContext,
    Inspection,
    SavedVariant,
    Token,
)
from hearth_client.async_chat import AsyncChatStream
from hearth_client.async_client import AsyncClient
from hearth_client.channel import Mesh
from hearth_client.chat import ChatStream
from hearth_client.client import Client
from hearth_client.conditions import AllOf, AnyOf, Comparison, Condition, Not
from hearth_client.errors import (
    Cancelled,
    Conflict,
    DeadlineExceeded,
    FieldViolation,
    Forbidden,
    HearthError,
    InferenceAborted,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServerError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from hearth_client.features import Feature, FeatureGroup
from hearth_client.variant import Edit, FeatureEdits, Limits, Scope, Variant

__version__ = "0.1.0"

__all__ = [
    "AllOf",
    "AnyOf",
    "AsyncChatStream",
    "AsyncClient",
    "Attribution",
    "AutoCondition",
    "AutoSteered",
    "Cancelled",
    "ChatCompletion",
    "ChatMessage",
    "ChatStream",
    "Chunk",
    "Client",
    "Comparison",
    "Condition",
    "Conflict",
    "Contrast",
    "DeadlineExceeded",
    "Edit",
    "Feature",
    "FeatureActivation",
    "FeatureAttribution",
    "FeatureEdits",
    "FeatureGroup",
    "FieldViolation",
    "Forbidden",
    "HearthError",
    "InferenceAborted",
    "InferenceContext",
    "Inspection",
    "InvalidRequest",
    "Limits",
    "Mesh",
    "Not",
    "NotFound",
    "RateLimited",
    "SavedVariant",
    "Scope",
    "ServerError",
    "Token",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Variant",
]
