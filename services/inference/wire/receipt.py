"""Receipts: with what a text can be generated again, and by what one sees whether everything is as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hearth.v1 import inference_service_pb2 as pb
from services.inference.host import ModelHost
from services.inference.report import Values, requested
from services.inference.requests import GenerateCall
from services.inference.sampling import Sampling
from services.inference.sequence import Finished, Said
from services.steering.wire import edit_to_proto, steering_to_proto


def receipt(host: ModelHost, call: GenerateCall, prompt_ids: Sequence[int], end: Finished) -> pb.Receipt:
    """The receipt of a text."""
    steering = host.resolve(call.steering)
    used = [host.saes[name] for name in sorted({key.sae for key in steering.features()})]
    identity, said = host.identity, end.said or Said()
    message = pb.Receipt(
        model=identity.id,
        weights_digest=identity.weights_digest,
        tokenizer_digest=identity.tokenizer_digest,
        template_digest=identity.template_digest,
        config_digest=identity.config_digest,
        sae_digests={sae.id: sae.weights_digest for sae in used},
        sae_unit_digests={sae.id: host.unit_digests[sae.id] for sae in used},
        engine_version=host.engine.version,
        dtype=str(host.model.dtype).removeprefix("torch."),
        platform=identity.platform,
        steering=steering_to_proto(steering),
        edits=_edits(end),
        sampling=_sampling(host.bounded(call.sampling, len(prompt_ids))),
        prompt_digest=token_digest(prompt_ids),
        text_digest=hashlib.sha256(said.text.encode()).hexdigest(),
    )
    if not call.digests_only:
        message.prompt.ids.extend(prompt_ids)
        message.completion.ids.extend(said.tokens)
        message.text = said.text
    return message


def values_in_units(values: Values) -> pb.EditValues:
    """One value in all units."""
    return pb.EditValues(raw=values.raw, strength=values.strength, activation_units=values.activation)


def token_digest(ids: Sequence[int]) -> str:
    """SHA-256 over token ids, each as four bytes, the least significant first."""
    return hashlib.sha256(b"".join(number.to_bytes(4, "little") for number in ids)).hexdigest()


def _edits(end: Finished) -> list[pb.EditInUnits]:
    if end.compiled is None:
        return []
    return [
        pb.EditInUnits(
            edit=edit_to_proto(each.edit), scope=each.path, values=values_in_units(requested(each))
        )
        for plan in end.compiled.layers.values()
        for each in plan.reported
    ]


def _sampling(sampling: Sampling) -> pb.Sampling:
    return pb.Sampling(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=sampling.max_tokens,
        stop=sampling.stop,
        seed=sampling.seed,
        top_logprobs=sampling.top_logprobs,
        logprobs=sampling.logprobs,
        ignore_end=sampling.ignore_end,
    )
