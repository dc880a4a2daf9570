"""What Prometheus is told of keys: how often one did not open, and why."""

from __future__ import annotations

from prometheus_client import Counter

REQUESTS, TOKENS = "requests_per_minute", "tokens_per_day"
"""The quotas."""
_QUOTA = Counter("hearth_quota_refusals", "Requests that were refused because a quota was used up", ["quota"])
_UNKNOWN = Counter(
    "hearth_key_refusals", "Requests that were refused because their key is unknown, or revoked"
)
for _quota in (REQUESTS, TOKENS):
    _QUOTA.labels(_quota)  # there from the start, so that the first refusal is an increase


def quota_used_up(quota: str) -> None:
    """A request was refused."""
    _QUOTA.labels(quota).inc()


def key_refused() -> None:
    """A key did not open."""
    _UNKNOWN.inc()
