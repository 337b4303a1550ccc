"""Viewers of the gateway: many on one stream, few on many streams, one that takes nothing in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ..bench import READY_SECONDS, Bench, Stream, Worker, percentile
from ..children import Child
from ..report import Line, Result, at_most, number, ratio

SIZE = 100
INTERVAL_MS = 100
FAST_MS = 10
SETTLE_SECONDS = 1.0


@dataclass
class _Watched:
    viewers: int
    complete: int
    received: int
    latencies: list[float] = field(repr=False)
    serving_cpu: float = 0.0
    messages_per_second: float = 0.0

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 99)

    @property
    def whole(self) -> bool:
        return self.complete == self.viewers


async def measure(bench: Bench) -> Result:
    """Measure the gateway, and the floor: a plain asyncio broadcast of the same bytes."""
    many, streams, each = bench.pick(1_000, 200), bench.pick(200, 20), 5
    batches = bench.pick(100, 30)
    async with bench.worker("ours") as worker, _gateway(bench, max(many, streams * each)) as served:
        gateway, port = served
        one = await _watch(worker, gateway, port, 1, batches)
        idle = await _idle(worker, gateway, port, many)
        crowd = await _watch(worker, gateway, port, many, batches)
        stalled = await _watch(worker, gateway, port, many - 1, batches, stalled=1)
        fast = await _watch(worker, gateway, port, many, batches, interval_ms=FAST_MS)
        spread = await _spread(worker, gateway, port, streams, each, max(10, batches // 5))
    floor = await _broadcast(many, batches, INTERVAL_MS)
    floor_fast = await _broadcast(many, batches, FAST_MS)
    change = ratio(stalled.p99, crowd.p99) - 1
    share = ratio(fast.messages_per_second, floor_fast.messages_per_second)
    lines = [
        Line(
            f"{many:,} viewers of one stream over HTTP, 10 batches/s: all complete",
            f"{crowd.complete:,} complete",
            goal="all",
            met=crowd.whole,
        ),
        Line(
            "their p99, beside one viewer's",
            f"{number(crowd.p99, 'ms')}, {number(one.p99, 'ms')}",
            floor=number(floor.p99, "ms"),
            ratio=f"{number(crowd.p99 - one.p99, 'ms')} more",
            goal="at most 100 ms more",
            met=at_most(crowd.p99 - one.p99, 100),
        ),
        Line(
            f"{streams} streams with {each} viewers each",
            f"{spread.complete:,} of {spread.viewers:,} complete",
            goal="all",
            met=spread.whole,
        ),
        Line(
            f"a viewer that takes nothing in, among {many:,}: the others' p99",
            number(stalled.p99, "ms"),
            ratio=f"{100 * change:+.0f} %",
            goal="changes by less than 10 %",
            met=stalled.whole and at_most(change, 0.10),
        ),
        Line(
            "memory of an idle viewer",
            number(idle / 1024, "KB"),
            goal="under 50 KB",
            met=at_most(idle / 1024, 50),
        ),
        Line(
            f"messages to {many:,} viewers at 100 batches/s, beside a plain broadcast",
            f"{number(fast.messages_per_second)}/s",
            floor=f"{number(floor_fast.messages_per_second)}/s",
            ratio=f"{share:.2f} of the floor",
            goal="at least half of the floor",
            met=fast.whole and at_most(0.5, share),
        ),
    ]
    notes = [
        (
            f"The serving process kept a core busy for {number(1e6 * _per(crowd), 'µs')} a message "
            f"at 10 batches/s, the plain broadcast for {number(1e6 * _per(floor), 'µs')}."
        ),
        "Viewers, gateway, worker, publisher and server are processes of their own.",
    ]
    figures = {
        name: {"p99": w.p99, "complete": w.complete, "messages_per_second": w.messages_per_second}
        for name, w in (
            ("one", one), ("crowd", crowd), ("stalled", stalled), ("fast", fast),
            ("spread", spread), ("floor", floor), ("floor_fast", floor_fast),
        )
    }  # fmt: skip
    return Result("fan-out", "viewers over HTTP", lines, notes, figures)


def _per(watched: _Watched) -> float:
    return ratio(watched.serving_cpu, watched.received)


@asynccontextmanager
async def _gateway(bench: Bench, viewers: int) -> AsyncIterator[tuple[Child, int]]:
    child = await Child.start("gateway", address=bench.address, viewers=viewers)
    try:
        yield child, (await child.message(READY_SECONDS))["port"]
    finally:
        await child.stop()


async def _watch(
    worker: Worker,
    gateway: Child,
    port: int,
    viewers: int,
    batches: int,
    *,
    interval_ms: int = INTERVAL_MS,
    stalled: int = 0,
) -> _Watched:
    """Have viewers of one stream get what is published at a pace."""
    async with worker.stream() as stream:
        await stream.until_begun()
        publisher = await stream.publisher(
            items=batches, size=SIZE, interval_ms=interval_ms, force=True
        )
        async with _viewers(port, [stream], viewers, batches, stalled) as child:
            busy = gateway.cpu_seconds()
            told = await stream.publish(publisher)
            message = await child.message(READY_SECONDS * 2)
            return _watched(message, told["began"], gateway.cpu_seconds() - busy)


async def _idle(worker: Worker, gateway: Child, port: int, viewers: int) -> float:
    """Return the bytes that a viewer costs who waits for something to happen."""
    async with worker.stream() as stream:
        await stream.until_begun()
        async with _viewers(port, [stream], 10, 1, 0):
            await asyncio.sleep(SETTLE_SECONDS)
            before = gateway.rss()
            async with _viewers(port, [stream], viewers, 1, 0):
                await asyncio.sleep(SETTLE_SECONDS)
                return (gateway.rss() - before) / viewers


async def _spread(
    worker: Worker, gateway: Child, port: int, streams: int, each: int, batches: int
) -> _Watched:
    async with AsyncExitStack() as stack:
        hosted = [await stack.enter_async_context(worker.stream()) for _ in range(streams)]
        for stream in hosted:
            await stream.until_begun()
        publisher = await hosted[0].publisher(
            items=batches,
            size=SIZE,
            interval_ms=INTERVAL_MS * 10,
            force=True,
            workflow_ids=[stream.handle.id for stream in hosted],
        )
        async with _viewers(port, hosted, each, batches, 0) as child:
            busy = gateway.cpu_seconds()
            told = await hosted[0].publish(publisher)
            message = await child.message(READY_SECONDS * 2)
            return _watched(message, told["began"], gateway.cpu_seconds() - busy)


async def _broadcast(viewers: int, batches: int, interval_ms: int) -> _Watched:
    server = await Child.start("broadcast", viewers=viewers, size=SIZE)
    try:
        port = (await server.message(READY_SECONDS))["port"]
        async with _clients(port, ["/"], viewers, batches, 0) as child:
            busy = server.cpu_seconds()
            began = asyncio.get_running_loop().time()
            server.say(f"{batches} {interval_ms}")
            message = await child.message(READY_SECONDS * 2)
            return _watched(message, int(began * 1e9), server.cpu_seconds() - busy)
    finally:
        await server.stop()


@asynccontextmanager
async def _viewers(
    port: int, streams: list[Stream], each: int, items: int, stalled: int
) -> AsyncIterator[Child]:
    # Each stream begins with a mark of its host's.
    paths = [f"/v1/stream/{s.handle.id}?offset=now&live=sse&topic=items" for s in streams]
    async with _clients(port, paths, each, items, stalled) as child:
        yield child


@asynccontextmanager
async def _clients(
    port: int, paths: list[str], each: int, items: int, stalled: int
) -> AsyncIterator[Child]:
    child = await Child.start(
        "viewers", port=port, paths=paths, each=each, items=items, stalled=stalled, seconds=60
    )
    try:
        await child.message(READY_SECONDS)
        child.say("go")
        await child.message(READY_SECONDS)
        yield child
    finally:
        await child.stop()


def _watched(message: dict[str, object], began_ns: int, cpu: float) -> _Watched:
    received, latencies = message["received"], message["latencies"]
    assert isinstance(received, int)
    assert isinstance(latencies, list)
    viewers, complete, last = message["viewers"], message["complete"], message["last_ns"]
    assert isinstance(viewers, int)
    assert isinstance(complete, int)
    assert isinstance(last, int)
    seconds = (last - began_ns) / 1e9
    return _Watched(viewers, complete, received, latencies, cpu, ratio(received, seconds))
