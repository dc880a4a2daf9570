"""What each call of the API does, written once for the sync and the async client.

An operation is a generator: it yields steps (a call, a pause), is sent what they answer, and returns its result. It
neither waits nor touches a channel: `running.py` and `async_running.py` carry the steps out.
"""

from hearth_client.operations.autosteer import Tier, Told, autoconditional, autosteer
from hearth_client.operations.features import lookup, neighbors, rerank, search
from hearth_client.operations.generation import Generation
from hearth_client.operations.models import Options, Session
from hearth_client.operations.reading import attribute, contrast, inspect, logits
from hearth_client.operations.steps import Begin, Call, Operation, Pause, Step, Stream
from hearth_client.operations.variants import (
    create_variant,
    delete_variant,
    get_variant,
    list_variants,
    update_variant,
)

__all__ = [
    "Begin",
    "Call",
    "Generation",
    "Operation",
    "Options",
    "Pause",
    "Session",
    "Step",
    "Stream",
    "Tier",
    "Told",
    "attribute",
    "autoconditional",
    "autosteer",
    "contrast",
    "create_variant",
    "delete_variant",
    "get_variant",
    "inspect",
    "list_variants",
    "logits",
    "lookup",
    "neighbors",
    "rerank",
    "search",
    "update_variant",
]
