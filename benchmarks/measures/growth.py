"""Whether time and memory per item stay as they are while the stream grows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..bench import Bench, Reading
from ..report import Line, Result, number, ratio
from ..sides import Side

SIZE = 100
# Noise of a shared machine; a cost that grew with the stream would show as a factor of 100.
FLAT = 1.5
MEGABYTE = 1_000_000


@dataclass
class _Size:
    items: int
    reading: Reading
    runs: int
    seconds: float
    worker_rss: int
    ended: str | None

    @property
    def rate(self) -> float:
        """Items per second end to end; 0 if not all came."""
        return self.items / self.seconds if self.reading.whole else 0


async def measure(bench: Bench) -> Result:
    """Measure ours at all sizes, and the contrib as far as it goes."""
    sizes = [bench.pick(full, full // 5) for full in (10_000, 100_000, 1_000_000)]
    sizes = sizes if bench.size == "full" else sizes[:-1]
    ours = [await _run(bench, "ours", items) for items in sizes]
    contrib: list[_Size] = []
    for items in sizes:
        contrib.append(await _run(bench, "contrib", items))
        if not contrib[-1].reading.whole:
            break
    # The smallest size is start-up mostly, so the middle one is the measure of what follows.
    base, last = ours[-2], ours[-1]
    slower = ratio(base.rate, last.rate)
    worker, reader = ratio(last.worker_rss, base.worker_rss), _rss_ratio(last, base)
    whole = all(size.reading.whole for size in ours)
    names = " / ".join(f"{items:,}" for items in sizes)
    return Result(
        "growth",
        "growth across rollovers",
        [
            Line(
                f"growth: items/s with {names} items across rollovers",
                " / ".join(_rate(size) for size in ours),
                " / ".join(_rate(size) for size in contrib),
                "",
                f"time per item {slower:.2f} of that with {base.items:,}",
                f"flat (at most {FLAT})",
                whole and slower <= FLAT,
            ),
            Line(
                "growth: peak memory of the worker",
                " / ".join(number(s.worker_rss / MEGABYTE) for s in ours) + " MB",
                " / ".join(number(s.worker_rss / MEGABYTE) for s in contrib) + " MB",
                "",
                f"{worker:.2f} of that with {base.items:,}",
                f"flat (at most {FLAT})",
                whole and worker <= FLAT,
            ),
            Line(
                "growth: peak memory of the reader",
                " / ".join(number(s.reading.peak_rss / MEGABYTE) for s in ours) + " MB",
                " / ".join(number(s.reading.peak_rss / MEGABYTE) for s in contrib) + " MB",
                "",
                f"{reader:.2f} of that with {base.items:,}",
                f"bounded (at most {FLAT})",
                whole and reader <= FLAT,
            ),
        ],
        [
            "Runs: "
            + ", ".join(f"{s.runs:,} for {s.items:,} items" for s in ours)
            + ". Memory is the highest resident set of the whole process, Python and SDK included.",
            *(_fault("ours", s) for s in ours if not s.reading.whole),
            *(_fault("contrib", s) for s in contrib if not s.reading.whole),
        ],
        {
            side: [
                {
                    "items": s.items,
                    "rate": s.rate,
                    "runs": s.runs,
                    "worker_rss": s.worker_rss,
                    "reader_rss": s.reading.peak_rss,
                }
                for s in found
            ]
            for side, found in (("ours", ours), ("contrib", contrib))
        },
    )


async def _run(bench: Bench, side: Side, items: int) -> _Size:
    async with bench.worker(side) as worker, worker.stream(rolls=True) as stream:
        publisher = await stream.publisher(items=items, size=SIZE)
        readers = await stream.readers(items=items, latencies=False, stall_seconds=15, seconds=180)
        await readers.attach()
        publishing = asyncio.create_task(stream.publish(publisher, 180))
        reading = await readers.result()
        if not reading.whole:
            publishing.cancel()
        [published] = await asyncio.gather(publishing, return_exceptions=True)
        began = published["began"] if isinstance(published, dict) else reading.began
        seconds = (reading.ended - began) / 1e9
        ended = await stream.ended()
        return _Size(items, reading, await stream.runs(), seconds, worker.peak_rss, ended)


def _fault(side: str, size: _Size) -> str:
    text = f"{side} with {size.items:,} items: {size.reading.verdict()}"
    if size.ended:
        text += f"; the workflow ended: {size.ended}"
    return text + (f" ({'; '.join(size.reading.errors[:1])})" if size.reading.errors else "")


def _rss_ratio(last: _Size, base: _Size) -> float:
    return ratio(last.reading.peak_rss, base.reading.peak_rss)


def _rate(size: _Size) -> str:
    return number(size.rate) if size.rate else f"stuck after {min(size.reading.received):,}"
