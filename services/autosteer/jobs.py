"""What carries jobs to workers: Celery's messages, through Redis or Valkey.

A message says that there is something to do, not what: whoever gets it takes the job whose turn it is from the
database. So the broker may lose its messages or deliver them twice, and owners are served in turn however many
messages each of them caused.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from services.autosteer import metrics
from services.errors import DependencyUnavailable
from services.rpc.metrics import answered, away

TASK = "hearth.autosteer.work"
QUEUE = "hearth.autosteer"
WHAT = "the broker"
BROKER = "broker"
"""Its name in the metrics."""
VISIBILITY_SECONDS = 2 * 24 * 3600
"""After which Redis gives a message to another worker: longer than the longest job, for leases see to dead workers."""
CONNECT_SECONDS = 3.0
_FAILURES = (OperationalError, redis.RedisError, OSError)


def make_app(broker: str) -> Celery:
    """The Celery app; connects at first use."""
    app = Celery("hearth", broker=broker.replace("unix://", "redis+socket://", 1), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        accept_content=["json"],
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "health_check_interval": 10,
        },
    )
    return app


class BrokerWakeups:
    """The messages in the broker."""

    def __init__(self, app: Celery, broker: str) -> None:
        self._app = app
        self._redis: Any = redis.Redis.from_url(
            broker, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=CONNECT_SECONDS
        )

    async def waiting(self) -> int:
        """See reconciler.Wakeups."""
        return int(await _answer(lambda: self._redis.llen(QUEUE)))

    async def send(self, count: int) -> None:
        """See reconciler.Wakeups."""
        await _answer(lambda: self._send(count))
        metrics.messages_sent(count)

    def _send(self, count: int) -> None:
        once_more = {"max_retries": 1, "interval_start": 0.0}  # on a new connection, where the last one broke
        for _ in range(count):
            self._app.send_task(TASK, retry=True, retry_policy=once_more)

    async def try_to_send(self) -> None:
        """One message, if the broker answers; else the reconciler sends it later."""
        with suppress(DependencyUnavailable):
            await self.send(1)


async def _answer(ask: Any) -> Any:
    started = time.perf_counter()
    try:
        answer = await asyncio.to_thread(ask)
    except _FAILURES as error:
        away(BROKER)
        raise DependencyUnavailable(WHAT, type(error).__name__) from error
    answered(BROKER, time.perf_counter() - started)
    return answer
