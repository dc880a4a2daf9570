"""Bodies as requests of the inference service."""

from __future__ import annotations

from hearth.v1 import inference_service_pb2 as pb
from hearth.v1 import prompt_pb2
from services.gateway.openai.bodies import ChatBody, CompletionBody
from services.gateway.openai.wire.target import Target

_ROLES = {
    "system": prompt_pb2.ROLE_SYSTEM,
    "developer": prompt_pb2.ROLE_SYSTEM,
    "user": prompt_pb2.ROLE_USER,
    "assistant": prompt_pb2.ROLE_ASSISTANT,
}
_SEEDS = 2**64
_STRIDE = 0x9E3779B97F4A7C15
"""2**64 by the golden ratio: seeds of answers to neighbouring seeds do not meet."""


def chat_requests(body: ChatBody, target: Target) -> list[pb.GenerateRequest]:
    """A request for each answer."""
    messages = [prompt_pb2.ChatMessage(role=_ROLES[each.role], content=each.text) for each in body.messages]
    return _requests(body, target, [prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))])


def completion_requests(body: CompletionBody, target: Target) -> list[pb.GenerateRequest]:
    """A request for each answer: all of the first prompt, then those of the second."""
    return _requests(body, target, [_prompt(each) for each in body.prompts])


def seed_of(seed: int, sample: int) -> int:
    """The seed of one answer; the first one's is the caller's own, modulo 2**64."""
    return (seed + sample * _STRIDE) % _SEEDS


def _prompt(prompt: str | list[int]) -> prompt_pb2.Prompt:
    if isinstance(prompt, str):
        return prompt_pb2.Prompt(text=prompt)
    return prompt_pb2.Prompt(token_ids=prompt_pb2.TokenIds(ids=prompt))


def _requests(
    body: ChatBody | CompletionBody, target: Target, prompts: list[prompt_pb2.Prompt]
) -> list[pb.GenerateRequest]:
    return [
        pb.GenerateRequest(
            model=target.model.id,
            prompt=prompt,
            steering=target.steering,
            sampling=_sampling(body, sample),
            report=bool(body.report),
            receipt=bool(body.receipt),
        )
        for prompt in prompts
        for sample in range(body.samples)
    ]


def _sampling(body: ChatBody | CompletionBody, sample: int) -> pb.Sampling:
    return pb.Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        max_tokens=body.most_tokens,
        stop=body.stops,
        seed=None if body.seed is None else seed_of(body.seed, sample),
        top_logprobs=body.alternatives,
        logprobs=body.wants_logprobs,
        ignore_end=bool(body.ignore_eos),
    )
