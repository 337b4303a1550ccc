"""Reads a stream with one or many readers, and checks that nothing is missing or double."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from temporalio.client import Client
from temporalio.common import RawValue

from ..sides import Side, connect, stream_client
from ..values import read_value
from .talk import Talk

PROGRESS_SECONDS = 0.1


@dataclass
class Tally:
    """What one reader has got."""

    keeps_latencies: bool = True
    received: int = 0
    missing: int = 0
    double: int = 0
    next_offset: int = 1
    last_ns: int = 0
    next_numbers: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    error: str = ""

    def place(self, offset: int) -> None:
        """Count an item by its offset alone."""
        self.received += 1
        if offset > self.next_offset:
            self.missing += offset - self.next_offset
        elif offset < self.next_offset:
            self.double += 1
        self.next_offset = max(self.next_offset, offset + 1)

    def value(self, value: str, now: int) -> None:
        """Count an item by what it holds; needs the offset counted first."""
        publisher, number, published = read_value(value)
        expected = self.next_numbers.get(publisher, 0)
        if number > expected:
            self.missing += number - expected
        elif number < expected:
            self.double += 1
        self.next_numbers[publisher] = max(expected, number + 1)
        if self.keeps_latencies:
            self.latencies.append((now - published) / 1e6)


async def run(
    talk: Talk,
    *,
    side: Side,
    address: str,
    workflow_id: str,
    items: int,
    readers: int = 1,
    raw: bool = False,
    latencies: bool = True,
    stall_seconds: float = 20,
    seconds: float = 120,
) -> None:
    """Read `items` items with each reader; say `ready` when all are attached, then a tally.

    Args:
        talk: The benchmark.
        side: Whose client.
        address: The server.
        workflow_id: The stream's workflow.
        items: How many each reader waits for.
        readers: How many there are in this process.
        raw: Whether to leave the items undecoded.
        latencies: Whether to keep every latency and send it back.
        stall_seconds: Time without progress after which to give up.
        seconds: Time after which to give up whatever the progress.
    """
    client = await connect(side, address)
    tallies = [Tally(keeps_latencies=latencies) for _ in range(readers)]
    attached = asyncio.Semaphore(0)
    talk.say(ready=True)
    await talk.word()
    began = time.monotonic_ns()
    read = _read_raw_history if side == "floor" else _read
    tasks = [
        asyncio.create_task(read(side, client, workflow_id, items, tally, attached, raw))
        for tally in tallies
    ]
    announce = asyncio.create_task(_announce(talk, attached, readers))
    progress = await _watch(tasks, tallies, stall_seconds, seconds)
    await _cancel([announce, *tasks])
    ended = max((t.last_ns for t in tallies), default=0)
    talk.say(
        began=began,
        ended=ended,
        received=[t.received for t in tallies],
        missing=sum(t.missing for t in tallies),
        double=sum(t.double for t in tallies),
        complete=sum(t.received == items and not t.missing and not t.double for t in tallies),
        errors=sorted({t.error for t in tallies if t.error}),
        latencies=[x for t in tallies for x in t.latencies],
        progress=progress,
    )


async def _read(
    side: Side,
    client: Client,
    workflow_id: str,
    items: int,
    tally: Tally,
    attached: asyncio.Semaphore,
    raw: bool,
) -> None:
    stream = stream_client(side, client, workflow_id)
    result_type = RawValue if raw else str
    try:
        async for item in stream.subscribe(result_type=result_type):
            if item.offset == 0:
                attached.release()
                continue
            tally.place(item.offset)
            if not raw:
                tally.value(item.data, time.monotonic_ns())
            if tally.received >= items:
                break
    except Exception as err:
        tally.error = f"{type(err).__name__}: {err}"[:300]
    finally:
        tally.last_ns = time.monotonic_ns()


async def _read_raw_history(
    _side: Side,
    client: Client,
    workflow_id: str,
    items: int,
    tally: Tally,
    attached: asyncio.Semaphore,
    raw: bool,
) -> None:
    """Loop over the history, as far as the runs go; with `raw`, count bytes only."""
    description = await client.get_workflow_handle(workflow_id).describe()
    info = description.raw_description.workflow_execution_info
    run_id: str | None = info.first_run_id
    attached.release()
    while run_id is not None:
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        run_id = None
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_execution_continued_as_new_event_attributes"):
                run_id = (
                    event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
                )
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name != "publish":
                continue
            tally.received += 1
            data = signal.input.payloads[0].data
            if not raw:
                tally.value(data.decode()[1:-1], time.monotonic_ns())
            tally.last_ns = time.monotonic_ns()
            if tally.received >= items:
                return


async def _announce(talk: Talk, attached: asyncio.Semaphore, readers: int) -> None:
    for _ in range(readers):
        await attached.acquire()
    talk.say(attached=readers)


async def _watch(
    tasks: list[asyncio.Task[None]], tallies: list[Tally], stall_seconds: float, seconds: float
) -> list[tuple[int, int]]:
    """Wait for all readers, for a stall, or for the end of the time; return items over time."""
    begin = moved = time.monotonic()
    progress: list[tuple[int, int]] = []
    count = 0
    while True:
        _, waiting = await asyncio.wait(tasks, timeout=PROGRESS_SECONDS)
        now, before = time.monotonic(), count
        count = sum(t.received for t in tallies)
        progress.append((time.monotonic_ns(), count))
        moved = now if count != before else moved
        if not waiting or now - moved > stall_seconds or now - begin > seconds:
            return progress


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5)
