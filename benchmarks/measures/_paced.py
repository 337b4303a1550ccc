"""Latency of items published at a pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ..bench import Bench, Readers, Stream, percentile
from ..children import Child
from ..sides import Side


@dataclass
class Paced:
    """Latencies of one side in ms, and of its raw signal RPCs alone."""

    latencies: list[float] = field(default_factory=list)
    rpc: list[float] = field(default_factory=list)
    fault: str = ""

    @property
    def p50(self) -> float:
        """Median."""
        return percentile(self.latencies, 50)

    @property
    def p95(self) -> float:
        """95th percentile."""
        return percentile(self.latencies, 95)

    def add(self, other: Paced) -> None:
        """Take in another round."""
        self.latencies += other.latencies
        self.rpc += other.rpc
        self.fault = self.fault or other.fault


class Pair:
    """A publisher and a reader that is attached, each in its own process."""

    def __init__(self, side: Side, stream: Stream, publisher: Child, readers: Readers) -> None:
        """Use `open_pair`."""
        self._side = side
        self._stream = stream
        self._publisher = publisher
        self._readers = readers

    async def go(self, at_ns: int = 0) -> Paced:
        """Publish everything, the first item at `at_ns` on the monotonic clock."""
        published, reading = await asyncio.gather(
            self._stream.publish(self._publisher, at_ns=at_ns), self._readers.result()
        )
        fault = ""
        if not reading.whole:
            fault = f"{self._side}: {reading.verdict()} {' '.join(reading.errors)}".strip()
        return Paced(reading.latencies, published["rpc_ms"], fault)


@asynccontextmanager
async def open_pair(
    bench: Bench, side: Side, *, items: int, **publishing: Any
) -> AsyncIterator[Pair]:
    """Set up a worker, a stream, a publisher (see its role's options) and a reader."""
    async with bench.worker(side) as worker, worker.stream() as stream:
        publisher, readers = await asyncio.gather(
            stream.publisher(items=items, size=100, **publishing),
            # The first pair waits until the others are set up, long on a busy machine.
            stream.readers(items=items, stall_seconds=60),
        )
        await readers.attach()
        yield Pair(side, stream, publisher, readers)
