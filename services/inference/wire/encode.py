"""Answers into messages."""

from __future__ import annotations

from collections.abc import Sequence

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.inference.host import ModelHost
from services.inference.report import EditOutcome, ReportBook, outcomes
from services.inference.requests import GenerateCall
from services.inference.sae.base import Sae
from services.inference.sampling import TokenChoice
from services.inference.sequence import Delta, Event, Finished, FinishReason, Started, Triggered
from services.inference.tokenizer import MessageSpan, Tokenizer
from services.inference.wire.receipt import receipt, values_in_units
from services.steering.wire import edit_to_proto

_REASONS = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.ABORTED: pb.FINISH_REASON_ABORTED,
}


def token(tokenizer: Tokenizer, number: int) -> prompt_pb2.Token:
    """A token."""
    return prompt_pb2.Token(id=number, piece=tokenizer.piece(number))


def spans(places: Sequence[MessageSpan]) -> list[pb.MessageSpan]:
    """Where messages lie."""
    return [
        pb.MessageSpan(
            message=s.message,
            start=s.start,
            end=s.end,
            content_start=s.content_start,
            content_end=s.content_end,
        )
        for s in places
    ]


def model(host: ModelHost) -> pb.Model:
    """A model with its SAEs."""
    return pb.Model(
        id=host.identity.id,
        context_length=host.model.context_length,
        vocabulary_size=host.model.vocabulary_size,
        d_model=host.model.d_model,
        layer_count=host.model.layer_count,
        dtype=str(host.model.dtype).removeprefix("torch."),
        weights_digest=host.identity.weights_digest,
        has_chat_template=host.tokenizer.has_chat_template,
        saes=[sae(s) for s in host.saes.values()],
    )


def sae(served: Sae) -> pb.Sae:
    """An SAE."""
    weights = served.weights
    return pb.Sae(
        id=served.id,
        hook_point=served.hook_point,
        layer=served.layer,
        d_model=weights.d_model,
        feature_count=weights.d_sae,
        architecture=weights.architecture.value,
        weights_digest=served.weights_digest,
        dtype=str(weights.W_enc.dtype).removeprefix("torch."),
        median_norm=served.median_norm or 0.0,
        strength_constant=served.strength_constant,
        has_scales=served.scales is not None,
    )


def event(host: ModelHost, call: GenerateCall, prompt_ids: Sequence[int], what: Event) -> pb.GenerateResponse:
    """One event of a generation."""
    match what:
        case Started(prompt_tokens, seed):
            return pb.GenerateResponse(started=pb.GenerationStarted(prompt_tokens=prompt_tokens, seed=seed))
        case Delta(text, choices):
            delta = pb.GenerationDelta(text=text, token_ids=[c.token for c in choices])
            delta.logprobs.extend(_logprob(host.tokenizer, c) for c in choices if c.logprob is not None)
            return pb.GenerateResponse(delta=delta)
        case Triggered(name, position, path):
            triggered = pb.ScopeTriggered(event=name, position=position, scope=path)
            return pb.GenerateResponse(scope_triggered=triggered)
        case Finished():
            return pb.GenerateResponse(finished=_finished(host, call, prompt_ids, what))
        case _:
            raise TypeError(f"a generation has no {type(what).__name__}")


def _logprob(tokenizer: Tokenizer, choice: TokenChoice) -> pb.TokenLogprob:
    return pb.TokenLogprob(
        token=token(tokenizer, choice.token),
        logprob=choice.logprob or 0.0,
        top=[pb.TopLogprob(token=token(tokenizer, t), logprob=value) for t, value in choice.top],
    )


def _finished(
    host: ModelHost, call: GenerateCall, prompt_ids: Sequence[int], end: Finished
) -> pb.GenerationFinished:
    message = pb.GenerationFinished(
        reason=_REASONS[end.reason],
        stop=end.stop,
        abort_message=end.abort_message,
        usage=pb.Usage(
            prompt_tokens=len(prompt_ids),
            completion_tokens=end.completion_tokens,
            cached_prompt_tokens=end.cached_tokens,
            queue_seconds=end.times.queue,
            prefill_seconds=end.times.prefill,
            decode_seconds=end.times.decode,
        ),
    )
    if call.report and end.report is not None:
        message.report.CopyFrom(_report(end.report, end))
    if call.receipt:
        message.receipt.CopyFrom(receipt(host, call, prompt_ids, end))
    return message


def _report(book: ReportBook, end: Finished) -> pb.SteeringReport:
    outs = [] if end.compiled is None else outcomes(end.compiled, book)
    return pb.SteeringReport(
        edits=[_edit(o) for o in outs],
        mean_relative_delta=book.relative_sum / book.rows if book.rows else 0.0,
        max_relative_delta=book.relative_max,
        clipped_tokens=len(book.clipped),
        edited_tokens=len(book.edited),
        scopes=[
            pb.ScopeReport(scope=path, tried=tried, held=held)
            for path, (tried, held) in sorted(end.scope_counts.items())
        ],
    )


def _edit(outcome: EditOutcome) -> pb.EditReport:
    return pb.EditReport(
        edit=edit_to_proto(outcome.edit.edit),
        scope=outcome.edit.path,
        requested=values_in_units(outcome.requested),
        delivered=values_in_units(outcome.delivered),
        tokens=outcome.tokens,
        mean_activation_before=outcome.before,
        mean_activation_after=outcome.after,
    )
