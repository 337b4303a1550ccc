"""A gateway, a crowd of viewers, and what becomes of the crowd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ..bench import READY_SECONDS, Bench, Stream, Worker, percentile
from ..children import Child
from ..report import ratio

SIZE = 100
INTERVAL_MS = 100


@dataclass
class Watched:
    """What viewers got: how many all of it, and when, in ms after it was published."""

    viewers: int
    complete: int
    received: int
    latencies: list[float] = field(repr=False)
    serving_cpu: float = 0.0
    messages_per_second: float = 0.0

    @property
    def p99(self) -> float:
        """99th percentile."""
        return percentile(self.latencies, 99)

    @property
    def whole(self) -> bool:
        """Whether every viewer got every item once."""
        return self.complete == self.viewers


@asynccontextmanager
async def serve(bench: Bench, viewers: int, **options: float) -> AsyncIterator[tuple[Child, int]]:
    """Run a gateway for so many viewers; yield it and its port."""
    child = await Child.start("gateway", address=bench.address, viewers=viewers, **options)
    try:
        yield child, (await child.message(READY_SECONDS))["port"]
    finally:
        await child.stop()


async def watch(
    worker: Worker,
    gateway: Child,
    port: int,
    viewers: int,
    batches: int,
    *,
    interval_ms: int = INTERVAL_MS,
) -> Watched:
    """Have viewers of one stream get what is published at a pace."""
    async with (
        paced_stream(worker, batches, interval_ms) as (stream, publisher),
        viewers_of(port, [stream], viewers, batches) as child,
    ):
        return await published(stream, publisher, child, gateway)


@asynccontextmanager
async def paced_stream(
    worker: Worker, batches: int, interval_ms: int
) -> AsyncIterator[tuple[Stream, Child]]:
    """Start a stream and who is to publish to it, a batch at a time."""
    async with worker.stream() as stream:
        await stream.until_begun()
        publisher = await stream.publisher(
            items=batches, size=SIZE, interval_ms=interval_ms, force=True
        )
        yield stream, publisher


async def published(stream: Stream, publisher: Child, viewers: Child, gateway: Child) -> Watched:
    """Publish everything, and hear what the viewers got."""
    busy = gateway.cpu_seconds()
    told = await stream.publish(publisher)
    message = await viewers.message(READY_SECONDS * 2)
    return watched(message, told["began"], gateway.cpu_seconds() - busy)


@asynccontextmanager
async def viewers_of(
    port: int, streams: list[Stream], each: int, items: int, *, stalled_path: str | None = None
) -> AsyncIterator[Child]:
    """Attach viewers to each of the streams."""
    # Each stream begins with a mark of its host's.
    paths = [f"/v1/stream/{s.handle.id}?offset=now&live=sse&topic=items" for s in streams]
    async with clients(port, paths, each, items, stalled_path) as child:
        yield child


@asynccontextmanager
async def clients(
    port: int,
    paths: list[str],
    each: int,
    items: int,
    stalled_path: str | None = None,
    *,
    seconds: float = 60,
    patience: float = READY_SECONDS,
    numbered: int = 0,
) -> AsyncIterator[Child]:
    """Attach viewers to each of the paths, in time; see `benchmarks.roles.viewers`."""
    child = await Child.start(
        "viewers",
        port=port,
        paths=paths,
        each=each,
        items=items,
        seconds=seconds,
        stalled_path=stalled_path,
        numbered=numbered,
    )
    try:
        await child.message(READY_SECONDS)
        child.say("go")
        await child.message(patience)
        yield child
    finally:
        await child.stop()


def watched(message: dict[str, object], began_ns: int, cpu: float) -> Watched:
    """Return what a message of the viewers says."""
    received, latencies = message["received"], message["latencies"]
    assert isinstance(received, int)
    assert isinstance(latencies, list)
    viewers, complete, last = message["viewers"], message["complete"], message["last_ns"]
    assert isinstance(viewers, int)
    assert isinstance(complete, int)
    assert isinstance(last, int)
    seconds = (last - began_ns) / 1e9
    return Watched(viewers, complete, received, latencies, cpu, ratio(received, seconds))
