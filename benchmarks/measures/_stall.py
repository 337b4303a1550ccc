"""One viewer that takes nothing in, and what it costs the others."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from statistics import median

import httpx

from ..bench import Bench, Stream, Worker
from ..children import Child
from ..report import Line, at_most, number, ratio
from ..sides import stream_client
from ._viewers import INTERVAL_MS, Watched, paced_stream, published, serve, viewers_of

# More than the kernels take in, on a topic that only the stalled viewer looks at.
FILLING = 40
FILLING_SIZE = 200_000
SETTLE_SECONDS = 1.0
PATIENCE_SECONDS = 10.0
SLOW = 'workflow_streams_viewers_left_total{mode="sse",reason="slow"}'


@dataclass
class Stall:
    """99th percentiles of the others in ms, a figure for each round."""

    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    whole: bool = True
    held: int = 0

    def line(self, viewers: int) -> Line:
        """Return the line of the table."""
        without, beside = median(self.without), median(self.beside)
        change = ratio(beside, without) - 1
        return Line(
            f"a viewer that takes nothing in, among {viewers:,}: the others' p99, beside theirs "
            "without it",
            f"{number(beside, 'ms')}, {number(without, 'ms')}",
            ratio=f"{100 * change:+.0f} %",
            goal="changes by less than 10 %",
            met=self.whole and self.held == len(self.beside) and at_most(change, 0.10),
        )

    def note(self) -> str:
        """Say how it was measured, and whether the stall was one."""
        return (
            f"The viewer that takes nothing in has {FILLING * FILLING_SIZE // 1_000_000} MB to "
            "take before the others get their first item, and is let go while they get theirs: "
            f"seen in {self.held} of {len(self.beside)} rounds, which alternate with rounds "
            "without it. Its line has the medians of the rounds."
        )


async def measure_stall(bench: Bench, worker: Worker, viewers: int, batches: int) -> Stall:
    """Measure in turn with and without it."""
    stall = Stall()
    # In the middle of a round it is let go, so that a round holds both.
    write_seconds = SETTLE_SECONDS + max(1.0, batches * INTERVAL_MS / 2000)
    async with serve(bench, viewers, write_seconds=write_seconds) as (gateway, port):
        for number_of_round in range(bench.pick(5, 3)):
            for stalled in (False, True) if number_of_round % 2 else (True, False):
                got, held = await _round(bench, worker, gateway, port, viewers, batches, stalled)
                stall.whole &= got.whole
                stall.held += held
                (stall.beside if stalled else stall.without).append(got.p99)
    return stall


async def _round(
    bench: Bench,
    worker: Worker,
    gateway: Child,
    port: int,
    viewers: int,
    batches: int,
    stalled: bool,
) -> tuple[Watched, bool]:
    """Return what the others got, and whether a viewer was stuck until it was let go."""
    async with paced_stream(worker, batches, INTERVAL_MS) as (stream, publisher):
        path = f"/v1/stream/{stream.handle.id}?offset=now&live=sse" if stalled else None
        async with viewers_of(port, [stream], viewers - 1, batches, stalled_path=path) as child:
            before = await _let_go(port)
            await _fill(bench, stream)
            await asyncio.sleep(SETTLE_SECONDS)
            there = await _let_go(port) == before
            got = await published(stream, publisher, child, gateway)
            return got, stalled and there and await _one_more(port, before)


async def _fill(bench: Bench, stream: Stream) -> None:
    client = stream_client("ours", bench.client("ours"), stream.handle.id)
    async with client:
        topic = client.topic("filling", type=str)
        for _ in range(FILLING):
            topic.publish("x" * FILLING_SIZE)
        await client.flush()


async def _one_more(port: int, before: float) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _let_go(port) == before:
                await asyncio.sleep(0.1)
    except TimeoutError:
        return False
    return await _let_go(port) == before + 1


async def _let_go(port: int) -> float:
    """Return how many viewers the gateway has let go because they took nothing in."""
    async with httpx.AsyncClient() as http:
        lines = (await http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(SLOW))
