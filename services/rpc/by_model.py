"""One channel to servers that serve a model each: a call goes to the server of the model that its request names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc

from services.rpc.channel import connect
from services.rpc.tls import TlsSettings

_LISTS = "/ListModels"
_PAGE = 100
"""The size of a page that names none."""
_ANSWER_SECONDS = 3.0
"""How long a server may take to list its models, before it counts as away."""
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def connect_by_model(
    target: str, by_model: Mapping[str, str], *, tls: TlsSettings | None = None
) -> grpc.aio.Channel:
    """A channel to `target`, and to the targets of the models that have one of their own. See `connect`."""
    first = connect(target, tls=tls)
    opened = {target: first}
    for other in by_model.values():
        if other not in opened:
            opened[other] = connect(other, tls=tls)
    if len(opened) == 1:
        return first
    return ModelChannel(first, {model: opened[other] for model, other in by_model.items()})


class ModelChannel(grpc.aio.Channel):
    """Sends each call to the server of its request's model, and what names none or another one to the first.

    What is asked of all of them, which models there are, is answered by all together. A server that is away is answered
    for as it last was, so that its models are known to be away instead of being unknown.
    """

    def __init__(self, first: grpc.aio.Channel, by_model: Mapping[str, grpc.aio.Channel]) -> None:
        self.first = first
        """Where calls go that name no model of `by_model`."""
        self.by_model = dict(by_model)
        """By the model's id."""

    @property
    def channels(self) -> list[grpc.aio.Channel]:
        """All of them, each once."""
        return list({id(each): each for each in (self.first, *self.by_model.values())}.values())

    def unary_unary(self, method: str, *args: Any, **named: Any) -> Any:
        """A method of one request and one answer."""
        if method.endswith(_LISTS):
            return _Lists([each.unary_unary(method, *args, **named) for each in self.channels])
        return _Method(self, "unary_unary", (method, *args), named)

    def unary_stream(self, *args: Any, **named: Any) -> Any:
        """A method that answers with a stream."""
        return _Method(self, "unary_stream", args, named)

    def stream_unary(self, *args: Any, **named: Any) -> Any:
        """A method that takes a stream, whose requests name no server before it begins."""
        return self.first.stream_unary(*args, **named)

    def stream_stream(self, *args: Any, **named: Any) -> Any:
        """A method of two streams, the same."""
        return self.first.stream_stream(*args, **named)

    async def close(self, grace: float | None = None) -> None:
        """Closes all of them."""
        await asyncio.gather(*(each.close(grace) for each in self.channels))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Of the first."""
        return self.first.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Of the first."""
        await self.first.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns once all of them are connected."""
        await asyncio.gather(*(each.channel_ready() for each in self.channels))


class _Method:
    """A method, on the channel of each request's model."""

    def __init__(
        self, channel: ModelChannel, kind: str, args: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self._first = getattr(channel.first, kind)(*args, **named)
        self._by_model = {
            model: getattr(each, kind)(*args, **named) for model, each in channel.by_model.items()
        }

    def __call__(self, request: Any, **options: Any) -> Any:
        return self._by_model.get(getattr(request, "model", ""), self._first)(request, **options)


class _Lists:
    """ListModels of all servers, as one list."""

    def __init__(self, methods: list[Any]) -> None:
        self._methods = methods
        self._last: dict[int, list[Any]] = {}

    def __call__(self, request: Any, **options: Any) -> Any:
        if request.page_token and not request.page_token.isdecimal():
            return self._methods[0](request, **options)  # which says what is wrong with it
        return asyncio.ensure_future(self._page(request, options))

    async def _page(self, request: Any, options: dict[str, Any]) -> Any:
        asked = (self._of(number, type(request)(), options) for number in range(len(self._methods)))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        failures = [each for each in answers if isinstance(each, BaseException)]
        if len(failures) == len(answers):
            raise failures[0]
        response: Any = next(each for each in answers if not isinstance(each, BaseException))[0]
        models = {
            model.id: model
            for each in answers
            if not isinstance(each, BaseException)
            for page in each
            for model in page.models
        }
        begin = int(request.page_token or 0)
        end = begin + (request.page_size or _PAGE)
        page = type(response)(models=list(models.values())[begin:end])
        page.next_page_token = str(end) if end < len(models) else ""
        return page

    async def _of(self, number: int, request: Any, options: dict[str, Any]) -> list[Any]:
        """The pages of one server; where it is away, those that it last answered. Raises what the call raises."""
        pages: list[Any] = []
        options = options | {"timeout": min(_ANSWER_SECONDS, options.get("timeout") or _ANSWER_SECONDS)}
        try:
            while not pages or request.page_token:
                pages.append(await self._methods[number](request, **options))
                request.page_token = pages[-1].next_page_token
        except grpc.RpcError as error:
            if error.code() not in _AWAY or number not in self._last:
                raise
            return self._last[number]
        self._last[number] = pages
        return pages
