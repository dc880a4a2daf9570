"""What can go wrong, in the field's words.

Every error that a caller may see is one of these; `services.rpc` alone turns them into a gRPC status.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Mirrors `hearth.v1.ErrorReason` without its prefix."""

    INVALID_FIELD = "INVALID_FIELD"
    MODEL_NOT_SERVED = "MODEL_NOT_SERVED"
    SAE_NOT_SERVED = "SAE_NOT_SERVED"
    FEATURE_OUT_OF_RANGE = "FEATURE_OUT_OF_RANGE"
    NOT_FOUND = "NOT_FOUND"
    PROMPT_TOO_LONG = "PROMPT_TOO_LONG"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    QUEUE_FULL = "QUEUE_FULL"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    MODEL_LOADING = "MODEL_LOADING"
    DEADLINE_UNREACHABLE = "DEADLINE_UNREACHABLE"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    DEPENDENCY_UNAVAILABLE = "DEPENDENCY_UNAVAILABLE"
    IMPORT_INCOMPLETE = "IMPORT_INCOMPLETE"
    ENGINE_UNSUPPORTED = "ENGINE_UNSUPPORTED"
    KEY_REFUSED = "KEY_REFUSED"
    NOT_ALLOWED = "NOT_ALLOWED"
    INTERNAL = "INTERNAL"


class HearthError(Exception):
    """Base of all errors that callers may see.

    `field` is the path of the request field at fault (`steering.edits[2].nudge`), empty if none is.
    `retry_after` is in seconds; None where trying again does not help.
    """

    reason: Reason = Reason.INTERNAL

    def __init__(self, message: str, *, field: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after


class InvalidField(HearthError):
    """A field is missing or has a value that is not allowed."""

    reason = Reason.INVALID_FIELD

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}", field=field)


class ModelNotServed(HearthError):
    """The model is not served here."""

    reason = Reason.MODEL_NOT_SERVED

    def __init__(self, model: str, served: list[str]) -> None:
        super().__init__(
            f"model {model[:200]!r} is not served here; served: {', '.join(served)}", field="model"
        )


class SaeNotServed(HearthError):
    """The SAE is not loaded on this model."""

    reason = Reason.SAE_NOT_SERVED

    def __init__(self, field: str, sae: str, served: list[str]) -> None:
        known = ", ".join(served) or "none"
        super().__init__(
            f"{field}: SAE {sae[:200]!r} is not loaded on this model; loaded: {known}", field=field
        )


class FeatureOutOfRange(HearthError):
    """The SAE has no feature of that index."""

    reason = Reason.FEATURE_OUT_OF_RANGE

    def __init__(self, field: str, index: int, count: int) -> None:
        super().__init__(f"{field}: feature {index} does not exist; allowed: 0 to {count - 1}", field=field)


class NotFound(HearthError):
    """No such resource."""

    reason = Reason.NOT_FOUND


class PromptTooLong(HearthError):
    """The prompt does not fit the model's context."""

    reason = Reason.PROMPT_TOO_LONG

    def __init__(self, field: str, tokens: int, allowed: int) -> None:
        super().__init__(f"{field}: {tokens} tokens; allowed here: at most {allowed}", field=field)


class QueueFull(HearthError):
    """Too many requests wait."""

    reason = Reason.QUEUE_FULL

    def __init__(self, waiting: int, retry_after: float) -> None:
        super().__init__(
            f"{waiting} requests wait already; try again in {retry_after:.0f} s", retry_after=retry_after
        )


class QuotaExceeded(HearthError):
    """The caller has used up what it may ask for."""

    reason = Reason.QUOTA_EXCEEDED

    def __init__(self, problem: str, retry_after: float) -> None:
        super().__init__(f"{problem}; try again in {max(1, round(retry_after))} s", retry_after=retry_after)


class ModelLoading(HearthError):
    """The model is still loading, or the server drains."""

    reason = Reason.MODEL_LOADING


class DeadlineUnreachable(HearthError):
    """The call's deadline passed, or cannot be met."""

    reason = Reason.DEADLINE_UNREACHABLE


class EtagMismatch(HearthError):
    """The resource changed since the caller read it."""

    reason = Reason.ETAG_MISMATCH

    def __init__(self, field: str, now: str) -> None:
        super().__init__(
            f"{field}: the resource has changed meanwhile (its etag is {now!r} now); read it again",
            field=field,
        )


class AlreadyExists(HearthError):
    """A resource of that name, or a request of that id, is there and is another one."""

    reason = Reason.ALREADY_EXISTS


class DependencyUnavailable(HearthError):
    """Something that the service needs does not answer."""

    reason = Reason.DEPENDENCY_UNAVAILABLE

    def __init__(self, what: str, problem: str, retry_after: float = 2.0) -> None:
        super().__init__(f"{what} does not answer ({problem}); try again", retry_after=retry_after)


class ImportIncomplete(HearthError):
    """An import cannot be shown, because features are missing."""

    reason = Reason.IMPORT_INCOMPLETE


class EngineUnsupported(HearthError):
    """The engine that serves the model cannot do this; another one can."""

    reason = Reason.ENGINE_UNSUPPORTED

    def __init__(self, what: str, engine: str, why: str, *, field: str = "") -> None:
        super().__init__(f"{what}: not on the engine {engine}: {why}; see docs/engines.md", field=field)


class Unauthenticated(HearthError):
    """The caller shows no valid key, and is not trusted without one."""

    reason = Reason.KEY_REFUSED

    def __init__(self) -> None:
        super().__init__("no valid API key: send one as metadata, `authorization: Bearer KEY`")


class NotAllowed(HearthError):
    """The caller is known, and may not do this."""

    reason = Reason.NOT_ALLOWED
