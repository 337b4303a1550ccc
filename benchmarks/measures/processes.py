"""Twelve readers of one stream, each in a process of its own."""

from __future__ import annotations

import asyncio

from ..bench import Bench, Reading
from ..report import Line, Result, number
from ..sides import Side

PROCESSES = 12
INTERVAL_MS = 1_000
CONTRIB_SECONDS = 30


async def measure(bench: Bench) -> Result:
    """Measure ours and the contrib."""
    batches = bench.pick(15, 8)
    ours = await _run(bench, "ours", batches)
    contrib = await _run(bench, "contrib", batches)
    title = f"readers in separate processes, {PROCESSES}"
    starved = sum(received < batches for received in contrib.received)
    return Result(
        "processes",
        title,
        [
            Line(
                title,
                f"{ours.complete} of {PROCESSES} complete",
                f"{contrib.complete} of {PROCESSES} complete"
                + (f", {starved} starved" if starved else ""),
                "",
                "",
                "all complete",
                ours.whole,
            )
        ],
        [
            (
                f"{batches} batches, one each {INTERVAL_MS} ms. "
                f"p50: ours {number(ours.p50, 'ms')}, contrib {number(contrib.p50, 'ms')}."
            ),
            f"Ours: {ours.verdict()}. Contrib, within {CONTRIB_SECONDS} s: {contrib.verdict()}"
            + (f" ({'; '.join(contrib.errors[:2])})." if contrib.errors else "."),
        ],
        {
            side: {"complete": r.complete, "received": r.received, "p50": r.p50}
            for side, r in (("ours", ours), ("contrib", contrib))
        },
    )


async def _run(bench: Bench, side: Side, batches: int) -> Reading:
    async with bench.worker(side) as worker, worker.stream() as stream:
        publisher = await stream.publisher(
            items=batches, size=100, interval_ms=INTERVAL_MS, force=True
        )
        readers = await stream.readers(
            items=batches,
            processes=PROCESSES,
            stall_seconds=15,
            seconds=60 if side == "ours" else CONTRIB_SECONDS,
        )
        await readers.attach(5 if side == "contrib" else 20)
        publishing = asyncio.create_task(stream.publish(publisher))
        reading = await readers.result()
        await publishing
        return reading
