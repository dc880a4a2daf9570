"""The two ways of our own API: gRPC straight to the services, and HTTP through the gateway. Both speak its messages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc
import httpx2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass

from bench.soak.patience import Failure, Kind
from services.gateway.clients.services import connect
from services.gateway.rest.table import BASE, ROUTES
from services.gateway.rest.wire.methods import method_of, parameters_of
from services.gateway.settings import GatewaySettings
from services.rpc.calls import OWNER_KEY
from services.rpc.channel import RpcFailure

CALL_SECONDS = 150.0
"""How long an HTTP client waits for the next byte."""
_KINDS = {
    "RESOURCE_EXHAUSTED": Kind.REFUSED,
    "UNAVAILABLE": Kind.AWAY,
    "DEADLINE_EXCEEDED": Kind.LATE,
}
_STATUS = {429: Kind.REFUSED, 503: Kind.AWAY, 504: Kind.LATE}
_CODES = {
    "rate_limit_exceeded": Kind.REFUSED,
    "dependency_unavailable": Kind.AWAY,
    "model_loading": Kind.AWAY,
}
"""Codes of errors that end one of OpenAI's streams, which has no status any more."""
_TEXTS = {"does not answer": Kind.AWAY, "cannot be reached": Kind.AWAY, "took too long": Kind.LATE}
"""The gateway's words where it has no code for it."""


class Way(Protocol):
    """Calls on behalf of one owner. Raises Failure."""

    async def call(self, service: str, method: str, request: Any) -> Any:
        """What an RPC answers; services are named as in the gateway's table of routes."""

    def stream(self, service: str, method: str, request: Any) -> AsyncIterator[Any]:
        """What an RPC streams."""

    def chat(self, body: dict[str, Any], request: Any) -> AsyncIterator[str]:
        """An answer's pieces; the same request as OpenAI's body and as a message, of which the way takes its own."""

    async def close(self) -> None:
        """Ends its connections."""


class GrpcWay:
    """The stubs of all services, with the mesh's own retries, on connections of its own."""

    def __init__(self, inference: str, features: str, autosteer: str, owner: str, key: str) -> None:
        self._services = connect(GatewaySettings(inference=inference, features=features, autosteer=autosteer))
        self._metadata = ((OWNER_KEY, owner), ("authorization", f"Bearer {key}"))

    async def call(self, service: str, method: str, request: Any) -> Any:
        try:
            return await getattr(getattr(self._services, service), method)(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise _of_grpc(error) from None

    async def stream(self, service: str, method: str, request: Any) -> AsyncIterator[Any]:
        try:
            async for message in getattr(getattr(self._services, service), method)(
                request, metadata=self._metadata
            ):
                yield message
        except grpc.RpcError as error:
            raise _of_grpc(error) from None

    async def chat(self, body: dict[str, Any], request: Any) -> AsyncIterator[str]:
        async for message in self.stream("inference", "Generate", request):
            if message.HasField("delta"):
                yield message.delta.text
            elif message.HasField("finished"):
                return
        raise Failure(Kind.WRONG, "CUT", "a stream ended without its last event")

    async def close(self) -> None:
        await self._services.close()


class HttpWay:
    """Our REST API, and OpenAI's for chats, on a client that all share."""

    def __init__(self, client: httpx2.AsyncClient, key: str) -> None:
        self._client, self._headers = client, {"authorization": f"Bearer {key}"}

    async def call(self, service: str, method: str, request: Any) -> Any:
        verb, path, query, body = _request(service, method, request)
        try:
            answer = await self._client.request(verb, path, params=query, json=body, headers=self._headers)
        except httpx2.HTTPError as error:
            raise _of_connection(error) from None
        if answer.status_code != 200:
            raise _of_status(answer)
        return ParseDict(answer.json(), _answer(service, method))

    async def stream(self, service: str, method: str, request: Any) -> AsyncIterator[Any]:
        verb, path, query, body = _request(service, method, request)
        async for data in self._events(verb, path, query, body):
            yield ParseDict(data, _answer(service, method))

    async def chat(self, body: dict[str, Any], request: Any) -> AsyncIterator[str]:
        whole = False
        async for data in self._events("POST", "/v1/chat/completions", {}, {**body, "stream": True}):
            yield data["choices"][0]["delta"].get("content") or ""
            whole = whole or bool(data["choices"][0]["finish_reason"])
        if not whole:
            raise Failure(Kind.AWAY, "CUT", "a stream ended without its last chunk")

    async def _events(
        self, verb: str, path: str, query: dict[str, str], body: Any
    ) -> AsyncIterator[dict[str, Any]]:
        try:
            async with self._client.stream(
                verb, path, params=query, json=body, headers=self._headers
            ) as answer:
                if answer.status_code == 204:
                    return
                if answer.status_code != 200:
                    await answer.aread()
                    raise _of_status(answer)
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        data = json.loads(line[6:])
                        if "error" in data:
                            raise _of_event(data["error"])
                        yield data
        except httpx2.HTTPError as error:
            raise _of_connection(error) from None

    async def close(self) -> None:
        """The client is everybody's."""


def http_client(url: str) -> httpx2.AsyncClient:
    """A client for all who ask over HTTP; connections as many as they need."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4.0)
    return httpx2.AsyncClient(base_url=url, timeout=CALL_SECONDS, limits=limits)


def _request(service: str, method: str, request: Any) -> tuple[str, str, dict[str, str], Any]:
    """Verb, path, query and body of an RPC's route: the route whose path the request fills."""
    body = MessageToDict(request)
    for route in ROUTES:
        if (route.service, route.method) != (service, method):
            continue
        inside: dict[str, str] = {}
        query: dict[str, str] = {}
        rest = dict(body)
        for parameter in parameters_of(route):
            name = parameter.path[0].json_name
            value = body.get(name)
            for field in parameter.path[1:]:
                value = value.get(field.json_name) if isinstance(value, dict) else None
            if value is not None:
                (inside if parameter.in_path else query)[parameter.name] = str(value)
                rest.pop(name if len(parameter.path) == 1 else "", None)
        if all(name in inside for name in route.in_path) and (route.has_body or not rest):
            return route.verb, BASE + route.path.format(**inside), query, rest if route.has_body else None
    raise LookupError(f"no route for {method} of {body}")


def _answer(service: str, method: str) -> Any:
    return GetMessageClass(method_of(service, method).output_type)()


def _of_grpc(error: grpc.RpcError) -> Failure:
    failure = RpcFailure.of(error)
    code = failure.code.name
    return Failure(_KINDS.get(code, Kind.WRONG), code, failure.message, failure.retry_after)


def _of_connection(error: httpx2.HTTPError) -> Failure:
    kind = Kind.LATE if isinstance(error, httpx2.TimeoutException) else Kind.AWAY
    return Failure(kind, type(error).__name__, str(error))


def _of_status(answer: httpx2.Response) -> Failure:
    after = answer.headers.get("retry-after")
    kind = _STATUS.get(answer.status_code, Kind.WRONG)
    return Failure(kind, str(answer.status_code), answer.text, float(after) if after else None)


def _of_event(error: dict[str, Any]) -> Failure:
    """An error that ends a stream: ours has a status, OpenAI's a code or only words."""
    code, message = str(error.get("status") or error.get("code") or "error"), str(error.get("message"))
    by_words = next((kind for words, kind in _TEXTS.items() if words in message), Kind.WRONG)
    kind = _KINDS.get(code) or _CODES.get(code) or by_words
    return Failure(kind, code, message, error.get("retry_after_seconds"))
