"""Whether time and memory per item stay as they are while the stream grows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from ..bench import Bench, Reading
from ..children import Memory
from ..report import Line, Result, number, ratio
from ..sides import Side

SIZE = 100
# Noise of a shared machine; a cost that grew with the stream would show as a factor of 100.
FLAT = 1.5
# What grows with each item has doubled when the second half is over.
PLATEAU = 1.5
MEGABYTE = 1_000_000
PROCESSES = ("worker", "reader", "publisher")


@dataclass
class Peaks:
    """Memory of one process: before the first item, and the highest in either half."""

    start: int
    first: int
    second: int

    @property
    def highest(self) -> int:
        """The highest of all."""
        return max(self.start, self.first, self.second)

    @property
    def growth(self) -> float:
        """How much more than at the start it is in the second half, beside the first."""
        return ratio(max(0, self.second - self.start), max(1, self.first - self.start))


@dataclass
class _Size:
    items: int
    reading: Reading
    runs: int
    seconds: float
    peaks: dict[str, Peaks]
    ended: str | None

    @property
    def rate(self) -> float:
        """Items per second end to end; 0 if not all came."""
        return self.items / self.seconds if self.reading.whole else 0

    @property
    def figures(self) -> dict[str, Any]:
        """What the results hold of it."""
        found: dict[str, Any] = {"items": self.items, "rate": self.rate, "runs": self.runs}
        for process, peaks in self.peaks.items():
            found[f"{process}_rss"] = peaks.highest
            found[f"{process}_halves"] = [peaks.start, peaks.first, peaks.second]
        return found


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
    base, last = ours[-2], ours[-1]
    slower = ratio(base.rate, last.rate)
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
            *(_memory(process, ours, contrib, whole=whole) for process in PROCESSES),
        ],
        [
            "Runs: "
            + ", ".join(f"{s.runs:,} for {s.items:,} items" for s in ours)
            + ". Memory is the highest resident set of the whole process, Python and SDK included.",
            (
                f"Time per item is compared with {base.items:,} items: {ours[0].items:,} are over "
                f"in {ours[0].seconds:.1f} s, which is start-up mostly."
            ),
            (
                f"Memory is compared within the {last.items:,} items: what the highest of the "
                "second half has more than there was before the first item, beside the same of "
                "the first half. It is 1 where memory has reached its level, and 2 where each "
                "item leaves something behind."
            ),
            *(_fault("ours", s) for s in ours if not s.reading.whole),
            *(_fault("contrib", s) for s in contrib if not s.reading.whole),
        ],
        {
            side: [size.figures for size in found]
            for side, found in (("ours", ours), ("contrib", contrib))
        },
    )


def _memory(process: str, ours: list[_Size], contrib: list[_Size], *, whole: bool) -> Line:
    def peaks(sizes: list[_Size]) -> str:
        return " / ".join(number(s.peaks[process].highest / MEGABYTE) for s in sizes) + " MB"

    growth = ours[-1].peaks[process].growth
    return Line(
        f"growth: peak memory of the {process}",
        peaks(ours),
        peaks(contrib),
        "",
        f"second half of {ours[-1].items:,} items {growth:.2f} of the first",
        f"level (at most {PLATEAU})",
        whole and growth <= PLATEAU,
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
        memories = (worker.memory, reading.memory, publisher.memory)
        peaks = {
            process: _halves(memory, began, reading)
            for process, memory in zip(PROCESSES, memories, strict=True)
        }
        return _Size(items, reading, await stream.runs(), seconds, peaks, await stream.ended())


def _halves(memory: Memory, began: int, reading: Reading) -> Peaks:
    half = next((at for at, n in reading.progress if n >= reading.items / 2), reading.ended)
    return Peaks(memory.peak(0, began), memory.peak(began, half), memory.peak(half, reading.ended))


def _fault(side: str, size: _Size) -> str:
    text = f"{side} with {size.items:,} items: {size.reading.verdict()}"
    if size.ended:
        text += f"; the workflow ended: {size.ended}"
    return text + (f" ({'; '.join(size.reading.errors[:1])})" if size.reading.errors else "")


def _rate(size: _Size) -> str:
    return number(size.rate) if size.rate else f"stuck after {min(size.reading.received):,}"
