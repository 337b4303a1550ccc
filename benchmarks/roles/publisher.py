"""Publishes, at a pace or as fast as it goes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from ..sides import CONTRIB_CHUNK, Side, connect, milliseconds, stream_client
from ..values import make_value
from .talk import Talk

EXIT_SECONDS = 30
YIELD_EVERY = 500


async def run(
    talk: Talk,
    *,
    side: Side,
    address: str,
    workflow_id: str,
    items: int,
    size: int,
    interval_ms: float = 0,
    batch_interval_ms: float | None = None,
    force: bool = False,
    publishers: int = 1,
    workflow_ids: list[str] | None = None,
) -> None:
    """Publish `items` items of `size` characters when told to; say how long that took.

    Args:
        talk: The benchmark.
        side: Whose client.
        address: The server.
        workflow_id: The stream's workflow.
        items: How many, over all publishers.
        size: Characters per item.
        interval_ms: Time from item to item; 0: as fast as it goes.
        batch_interval_ms: The client's batch interval; None for its default.
        force: Whether each item is a batch of its own.
        publishers: How many clients publish at once.
        workflow_ids: Publish all items to each of these streams instead.
    """
    client = await connect(side, address)
    options: dict[str, Any] = {}
    if batch_interval_ms is not None:
        options["batch_interval"] = milliseconds(batch_interval_ms)
    talk.say(ready=True)
    word = await talk.word()
    if not word:
        return  # the benchmark is gone
    await asyncio.sleep(max(0, int(word) - time.monotonic_ns()) / 1e9)
    began, busy = time.monotonic_ns(), time.process_time()
    rpc: list[float] = []
    share = items // publishers
    targets = workflow_ids or [workflow_id] * publishers
    share = items if workflow_ids else share
    if side == "floor":
        raw = _RawPublisher(client, workflow_id, rpc)
        await asyncio.gather(
            *(raw.publish(k, share, size, interval_ms, force) for k in range(publishers))
        )
    else:
        await asyncio.gather(
            *(
                _publish(
                    stream_client(side, client, target, **options),
                    k,
                    share,
                    size,
                    interval_ms,
                    force,
                    CONTRIB_CHUNK if side == "contrib" else 0,
                )
                for k, target in enumerate(targets)
            )
        )
    talk.say(
        began=began,
        ended=time.monotonic_ns(),
        cpu_seconds=time.process_time() - busy,
        rpc_ms=rpc,
    )


async def _publish(
    stream: Any, k: int, items: int, size: int, interval_ms: float, force: bool, chunk: int
) -> None:
    topic = stream.topic("items", type=str)
    async with asyncio.timeout(None) as limit, stream:
        if interval_ms:
            async for n in _paced(items, interval_ms):
                topic.publish(make_value(k, n, size), force_flush=force)
        elif force:
            for n in range(items):
                topic.publish(make_value(k, n, size), force_flush=True)
                await stream.flush()
        else:
            await _burst(stream, topic, k, items, size, chunk)
        # Leaving the contrib's block right after a forced flush can hang.
        await stream.flush()
        limit.reschedule(asyncio.get_running_loop().time() + EXIT_SECONDS)


async def _burst(stream: Any, topic: Any, k: int, items: int, size: int, chunk: int) -> None:
    """Publish without a pause; with `chunk`, wait for the server after so many items."""
    for n in range(items):
        topic.publish(make_value(k, n, size))
        if n % YIELD_EVERY == YIELD_EVERY - 1:
            await asyncio.sleep(0)
        if (chunk and n % chunk == chunk - 1) or n % 200_000 == 199_999:
            await stream.flush()


async def _paced(items: int, interval_ms: float) -> Any:
    loop = asyncio.get_running_loop()
    start = loop.time()
    for n in range(items):
        await asyncio.sleep(max(0, start + n * interval_ms / 1000 - loop.time()))
        yield n


class _RawPublisher:
    """Signals with payloads that are as large as the library's, and no library."""

    def __init__(self, client: Client, workflow_id: str, rpc: list[float]) -> None:
        self._handle = client.get_workflow_handle(workflow_id)
        self._rpc = rpc

    async def publish(self, k: int, items: int, size: int, interval_ms: float, force: bool) -> None:
        if interval_ms:
            sending: set[asyncio.Task[None]] = set()
            async for n in _paced(items, interval_ms):
                sending.add(asyncio.create_task(self._signal(make_value(k, n, size))))
            await asyncio.gather(*sending)
        elif force:
            for n in range(items):
                await self._signal(make_value(k, n, size))
        else:
            # As many bytes as the items have on the wire, in signals as large as a batch.
            per_item = (size + 30) * 4 // 3 + 30
            total = items * per_item
            while total > 0:
                await self._signal("x" * min(total, 448 * 1024))
                total -= 448 * 1024

    async def _signal(self, value: str) -> None:
        payload = Payload(metadata={"encoding": b"json/plain"}, data=f'"{value}"'.encode())
        began = time.monotonic_ns()
        await self._handle.signal("publish", RawValue(payload))
        self._rpc.append((time.monotonic_ns() - began) / 1e6)
