"""Viewers of the gateway: many on one stream, few on many streams, one that takes nothing in."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from ..bench import READY_SECONDS, Bench, Worker
from ..children import Child
from ..report import Line, Result, at_most, number, ratio
from ._stall import measure_stall
from ._viewers import INTERVAL_MS, SIZE, Watched, clients, serve, viewers_of, watch, watched

QUANTILES = 200
FAST_MS = 10
SETTLE_SECONDS = 1.0


async def measure(bench: Bench) -> Result:
    """Measure the gateway, and the floor: a plain asyncio broadcast of the same bytes."""
    many, streams, each = bench.pick(1_000, 200), bench.pick(200, 20), 5
    batches = bench.pick(100, 30)
    async with bench.worker("ours") as worker:
        async with serve(bench, max(many, streams * each)) as (gateway, port):
            one = await watch(worker, gateway, port, 1, batches)
            idle = await _idle(worker, gateway, port, many)
            crowd = await watch(worker, gateway, port, many, batches)
            fast = await watch(worker, gateway, port, many, batches, interval_ms=FAST_MS)
            spread = await _spread(worker, gateway, port, streams, each, max(10, batches // 5))
        stall = await measure_stall(bench, worker, many, batches)
    floor = await _broadcast(many, batches, INTERVAL_MS)
    floor_fast = await _broadcast(many, batches, FAST_MS)
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
        stall.line(many),
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
        stall.note(),
        "Viewers, gateway, worker, publisher and server are processes of their own.",
    ]
    figures: dict[str, Any] = {
        name: {"p99": w.p99, "complete": w.complete, "messages_per_second": w.messages_per_second}
        for name, w in (
            ("one", one), ("crowd", crowd), ("fast", fast),
            ("spread", spread), ("floor", floor), ("floor_fast", floor_fast),
        )
    }  # fmt: skip
    for name, w in (("one", one), ("crowd", crowd), ("floor", floor)):
        figures[name]["ms"] = _quantiles(w.latencies)
    figures["stall"] = {"without": stall.without, "with": stall.beside}
    return Result("fan-out", "viewers over HTTP", lines, notes, figures)


def _quantiles(values: list[float]) -> list[float]:
    """Return so few of the values, in order, that they can be kept and drawn."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return [ordered[last * i // QUANTILES] for i in range(QUANTILES + 1)] if ordered else []


def _per(got: Watched) -> float:
    return ratio(got.serving_cpu, got.received)


async def _idle(worker: Worker, gateway: Child, port: int, viewers: int) -> float:
    """Return the bytes that a viewer costs who waits for something to happen."""
    async with worker.stream() as stream:
        await stream.until_begun()
        async with viewers_of(port, [stream], 10, 1):
            await asyncio.sleep(SETTLE_SECONDS)
            before = gateway.rss()
            async with viewers_of(port, [stream], viewers, 1):
                await asyncio.sleep(SETTLE_SECONDS)
                return (gateway.rss() - before) / viewers


async def _spread(
    worker: Worker, gateway: Child, port: int, streams: int, each: int, batches: int
) -> Watched:
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
        async with viewers_of(port, hosted, each, batches) as child:
            busy = gateway.cpu_seconds()
            told = await hosted[0].publish(publisher)
            message = await child.message(READY_SECONDS * 2)
            return watched(message, told["began"], gateway.cpu_seconds() - busy)


async def _broadcast(viewers: int, batches: int, interval_ms: int) -> Watched:
    server = await Child.start("broadcast", viewers=viewers, size=SIZE)
    try:
        port = (await server.message(READY_SECONDS))["port"]
        async with clients(port, ["/"], viewers, batches) as child:
            busy = server.cpu_seconds()
            began = asyncio.get_running_loop().time()
            server.say(f"{batches} {interval_ms}")
            message = await child.message(READY_SECONDS * 2)
            return watched(message, int(began * 1e9), server.cpu_seconds() - busy)
    finally:
        await server.stop()
