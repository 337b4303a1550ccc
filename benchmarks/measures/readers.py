"""Many readers of one stream in one process."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..bench import Bench, Reading
from ..report import Line, Result, at_most, number, ratio
from ..sides import Side

INTERVAL_MS = 100
COUNTS = (1, 10, 100, 1_000)
CONTRIB_SECONDS = 20


@dataclass
class _Run:
    reading: Reading
    events_per_batch: float
    attached: bool


async def measure(bench: Bench) -> Result:
    """Measure ours and the contrib with 0, 1, 10, 100 and 1,000 readers; the floor with 1."""
    batches = bench.pick(50, 20)
    counts = COUNTS if bench.size == "full" else COUNTS[:-1]
    runs: dict[Side, dict[int, _Run]] = {"ours": {}, "contrib": {}, "floor": {}}
    for count in (0, *counts):
        for side in ("ours", "contrib"):
            runs[side][count] = await _run(bench, side, count, batches)
    runs["floor"][1] = await _run(bench, "floor", 1, batches)
    ours, contrib = runs["ours"], runs["contrib"]
    most = counts[-1]
    p50 = {side: {n: r.reading.p50 for n, r in of.items()} for side, of in runs.items()}
    growth = ratio(p50["ours"][100], p50["ours"][1])
    lines = [
        Line(
            f"readers of one stream in one process, {_names(counts)}",
            _completed(ours, counts),
            _completed(contrib, counts),
            "",
            "",
            "all complete, no item missing or double",
            all(ours[n].reading.whole for n in counts),
        ),
        Line(
            "p50 with 100 readers, and with 1",
            f"{number(p50['ours'][100], 'ms')}, {number(p50['ours'][1], 'ms')}",
            f"{number(p50['contrib'][100], 'ms')}, {number(p50['contrib'][1], 'ms')}",
            number(p50["floor"][1], "ms"),
            f"{growth:.2f} of that with 1",
            "at most twice that with 1",
            at_most(growth, 2),
        ),
        Line(
            f"history events per batch with {_names((0, *counts))} readers",
            _events(ours),
            _events(contrib),
            number(runs["floor"][1].events_per_batch),
            "",
            "the same as with no reader",
            all(abs(r.events_per_batch - ours[0].events_per_batch) < 0.2 for r in ours.values()),
        ),
    ]
    notes = [
        (
            f"{batches} batches, one each {INTERVAL_MS} ms, all readers attached before the first; "
            f"readers of the contrib get {CONTRIB_SECONDS} s."
        ),
        (
            f"With {most:,} readers: ours p50 {number(p50['ours'][most], 'ms')}, "
            f"{ours[most].reading.verdict()}; contrib {contrib[most].reading.verdict()}."
        ),
    ]
    for side, of in runs.items():
        for n, run in of.items():
            if n and not run.reading.whole:
                notes.append(
                    f"{side}, {n:,} readers: {run.reading.verdict()}"
                    f"{'' if run.attached else '; not all attached in time'}"
                    f"{_errors(run.reading)}"
                )
    return Result(
        "readers",
        "readers of one stream in one process",
        lines,
        notes,
        {
            side: {
                n: {
                    "p50": r.reading.p50,
                    "complete": r.reading.complete,
                    "missing": r.reading.missing,
                    "double": r.reading.double,
                    "events_per_batch": r.events_per_batch,
                }
                for n, r in of.items()
            }
            for side, of in runs.items()
        },
    )


async def _run(bench: Bench, side: Side, count: int, batches: int) -> _Run:
    async with bench.worker(side) as worker, worker.stream() as stream:
        publisher = await stream.publisher(
            items=batches, size=100, interval_ms=INTERVAL_MS, force=True
        )
        if not count:
            await stream.until_begun()
            before = await stream.history_length()
            await stream.publish(publisher)
            await asyncio.sleep(1)
            after = await stream.history_length()
            return _Run(Reading(0, batches), (after - before) / batches, attached=True)
        seconds = 60 if side == "ours" else CONTRIB_SECONDS
        readers = await stream.readers(
            items=batches, readers=count, stall_seconds=15, seconds=seconds
        )
        attached = await readers.attach(20 if side == "ours" else 5)
        before = await stream.history_length()
        publishing = asyncio.create_task(stream.publish(publisher))
        reading = await readers.result()
        await publishing
        after = await stream.history_length()
        return _Run(reading, (after - before) / batches, attached)


def _names(counts: tuple[int, ...]) -> str:
    return " / ".join(f"{n:,}" for n in counts)


def _completed(runs: dict[int, _Run], counts: tuple[int, ...]) -> str:
    done = " / ".join(f"{runs[n].reading.complete:,}" for n in counts)
    return f"{done} complete"


def _events(runs: dict[int, _Run]) -> str:
    return " / ".join(f"{run.events_per_batch:.1f}" for run in runs.values())


def _errors(reading: Reading) -> str:
    return f" ({'; '.join(reading.errors[:2])})" if reading.errors else ""
