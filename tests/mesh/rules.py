"""What the fields of each service's requests may never be; see malformed.py."""

from __future__ import annotations

from tests.mesh.malformed import HUGE, MEGABYTE, Bad, Rules

STEERING_FREE = frozenset({"latched"})
_VALUE: Bad = [("101", 101.0), ("-101", -101.0), ("huge", 3e38)]
STEERING: dict[str, Bad] = {
    "Edit.nudge": _VALUE,
    "Edit.pin": _VALUE,
    "Edit.scale": _VALUE,
    "message": [("1 MB", MEGABYTE)],
    "event": [("1 MB", MEGABYTE)],
    "max_delta": [("0", 0.0), ("negative", -1.0), ("huge", 1e30)],
    "min_nudge_entropy": [("negative", -1.0), ("above the largest", 50.0)],
    "max_nudge_entropy": [("negative", -1.0)],
    "nonzero_strength_threshold": [("negative", -1.0)],
    "operator": [("unspecified", 0)],
}
STEERING_REQUIRED = frozenset({"when", "left"})
STEERING_MAY_BE_EMPTY = frozenset({"edits", "scopes"})

INFERENCE = Rules(
    free=STEERING_FREE
    | {
        "page_size", "add_generation_prompt", "seed", "top_k", "logprobs", "ignore_end", "report", "receipt",
        "digests_only", "token_logprobs",
        "end",  # a span's end is judged together with its start
    },
    bad=STEERING
    | {
        "ComputeLogitsRequest.top_k": [("huge", HUGE)],
        "AttributeRequest.top_k": [("huge", HUGE)],
        "ContrastRequest.top_k": [("huge", HUGE)],
        "model": [("unknown", "no/such-model"), ("1 MB", MEGABYTE)],
        "sae": [("unknown", "no-such-sae"), ("1 MB", MEGABYTE)],
        "content": [("1 MB", MEGABYTE)],
        "text": [("1 MB", MEGABYTE), ("empty", "")],
        "page_token": [("unknown", "zzz"), ("huge", "9" * 30), ("negative", "-1")],
        "max_tokens": [("0", 0)],
        "stop": [("empty", [""]), ("17 strings", ["x"] * 17), ("long", ["x" * 257])],
        "start": [("after the end", HUGE)],
        "ids": [("no token", HUGE), ("too many", [1] * 20_000)],
        "temperature": [("negative", -1.0), ("huge", 1e30)],
        "top_p": [("0", 0.0), ("2", 2.0), ("negative", -0.5)],
        "ChatMessage.role": [("unspecified", 0)],
    },
    required=STEERING_REQUIRED | {"prompt"},
    may_be_empty=STEERING_MAY_BE_EMPTY | {"spans"},
)  # fmt: skip

_UUID: Bad = [("no UUID", "1234"), ("1 MB", MEGABYTE)]
_SHARE: Bad = [("negative", -0.1), ("above 1", 1.1)]
_NAME: Bad = [("empty", ""), ("U+0000", "a\0"), ("1 MB", MEGABYTE)]

FEATURES = Rules(
    free=STEERING_FREE
    | {"allow_missing", "labelled_only", "restart", "show_deleted", "histogram", "TokenWeight.id"},
    bad=STEERING
    | {
        "page_size": [("huge", HUGE)],
        "top_k": [("huge", HUGE)],
        "page_token": [("unknown", "zzz"), ("no base64", "é"), ("1 MB", MEGABYTE)],
        "id": _UUID,
        "ids": [("no UUID", ["1234"]), ("too many", ["00000000-0000-4000-8000-000000000000"] * 9000)],
        "sae": [("unknown", "no/such"), ("1 MB", MEGABYTE)],
        "query": [("empty", ""), ("blank", " \n"), ("2,001 characters", "x" * 2001), ("1 MB", MEGABYTE)],
        "layers": [("huge", HUGE), ("too many", [1] * 201)],
        "label_sources": [("empty", [""]), ("too many", ["offline"] * 201)],
        "min_density": _SHARE,
        "max_density": [*_SHARE, ("below min_density", 0.0)],
        "min_label_score": _SHARE,
        "Catalog.sae": _NAME,
        "hook_point": _NAME,
        "Catalog.model": _NAME,
        "weights_digest": _NAME,
        "content_digest": [("empty", ""), ("129 characters", "x" * 129)],
        "feature_count": [("0", 0), ("huge", HUGE)],
        "histogram_edges": [("one", [1.0]), ("not rising", [1.0, 1.0]), ("too many", [*map(float, range(2000))])],
        "import_id": [("unknown", "zzz"), ("1 MB", MEGABYTE)],
        "CommitImportRequest.import_id": [("empty", ""), ("unknown", "zzz"), ("1 MB", MEGABYTE)],
        "encoder": [("1 MB", MEGABYTE)],
        "text_digest": [("empty", b""), ("31 bytes", b"x" * 31)],
        "vector": [("empty", []), ("too many", [0.5] * 20_000)],
        "decoder": [("another width", [1.0] * 3), ("too many", [0.5] * 20_000)],
        "label": [("81 characters", "x" * 81), ("U+0000", "a\0"), ("1 MB", MEGABYTE)],
        "description": [("2,001 characters", "x" * 2001), ("U+0000", "a\0"), ("1 MB", MEGABYTE)],
        "label_source": [("1 MB", MEGABYTE)],
        "label_score": _SHARE,
        "label_fuzzing": _SHARE,
        "label_null": _SHARE,
        "Feature.density": _SHARE,
        "Feature.scale": [("negative", -1.0)],
        "token": [("1 MB", MEGABYTE)],
        "tokens": [("none", []), ("one too few", ["x"]), ("too many", ["x"] * 1100)],
        "activations": [("none", []), ("one", [1.0]), ("NaN", [float("nan")] * 3)],
        "quantile": _SHARE,
        "similarity": [("2", 2.0), ("-2", -2.0)],
        "document": [("1 MB", MEGABYTE)],
        "paths": [("none", []), ("what cannot be changed", ["density"]), ("nothing", [""])],
        "note": [("2,001 characters", "x" * 2001), ("U+0000", "a\0")],
        "etag": [("1 MB", MEGABYTE)],
        "request_id": _UUID,
        "name": [("empty", ""), ("201 characters", "x" * 201), ("U+0000", "a\0")],
        "model": [("U+0000", "a\0"), ("1 MB", MEGABYTE)],
        # A key in a steering is only kept; whether there is such a feature is not a variant's affair.
        "FeatureKey.index": [("huge", HUGE)],
    },
    required=STEERING_REQUIRED | {"catalog", "feature", "update_mask"},
    may_be_empty=STEERING_MAY_BE_EMPTY
    | {
        "text_vectors", "promoted", "suppressed", "doses", "examples", "decoder_neighbors", "coactivation_neighbors",
    },
    too_many={
        "keys": 9000, "features": 1001, "text_vectors": 4001, "decoder_neighbors": 1001,
        "coactivation_neighbors": 1001,
    },
    unread={
        "BeginImportRequest": r"catalog\.(encoder|import_time)",
        "BatchUpsertFeaturesRequest": r"features\[\d+\]\.feature\.(id|etag|update_time|revision)",
        "UpdateFeatureRequest": r"feature\.(?!key|label$|description$)",
        "CreateVariantRequest": r"variant\.(id|etag|\w+_time)|.*\.(sae|index)$",
        "UpdateVariantRequest": r"variant\.(etag|\w+_time)|.*\.(sae|index)$",
    },
)  # fmt: skip

AUTOSTEER = Rules(
    free=frozenset(),
    bad={
        "model": [("unknown", "no/such-model"), ("1 MB", MEGABYTE)],
        "sae": [("unknown", "no-such-sae"), ("1 MB", MEGABYTE)],
        "AutoSteerJudge.model": [("201 characters", "x" * 201), ("U+0000", "a\0")],
        "behavior": [("2,001 characters", "x" * 2001), ("U+0000", "a\0"), ("1 MB", MEGABYTE)],
        "DraftContrastRequest.behavior": [("empty", ""), ("blank", " \n"), ("1 MB", MEGABYTE)],
        "content": [("1 MB", MEGABYTE), ("U+0000", "a\0")],
        "text": [("empty", ""), ("1 MB", MEGABYTE), ("U+0000", "a\0")],
        "ChatMessage.role": [("unspecified", 0)],
        "max_features": [("0", 0), ("6", 6), ("huge", HUGE)],
        "max_trials": [("0", 0), ("fewer than features", 1), ("501", 501), ("huge", HUGE)],
        "max_tokens": [("0", 0), ("257", 257)],
        "count": [("0", 0), ("65", 65), ("huge", HUGE)],
        "seed": [("2^63", 2**63)],
        "seconds": [("9", 9), ("negative", -1), ("a day and more", 90_000), ("huge", 2**62)],
        "nanos": [("negative", -999_999_999)],
        "name": [("unknown", "no-such-judge"), ("1 MB", MEGABYTE)],
        "endpoint": [("no URL", "localhost"), ("a file", "file:///etc/passwd"), ("1 MB", MEGABYTE)],
        "temperature": [("negative", -0.1), ("2.1", 2.1)],
        "request_id": _UUID,
        "id": [("empty", ""), *_UUID],
        "page_size": [("huge", HUGE)],
        "page_token": [("unknown", "zzz"), ("no base64", "é"), ("1 MB", MEGABYTE)],
        "after_sequence": [("2^63", 2**63)],
    },
    required=frozenset({"spec"}),
    may_be_empty=frozenset({"positive", "negative", "prompts"}),
)  # fmt: skip
