"""Asking an HTTP endpoint: a few questions at once, tried again where trying helps."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2

from services.errors import DependencyUnavailable, InvalidField

TRIES = 4
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
"""Seconds before a question is asked again: doubled each time, up to the longest."""
DEADLINE = 60.0
"""Seconds for one try."""
PLACES = 8
"""Questions in flight."""
_PASSING = frozenset({408, 409, 425, 429})


class Endpoint:
    """POSTs JSON and reads JSON."""

    def __init__(
        self,
        url: str,
        key: str = "",
        *,
        what: str,
        deadline: float = DEADLINE,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._url, self._what, self._first_wait = url, what, first_wait
        self._client = httpx2.AsyncClient(headers=headers, timeout=deadline)
        self._places = asyncio.Semaphore(PLACES)

    async def post(self, body: dict[str, Any]) -> Any:
        """The answer. Raises InvalidField where it is refused, DependencyUnavailable where none comes."""
        trouble = ""
        async with self._places:
            for attempt in range(TRIES):
                if attempt:
                    await asyncio.sleep(min(LONGEST_WAIT, self._first_wait * 2**attempt))
                try:
                    response = await self._client.post(self._url, json=body)
                except httpx2.TransportError as error:
                    trouble = str(error) or type(error).__name__
                    continue
                if response.status_code == 200:
                    return self._read(response)
                trouble = f"status {response.status_code}"
                if response.status_code < 500 and response.status_code not in _PASSING:
                    raise InvalidField("spec.judge.endpoint", f"{self._what} refuses: {trouble}")
        raise DependencyUnavailable(self._what, trouble)

    def _read(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise InvalidField("spec.judge.endpoint", f"{self._what} answers what is no JSON") from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()
