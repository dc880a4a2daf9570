"""The tokens that a call took, for the key's quota: those that its answer counts, or else an estimate."""

from __future__ import annotations

from typing import Any

from hearth.v1 import inference_service_pb2 as pb

_BYTES_A_TOKEN = 4


class Meter:
    """Sees a request and its answers go by."""

    def __init__(self, request: Any) -> None:
        self.tokens = 0
        if isinstance(request, pb.ContrastRequest):  # its answer does not count them
            self.tokens = request.ByteSize() // _BYTES_A_TOKEN

    def see(self, answer: Any) -> None:
        """Counts what an answer tells."""
        match answer:
            case pb.GenerateResponse():
                self.tokens += answer.started.prompt_tokens + len(answer.delta.token_ids)
            case pb.ComputeLogitsResponse() | pb.AttributeResponse():
                self.tokens += answer.position + 1
            case pb.ScoreTextsResponse():
                self.tokens += sum(score.tokens for score in answer.scores)
            case pb.InspectResponse():
                self.tokens += answer.prompt_tokens
            case pb.BatchInspectResponse():
                self.tokens += sum(answer.token_counts)
