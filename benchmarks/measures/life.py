"""Ten thousand batches in one stream's life, with readers attached throughout."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..bench import Bench, Reading
from ..report import Line, Result
from ..sides import Side

READERS = 10
PUBLISHERS = 4
CONTRIB_SECONDS = 60


@dataclass
class _Life:
    reading: Reading
    runs: int
    seconds: float


async def measure(bench: Bench) -> Result:
    """Measure ours and the contrib, both on hosts that roll over when the server suggests it."""
    batches = bench.pick(10_000, 1_200)
    ours = await _run(bench, "ours", batches, 180)
    contrib = await _run(bench, "contrib", batches, CONTRIB_SECONDS)
    title = f"batches in one stream's life, {READERS} readers attached throughout"
    return Result(
        "life",
        title,
        [
            Line(
                title,
                f"{min(ours.reading.received):,} over {ours.runs} runs",
                _end(contrib.reading),
                "",
                "",
                f"{batches:,} over several rollovers, nothing lost",
                ours.reading.whole and ours.runs > 2,
            )
        ],
        [
            (
                f"{PUBLISHERS} publishers, each batch one item of its own. "
                f"Ours: {ours.reading.verdict()}, {ours.seconds:.0f} s, {ours.runs} runs."
            ),
            f"Contrib, within {CONTRIB_SECONDS} s: {contrib.reading.verdict()}, "
            f"{contrib.runs} runs. {'; '.join(contrib.reading.errors[:2])}".strip(),
        ],
        {
            side: {
                "runs": r.runs,
                "seconds": r.seconds,
                "received": r.reading.received,
                "progress": [
                    ((at - r.reading.began) / 1e9, count // READERS)
                    for at, count in r.reading.progress
                ],
                "errors": r.reading.errors,
            }
            for side, r in (("ours", ours), ("contrib", contrib))
        },
    )


async def _run(bench: Bench, side: Side, batches: int, seconds: float) -> _Life:
    async with bench.worker(side) as worker, worker.stream(rolls=True) as stream:
        publisher = await stream.publisher(
            items=batches, size=100, force=True, publishers=PUBLISHERS
        )
        readers = await stream.readers(
            items=batches, readers=READERS, latencies=False, stall_seconds=15, seconds=seconds
        )
        await readers.attach()
        publishing = asyncio.create_task(stream.publish(publisher, seconds))
        reading = await readers.result()
        publishing.cancel()
        # A publisher that the workflow leaves hanging says nothing; the readers tell enough.
        await asyncio.gather(publishing, return_exceptions=True)
        elapsed = (reading.ended - reading.began) / 1e9
        return _Life(reading, await stream.runs(), elapsed)


def _least(reading: Reading) -> int:
    return min(reading.received, default=0)


def _end(reading: Reading) -> str:
    least = f"{_least(reading):,}"
    if reading.whole:
        return least
    return f"{least}, then its readers died" if reading.errors else f"{least} in the time given"
