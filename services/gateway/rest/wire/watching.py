"""What is to be known of a job before its events are followed."""

from __future__ import annotations

from hearth.v1 import autosteer_service_pb2 as pb

_ENDED = (pb.AUTO_STEER_STATE_SUCCEEDED, pb.AUTO_STEER_STATE_FAILED, pb.AUTO_STEER_STATE_CANCELLED)


def job_of(asked: pb.WatchAutoSteerJobRequest) -> pb.GetAutoSteerJobRequest:
    """Asks for the job whose events are asked for."""
    return pb.GetAutoSteerJobRequest(id=asked.id)


def has_all(asked: pb.WatchAutoSteerJobRequest, found: pb.GetAutoSteerJobResponse) -> bool:
    """Whether the caller has all events that the job will ever have."""
    job = found.job
    return job.state in _ENDED and asked.after_sequence >= job.last_sequence
