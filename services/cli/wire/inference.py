"""Messages of hearth.v1 and the command line's plain data, each made from the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf import json_format

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2, steering_pb2
from services.cli import answers
from services.cli.questions import Generation, Message, Prompt
from services.errors import InvalidField
from services.steering.conditions import FeatureKey
from services.steering.edits import Edit, Operation, Steering
from services.steering.wire import steering_from_proto, steering_to_proto


def steering_from_json(text: str, field: str) -> Steering:
    """The steering in a JSON text (proto3's own mapping). Raises InvalidField, with the path from `field` on."""
    try:
        message = json_format.Parse(text, steering_pb2.Steering())
    except json_format.ParseError as error:
        raise InvalidField(field, f"is no hearth.v1.Steering in JSON: {error}") from None
    return steering_from_proto(message, field)


def prompt_to_proto(prompt: Prompt) -> prompt_pb2.Prompt:
    """The message of a prompt."""
    if isinstance(prompt, str):
        return prompt_pb2.Prompt(text=prompt)
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=map(_message, prompt)))


def generate_request(model: str, generation: Generation) -> pb.GenerateRequest:
    """The request for a generation; steering that does nothing is left out."""
    asked = generation.sampling
    sampling = pb.Sampling(stop=asked.stop)
    for name in ("seed", "max_tokens", "temperature", "top_p"):
        value = getattr(asked, name)
        if value is not None:
            setattr(sampling, name, value)
    return pb.GenerateRequest(
        model=model,
        prompt=prompt_to_proto(generation.prompt),
        steering=steering_message(generation.steering),
        sampling=sampling,
        report=generation.report,
        receipt=generation.receipt,
    )


def steering_message(steering: Steering) -> steering_pb2.Steering | None:
    """The message of a steering; None where it does nothing."""
    return None if steering.empty else steering_to_proto(steering)


def model_from_proto(message: pb.Model) -> answers.ModelInfo:
    """A served model."""
    return answers.ModelInfo(
        id=message.id,
        context_length=message.context_length,
        vocabulary_size=message.vocabulary_size,
        d_model=message.d_model,
        layer_count=message.layer_count,
        dtype=message.dtype,
        has_chat_template=message.has_chat_template,
        weights_digest=message.weights_digest,
        saes=tuple(
            answers.SaeInfo(
                id=sae.id,
                hook_point=sae.hook_point,
                layer=sae.layer,
                feature_count=sae.feature_count,
                architecture=sae.architecture,
                dtype=sae.dtype,
                median_norm=sae.median_norm,
                strength_constant=sae.strength_constant,
                has_scales=sae.has_scales,
                weights_digest=sae.weights_digest,
            )
            for sae in message.saes
        ),
    )


def tokens_from_proto(message: pb.TokenizeResponse) -> answers.Tokens:
    """A tokenised prompt."""
    return answers.Tokens(
        tokens=tuple(map(token_from_proto, message.tokens)),
        spans=tuple(
            answers.Span(span.message, span.start, span.end, span.content_start, span.content_end)
            for span in message.spans
        ),
    )


def token_from_proto(message: prompt_pb2.Token) -> answers.Token:
    """A token, its bytes readable whatever they are."""
    try:
        text = message.piece.decode("utf-8")
    except UnicodeDecodeError:
        text = "".join(f"<{byte:02X}>" for byte in message.piece)
    return answers.Token(message.id, text)


def event_from_proto(message: pb.GenerateResponse) -> answers.Event | None:
    """One event of a generation; None for one that this version does not know."""
    match message.WhichOneof("event"):
        case "started":
            return answers.Started(message.started.prompt_tokens, message.started.seed)
        case "delta":
            return answers.Delta(message.delta.text)
        case "scope_triggered":
            triggered = message.scope_triggered
            return answers.Triggered(triggered.event, triggered.position, tuple(triggered.scope))
        case "finished":
            return _finished(message.finished)
        case _:
            return None


def inspected_from_proto(message: pb.InspectResponse) -> Iterator[answers.InspectedToken]:
    """The tokens of one run."""
    rows, sinks = message.activations, frozenset(message.sinks)
    for number, token in enumerate(message.tokens):
        start, end = rows.starts[number], rows.starts[number + 1]
        position = message.offset + number
        yield answers.InspectedToken(
            position=position,
            token=token_from_proto(token),
            sink=position in sinks,
            activations=tuple(map(answers.Activation, rows.indices[start:end], rows.values[start:end])),
        )


def contrast_from_proto(message: pb.ContrastResponse) -> answers.Contrast:
    """What tells two sets apart."""
    return answers.Contrast(
        positive=tuple(map(_contrast, message.positive)),
        negative=tuple(map(_contrast, message.negative)),
        tested_features=message.tested_features,
    )


def logits_from_proto(message: pb.ComputeLogitsResponse) -> answers.Logits:
    """Next-token logits."""
    return answers.Logits(
        position=message.position,
        top=tuple(map(_logit, message.top)),
        named=tuple(map(_logit, message.named)),
        entropy=message.entropy,
    )


def attribution_from_proto(message: pb.AttributeResponse) -> answers.Attribution:
    """Which features made a token likely."""
    return answers.Attribution(
        target=token_from_proto(message.target),
        position=message.position,
        logit=message.logit,
        features=tuple(
            answers.FeatureEffect(
                feature.index,
                feature.effect,
                tuple(
                    answers.PositionEffect(each.position, each.activation, each.effect)
                    for each in feature.positions
                ),
            )
            for feature in message.features
        ),
        feature_effect=message.feature_effect,
        error_effect=message.error_effect,
        bias_effect=message.bias_effect,
    )


def prompts_to_proto(prompts: Iterable[Prompt]) -> list[prompt_pb2.Prompt]:
    """The messages of prompts."""
    return list(map(prompt_to_proto, prompts))


def _message(message: Message) -> prompt_pb2.ChatMessage:
    role = prompt_pb2.Role.Value(f"ROLE_{message.role.upper()}")
    return prompt_pb2.ChatMessage(role=role, content=message.content)


def _finished(message: pb.GenerationFinished) -> answers.Finished:
    usage = message.usage
    return answers.Finished(
        reason=pb.FinishReason.Name(message.reason).removeprefix("FINISH_REASON_").lower(),
        stop=message.stop,
        abort_message=message.abort_message,
        usage=answers.Usage(
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_prompt_tokens,
            usage.queue_seconds,
            usage.prefill_seconds,
            usage.decode_seconds,
        ),
        report=_report(message.report) if message.HasField("report") else None,
        receipt=json_format.MessageToDict(message.receipt) if message.HasField("receipt") else None,
    )


def _report(message: pb.SteeringReport) -> answers.Report:
    return answers.Report(
        edits=tuple(map(_edit_report, message.edits)),
        scopes=tuple(
            answers.ScopeReport(tuple(each.scope), each.tried, each.held) for each in message.scopes
        ),
        mean_relative_delta=message.mean_relative_delta,
        max_relative_delta=message.max_relative_delta,
        clipped_tokens=message.clipped_tokens,
        edited_tokens=message.edited_tokens,
    )


def _edit_report(message: pb.EditReport) -> answers.EditReport:
    operation = Operation(message.edit.WhichOneof("operation") or "nudge")
    key = FeatureKey(message.edit.feature.sae, message.edit.feature.index)
    return answers.EditReport(
        edit=Edit(key, operation, getattr(message.edit, operation.value)),
        scope=tuple(message.scope),
        requested=_values(message.requested),
        delivered=_values(message.delivered),
        tokens=message.tokens,
        activation_before=message.mean_activation_before,
        activation_after=message.mean_activation_after,
    )


def _values(message: pb.EditValues) -> answers.Values:
    return answers.Values(message.raw, message.strength, message.activation_units)


def _contrast(message: pb.FeatureContrast) -> answers.FeatureContrast:
    return answers.FeatureContrast(
        message.index,
        message.mean_positive,
        message.mean_negative,
        message.auroc,
        message.effect_size,
        message.p_value,
        message.q_value,
    )


def _logit(message: pb.TokenLogit) -> answers.TokenLogit:
    return answers.TokenLogit(token_from_proto(message.token), message.logit, message.logprob)
