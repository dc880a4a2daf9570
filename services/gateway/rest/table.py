"""The routes of Hearth's own REST API: each is one RPC. Everything else about them follows from the schema.

Bodies and answers are the RPC's messages as canonical proto3 JSON. A part of a path in braces is a field of the
request. Where there is no body (GET, DELETE), the other fields are query parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

BASE = "/hearth/v1"
"""Where the routes begin."""
_NAMED = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route."""

    verb: str
    path: str
    """Below BASE."""
    service: str
    """The field of `Services` that has the stub: inference, features, variants or autosteer."""
    method: str
    """The RPC's name."""
    requires: tuple[str, ...] = ()
    """Fields of the request, by their JSON names, without which the RPC refuses it."""
    parameters: Mapping[str, str] | None = None
    """Parameters of path and query, with the fields that they fill; None: every field by its own name."""
    operation: str = ""
    """The operation's name in OpenAPI; empty takes the RPC's."""
    last_event: str = ""
    """Of a stream that can be taken up again: the field that Last-Event-ID fills."""

    @property
    def in_path(self) -> tuple[str, ...]:
        """The parameters that stand in the path."""
        return tuple(_NAMED.findall(self.path))

    @property
    def has_body(self) -> bool:
        """Whether fields that are not in the path come in a body."""
        return self.verb in ("POST", "PATCH")

    @property
    def operation_id(self) -> str:
        """The operation's name in OpenAPI."""
        return self.operation or self.method[0].lower() + self.method[1:]


_ID = {"id": "id"}

ROUTES = (
    Route("GET", "/models", "inference", "ListModels"),
    Route("POST", "/tokenize", "inference", "Tokenize", ("prompt",)),
    Route("POST", "/generate", "inference", "Generate", ("prompt",)),
    Route("POST", "/logits", "inference", "ComputeLogits", ("prompt",)),
    Route("POST", "/score-texts", "inference", "ScoreTexts", ("continuations",)),
    Route("POST", "/inspect", "inference", "Inspect", ("prompt",)),
    Route("POST", "/batch-inspect", "inference", "BatchInspect", ("prompts",)),
    Route("POST", "/attribute", "inference", "Attribute", ("prompt",)),
    Route("POST", "/contrast", "inference", "Contrast", ("positive", "negative")),
    Route("GET", "/catalogs", "features", "ListCatalogs"),
    Route("POST", "/features/search", "features", "SearchFeatures", ("query",)),
    Route("POST", "/features/rerank", "features", "RerankFeatures", ("query",)),
    Route("POST", "/features/neighbors", "features", "FindNeighbors"),
    Route("POST", "/features/batch-get", "features", "BatchGetFeatures"),
    Route("GET", "/features", "features", "ListFeatures"),
    Route(
        "GET",
        "/features/by-index",
        "features",
        "GetFeature",
        ("index",),
        {"sae": "key.sae", "index": "key.index", "view": "view"},
        "getFeatureByIndex",
    ),
    Route("GET", "/features/{id}", "features", "GetFeature", (), _ID | {"view": "view"}),
    Route(
        "GET",
        "/features/{id}/revisions",
        "features",
        "ListFeatureRevisions",
        (),
        _ID | {"pageSize": "page_size", "pageToken": "page_token"},
    ),
    Route("PATCH", "/features", "features", "UpdateFeature", ("feature", "updateMask")),
    Route("GET", "/variants", "variants", "ListVariants"),
    Route("POST", "/variants", "variants", "CreateVariant", ("variant",)),
    Route(
        "GET",
        "/variants/by-name",
        "variants",
        "GetVariant",
        ("name",),
        {"name": "name"},
        "getVariantByName",
    ),
    Route("GET", "/variants/{id}", "variants", "GetVariant", (), _ID),
    Route("PATCH", "/variants/{id}", "variants", "UpdateVariant", ("updateMask",), {"id": "variant.id"}),
    Route("DELETE", "/variants/{id}", "variants", "DeleteVariant"),
    Route("POST", "/variants/{id}/undelete", "variants", "UndeleteVariant"),
    Route("GET", "/autosteer/jobs", "autosteer", "ListAutoSteerJobs"),
    Route("POST", "/autosteer/jobs", "autosteer", "CreateAutoSteerJob", ("spec",)),
    Route("GET", "/autosteer/jobs/{id}", "autosteer", "GetAutoSteerJob"),
    Route("POST", "/autosteer/jobs/{id}/cancel", "autosteer", "CancelAutoSteerJob"),
    Route(
        "GET",
        "/autosteer/jobs/{id}/events",
        "autosteer",
        "WatchAutoSteerJob",
        (),
        _ID | {"after": "after_sequence"},
        last_event="after",
    ),
    Route("POST", "/autosteer/draft-contrast", "autosteer", "DraftContrast", ("behavior",)),
    Route("POST", "/autosteer/suggest-condition", "autosteer", "SuggestCondition"),
)
"""All of them, fixed paths before those with a field in the same place."""
