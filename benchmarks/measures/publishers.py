"""Publishers of one process that stream into one workflow: what they cost it, and each other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..bench import Bench, percentile
from ..report import Line, Result, at_most, number, ratio

SIZE = 60
INTERVAL_MS = 50
FEW, MANY = 30, 100


@dataclass
class _Found:
    """What so many publishers did."""

    signals: int
    latencies: list[float]
    fault: str

    @property
    def p50(self) -> float:
        """Median of the latency, in ms."""
        return percentile(self.latencies, 50)

    @property
    def p99(self) -> float:
        """99th percentile of the latency, in ms."""
        return percentile(self.latencies, 99)


async def measure(bench: Bench) -> Result:
    """Measure ours with one publisher, with some, and with many."""
    seconds = bench.pick(30, 5)
    one, few, many = [await _run(bench, count, seconds) for count in (1, FEW, MANY)]
    title = f"publishers of one process, an item each {INTERVAL_MS} ms, {seconds} s"
    signals = max(ratio(few.signals, one.signals), ratio(many.signals, one.signals))
    latency = ratio(many.p50, one.p50)
    return Result(
        "publishers",
        title,
        [
            Line(
                f"signals of 1, {FEW}, {MANY} {title}",
                f"{one.signals}, {few.signals}, {many.signals}",
                ratio=f"{signals:.2f} of one publisher's",
                goal="at most 1.2 of one publisher's",
                met=at_most(signals, 1.2),
            ),
            Line(
                f"latency of {MANY} of them, p50 and p99",
                f"{number(many.p50, 'ms')}, {number(many.p99, 'ms')}",
                ratio=f"{latency:.2f} of one publisher's p50",
                goal="at most 1.3 of one publisher's p50",
                met=not many.fault and at_most(latency, 1.3),
            ),
        ],
        [
            f"One publisher: p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms.",
            *(found.fault for found in (one, few, many) if found.fault),
        ],
        {
            str(count): {"signals": found.signals, "ms": found.latencies}
            for count, found in ((1, one), (FEW, few), (MANY, many))
        },
    )


async def _run(bench: Bench, publishers: int, seconds: int) -> _Found:
    items = publishers * seconds * 1000 // INTERVAL_MS
    async with bench.worker("ours") as worker, worker.stream(rolls=True) as stream:
        await stream.until_begun()
        publisher, readers = await asyncio.gather(
            stream.publisher(
                items=items, size=SIZE, interval_ms=INTERVAL_MS, publishers=publishers
            ),
            stream.readers(items=items, stall_seconds=60),
        )
        await readers.attach()
        _, reading = await asyncio.gather(stream.publish(publisher), readers.result())
        signals = await stream.signals()
    fault = "" if reading.whole else f"{publishers} publishers: {reading.verdict()}"
    return _Found(signals, reading.latencies, fault)
