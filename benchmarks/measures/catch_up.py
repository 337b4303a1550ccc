"""Reading a backlog from offset 0, by a process that has just started."""

from __future__ import annotations

from dataclasses import dataclass

from ..bench import BATCH_BYTES, Bench, Reading
from ..report import Line, Result, number, ratio
from ..sides import Side
from .burst import SIZE, WIRE_BYTES

RAW_GOAL = 100_000
DECODED_GOAL = 8
ROUNDS = 3


@dataclass
class _Rate:
    best: float = 0
    reading: Reading | None = None

    def take(self, reading: Reading, items: int) -> None:
        """Keep the best of several rounds, and any that is not whole."""
        if not reading.whole:
            self.best, self.reading = 0, reading
        elif self.reading is None or self.reading.whole:
            self.best = max(self.best, items / (reading.ended - reading.began) * 1e9)
            self.reading = reading

    @property
    def text(self) -> str:
        """Rate, or what went wrong."""
        assert self.reading is not None
        return number(self.best, "items/s") if self.best else self.reading.verdict()


async def measure(bench: Bench) -> Result:
    """Measure ours undecoded and decoded, the contrib decoded, the floor as raw history."""
    items, contrib_items = bench.pick(100_000, 50_000), bench.pick(20_000, 6_000)
    ours_raw, ours_str = await _side(bench, "ours", items)
    contrib_raw, contrib_str = await _side(bench, "contrib", contrib_items)
    floor = await _floor(bench, items)
    to_contrib = ratio(ours_str.best, contrib_str.best)
    title = "catch-up read from offset 0"
    return Result(
        "catch-up",
        title,
        [
            Line(
                f"{title}, undecoded",
                ours_raw.text,
                contrib_raw.text,
                number(floor.best, "items/s"),
                f"{ratio(ours_raw.best, floor.best):.2f} of the floor",
                f"at least {RAW_GOAL:,} items/s",
                ours_raw.best >= RAW_GOAL,
            ),
            Line(
                f"{title}, decoded to `str`",
                ours_str.text,
                contrib_str.text,
                "",
                f"{to_contrib:.1f} times the contrib's",
                f"at least {DECODED_GOAL} times the contrib's",
                to_contrib >= DECODED_GOAL,
            ),
        ],
        [
            (
                f"A backlog of {items:,} items of {SIZE} bytes; the contrib's is "
                f"{contrib_items:,}, which its workflow stands. Best of "
                f"{ROUNDS} readers, one after the other, each in a new process."
            ),
            "Undecoded is `result_type=RawValue`. The floor fetches the history of as many bytes.",
        ],
        {
            "ours": {"raw": ours_raw.best, "str": ours_str.best},
            "contrib": {"raw": contrib_raw.best, "str": contrib_str.best},
            "floor": {"raw": floor.best},
        },
    )


async def _side(bench: Bench, side: Side, items: int) -> list[_Rate]:
    rates = [_Rate(), _Rate()]
    async with bench.worker(side) as worker, worker.stream(rolls=side == "ours") as stream:
        publisher = await stream.publisher(items=items, size=SIZE)
        await stream.publish(publisher)
        for _ in range(ROUNDS):
            for rate, raw in zip(rates, (True, False), strict=True):
                readers = await stream.readers(items=items, raw=raw, latencies=False)
                await readers.attach()
                rate.take(await readers.result(), items)
    return rates


async def _floor(bench: Bench, items: int) -> _Rate:
    rate = _Rate()
    signals = -(-items * WIRE_BYTES // BATCH_BYTES)
    async with bench.worker("floor") as worker, worker.stream(rolls=True) as stream:
        publisher = await stream.publisher(items=items, size=SIZE)
        await stream.publish(publisher)
        for _ in range(ROUNDS):
            readers = await stream.readers(items=signals, raw=True, latencies=False)
            await readers.attach()
            reading = await readers.result()
            rate.take(reading, items)
    return rate
