"""A burst through one publisher, read back by a reader that is attached."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..bench import BATCH_BYTES, Bench, Reading
from ..report import Line, Result, number, ratio
from ..sides import CONTRIB_CHUNK, Side

SIZE = 100
STALL_SECONDS = 20
GOAL = 30_000
# Bytes that an item of SIZE characters takes in a signal: see the floor's publisher.
WIRE_BYTES = (SIZE + 30) * 4 // 3 + 30


@dataclass
class _Burst:
    reading: Reading
    seconds: float
    publish_seconds: float | None
    failed_tasks: int
    sent_back: int
    attempt: int
    began: int
    cpu_seconds: dict[str, float]
    ended: str | None

    @property
    def rate(self) -> float:
        """Items per second end to end; 0 if not all came."""
        return self.reading.items / self.seconds if self.reading.whole else 0


async def measure(bench: Bench) -> Result:
    """Measure ours and the contrib with items, the floor with signals of as many bytes."""
    items = bench.pick(200_000, 20_000)
    ours = await _run(bench, "ours", items, items)
    contrib = await _run(bench, "contrib", items, items)
    signals = -(-items * WIRE_BYTES // BATCH_BYTES)
    floor = await _run(bench, "floor", items, signals)
    floor_rate = items / floor.seconds
    title = f"burst of {items:,} items of {SIZE} bytes, one publisher, read back"
    return Result(
        "burst",
        title,
        [
            Line(
                title,
                number(ours.rate, "items/s") if ours.rate else ours.reading.verdict(),
                number(contrib.rate, "items/s") if contrib.rate else _stuck(contrib),
                number(floor_rate, "items/s"),
                f"{ratio(ours.rate, floor_rate):.2f} of the floor",
                f"at least {GOAL:,} items/s",
                ours.rate >= GOAL,
            ),
            Line(
                "failed workflow tasks in it",
                str(ours.failed_tasks),
                str(contrib.failed_tasks),
                "",
                "",
                "none",
                ours.failed_tasks == 0,
            ),
        ],
        [
            (
                f"The contrib's publisher waits for the server after each {CONTRIB_CHUNK:,} items: "
                "it sends its whole buffer as one signal, which the server refuses over 2 MiB."
            ),
            f"Ours: {ours.reading.verdict()}, published in {number(ours.publish_seconds or 0)} s, "
            f"read in {number(ours.seconds)} s. Contrib: {contrib.reading.verdict()} in "
            f"{number(contrib.seconds)} s; the workflow task is at attempt {contrib.attempt}"
            + (f" ({'; '.join(contrib.reading.errors[:1])})." if contrib.reading.errors else "."),
            (
                f"The floor is {signals} raw signals of {BATCH_BYTES // 1024} KiB and a raw "
                "history loop, nothing encoded or decoded."
            ),
            (
                f"Tasks that the server sent back because more signals came than it likes to hold: "
                f"ours {ours.sent_back}, contrib {contrib.sent_back}, floor {floor.sent_back}."
            ),
            *(
                f"{side}: the workflow ended: {b.ended}."
                for side, b in (("ours", ours), ("contrib", contrib))
                if b.ended
            ),
            f"Seconds that ours kept a core busy: {_busy(ours)}; the floor: {_busy(floor)}.",
        ],
        {
            side: {
                "rate": rate,
                "seconds": b.seconds,
                "publish_seconds": b.publish_seconds,
                "failed_tasks": b.failed_tasks,
                "sent_back": b.sent_back,
                "received": b.reading.received,
                "cpu_seconds": b.cpu_seconds,
                "progress": [
                    ((at - b.began) / 1e9, n * items // b.reading.items)
                    for at, n in b.reading.progress
                ],
            }
            for side, b, rate in (
                ("ours", ours, ours.rate),
                ("contrib", contrib, contrib.rate),
                ("floor", floor, floor_rate),
            )
        },
    )


async def _run(bench: Bench, side: Side, items: int, counted: int) -> _Burst:
    async with bench.worker(side) as worker, worker.stream(rolls=side != "contrib") as stream:
        publisher = await stream.publisher(items=items, size=SIZE)
        readers = await stream.readers(
            items=counted,
            latencies=False,
            raw=side == "floor",
            stall_seconds=STALL_SECONDS,
            seconds=90,
        )
        await readers.attach()
        busy = {
            "server": bench.server_cpu_seconds,
            "worker": worker.cpu_seconds,
            "reader": readers.cpu_seconds,
        }
        before = {name: seconds() for name, seconds in busy.items()}
        publishing = asyncio.create_task(stream.publish(publisher))
        reading = await readers.result()
        cpu_seconds = {name: seconds() - before[name] for name, seconds in busy.items()}
        attempt, (failed, back) = await stream.task_attempt(), await stream.failed_tasks()
        ended = await stream.ended()
        if not reading.whole:
            publishing.cancel()
        [published] = await asyncio.gather(publishing, return_exceptions=True)
        if isinstance(published, dict):
            began = published["began"]
            cpu_seconds["publisher"] = published["cpu_seconds"]
            publish_seconds = (published["ended"] - began) / 1e9
        else:
            began, publish_seconds = reading.began, None
        seconds = (reading.ended - began) / 1e9
        return _Burst(
            reading, seconds, publish_seconds, failed, back, attempt, began, cpu_seconds, ended
        )


def _busy(burst: _Burst) -> str:
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in burst.cpu_seconds.items())


def _stuck(burst: _Burst) -> str:
    return f"stuck after {min(burst.reading.received, default=0):,} items"
