"""More streams than calls may wait: items in all of them, and next to none in very many."""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from contextlib import AsyncExitStack
from typing import Any

import httpx

from workflow_streams.embedded import EmbeddedServer

from ..bench import READY_SECONDS, Bench, percentile
from ..children import Child
from ..report import Line, Result, at_most, number
from ..sides import SIDES, connect, host_of
from ..values import make_value
from ._viewers import SIZE, Watched, clients, serve, viewers_of, watched

NARROW = 30
INTERVAL_MS = 4_000
AT_ONCE = 50
SETTLE_SECONDS = 5.0
IDLE_SECONDS = 65.0
PATIENCE_SECONDS = 600.0
COUNT_SECONDS = 20.0
WRITTEN = 20
MEGABYTE = 1_000_000
CALLS = re.compile(r"^workflow_streams_temporal_rpc_seconds_count\{.*\} (\S+)", re.MULTILINE)


class _Narrow(EmbeddedServer):
    """Lets few calls wait at a time, polls of workers included."""

    def _command(self, binary: str, port: int, ui_port: int) -> list[str]:
        setting = f"frontend.namespaceCount={NARROW}"
        command = super()._command(binary, port, ui_port)
        return [*command, "--dynamic-config-value", setting]


async def measure(bench: Bench) -> Result:
    """Measure ours, on servers of its own."""
    streams, batches = bench.pick(60, 60), bench.pick(10, 5)
    idle = bench.pick(10_000, 500)
    async with _Narrow() as server:
        narrow = await _lively(await _bench(server, bench), streams, batches)
    async with EmbeddedServer() as server:
        many = await _idle(await _bench(server, bench), idle)
    elsewhere, here = many["elsewhere"], many["here"]
    return Result(
        "many-streams",
        "more streams than calls may wait",
        [
            Line(
                f"{streams} streams, an item each 4 s, where {NARROW} calls may wait: complete",
                f"{narrow.complete} of {narrow.viewers} complete",
                goal="all",
                met=narrow.whole,
            ),
            Line(
                "their p99",
                number(narrow.p99, "ms"),
                goal="2,000 ms",
                met=at_most(narrow.p99, 2_000),
            ),
            Line(
                f"memory of a gateway for {idle:,} idle streams with a viewer each",
                number(many["memory"] / MEGABYTE, "MB"),
                goal="under 400 MB",
                met=at_most(many["memory"], 400 * MEGABYTE),
            ),
            Line(
                "its calls to Temporal",
                number(many["calls"], "/s"),
                goal="at most 100/s",
                met=at_most(many["calls"], 100),
            ),
            Line(
                "an item in one of them, published elsewhere, max",
                _max(elsewhere),
                goal="5,000 ms",
                met=elsewhere.whole and at_most(max(elsewhere.latencies), 5_000),
            ),
            Line(
                "the same, written through the gateway, max",
                _max(here),
                goal="100 ms",
                met=here.whole and at_most(max(here.latencies), 100),
            ),
        ],
        [
            f"p50 of the {streams} streams: {number(percentile(narrow.latencies, 50), 'ms')}.",
            (
                f"An idle stream and its viewer take {number(many['memory'] / idle / 1000, 'KB')} "
                f"in the gateway. Some of the idle streams get an item, "
                f"p50 {number(percentile(elsewhere.latencies, 50), 'ms')} if it is published "
                f"elsewhere, {number(percentile(here.latencies, 50), 'ms')} through the gateway."
            ),
        ],
        {
            "narrow": {"complete": narrow.complete, "p99": narrow.p99},
            "idle": {
                "memory": many["memory"],
                "calls": many["calls"],
                "elsewhere": sorted(elsewhere.latencies),
                "here": sorted(here.latencies),
            },
        },
    )


def _max(watched: Watched) -> str:
    return number(max(watched.latencies, default=math.nan), "ms")


async def _bench(server: EmbeddedServer, bench: Bench) -> Bench:
    found = {side: await connect(side, server.address) for side in SIDES}
    return Bench(server.address, found, bench.size)


async def _lively(bench: Bench, streams: int, batches: int) -> Watched:
    async with (
        bench.worker("ours") as worker,
        serve(bench, streams) as (gateway, port),
        AsyncExitStack() as stack,
    ):
        hosted = [await stack.enter_async_context(worker.stream()) for _ in range(streams)]
        publisher = await hosted[0].publisher(
            items=batches,
            size=SIZE,
            interval_ms=INTERVAL_MS,
            force=True,
            workflow_ids=[stream.handle.id for stream in hosted],
        )
        async with viewers_of(port, hosted, 1, batches) as child:
            busy = gateway.cpu_seconds()
            told = await hosted[0].publish(publisher)
            message = await child.message(READY_SECONDS * 2)
            return watched(message, told["began"], gateway.cpu_seconds() - busy)


async def _idle(bench: Bench, streams: int) -> dict[str, Any]:
    name = f"benchmark-many-{uuid.uuid4().hex[:8]}"
    elsewhere = [f"{name}-elsewhere-{number}" for number in range(WRITTEN)]
    here = [f"{name}-here-{number}" for number in range(WRITTEN)]
    others = streams - 2 * WRITTEN
    names = [*(f"{name}-other-{number}" for number in range(others)), *elsewhere, *here]
    host, gate = host_of("ours"), asyncio.Semaphore(AT_ONCE)
    async with bench.worker("ours", cached=AT_ONCE) as worker:

        async def start(name: str) -> None:
            async with gate:
                await bench.client("ours").start_workflow(
                    host.Host.run,
                    host.HostInput(quiet=True),
                    id=name,
                    task_queue=worker.task_queue,
                )

        await asyncio.gather(*map(start, names))
        handle = bench.client("ours").get_workflow_handle(names[-1])
        while (await handle.describe()).history_length < 4:
            await asyncio.sleep(1)
        async with serve(bench, streams) as (gateway, port):
            return await _watched(
                bench, gateway, port, elsewhere, here, _path(f"{name}-other-{{}}"), others
            )


async def _watched(
    bench: Bench,
    gateway: Child,
    port: int,
    elsewhere: list[str],
    here: list[str],
    other: str,
    others: int,
) -> dict[str, Any]:
    ours, theirs = [*map(_path, here)], [*map(_path, elsewhere)]
    async with clients(port, ours, 1, 1):  # what comes with the first is no stream's
        await asyncio.sleep(SETTLE_SECONDS)
    before = gateway.rss()
    # Those that are to get an item have been opened first, so that others have the waiting calls.
    async with (
        clients(port, theirs, 1, 1, seconds=2 * PATIENCE_SECONDS) as one,
        clients(port, ours, 1, 1, seconds=2 * PATIENCE_SECONDS) as two,
        clients(port, [other], 1, 1, patience=PATIENCE_SECONDS, numbered=others),
    ):
        await asyncio.sleep(IDLE_SECONDS)
        memory = gateway.rss() - before
        calls = await _calls(port)
        await asyncio.sleep(COUNT_SECONDS)
        calls = (await _calls(port) - calls) / COUNT_SECONDS
        began = await _publish(bench, elsewhere)
        found = watched(await one.message(2 * PATIENCE_SECONDS), began, 0.0)
        await _post(port, here)
        written = watched(await two.message(2 * PATIENCE_SECONDS), began, 0.0)
    return {"memory": memory, "calls": calls, "elsewhere": found, "here": written}


def _path(name: str) -> str:
    return f"/v1/stream/{name}?offset=now&live=sse&topic=items"


async def _publish(bench: Bench, names: list[str]) -> int:
    """Publish an item to each of the streams, in a process of its own; return when, in ns."""
    publisher = await Child.start(
        "publisher",
        side="ours",
        address=bench.address,
        workflow_id=names[0],
        items=1,
        size=SIZE,
        workflow_ids=names,
    )
    try:
        await publisher.message(READY_SECONDS)
        publisher.say("0")
        return int((await publisher.message(READY_SECONDS))["began"])
    finally:
        await publisher.stop()


async def _post(port: int, names: list[str]) -> None:
    """Write an item to each of the streams over HTTP, one after the other."""
    async with httpx.AsyncClient(timeout=READY_SECONDS) as http:
        for name in names:
            url = f"http://127.0.0.1:{port}/v1/stream/{name}?topic=items"
            answer = await http.post(url, json=make_value(0, 0, SIZE))
            answer.raise_for_status()


async def _calls(port: int) -> float:
    """Return how many calls the gateway has made to Temporal so far."""
    async with httpx.AsyncClient(timeout=READY_SECONDS) as http:
        page = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    return sum(float(count) for count in CALLS.findall(page))
