"""What a worker holds for streams that are full of items, and idle."""

from __future__ import annotations

import asyncio
import json
import math
import random
import uuid
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle, WorkflowQueryFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError

from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload

from ..bench import Bench, Worker
from ..children import ChildError
from ..report import Line, Result, at_most, number, ratio
from ..sides import Side, host_of

BATCH = 500
LIMIT = 1_000_000_000
MEGABYTE = 1_000_000
AT_ONCE = 4
SETTLE_SECONDS = 3
QUERY_SECONDS = 10
ATTEMPTS = 10
VOCABULARY = 5_000


@dataclass
class _Memory:
    """The worker's resident set: before the streams, with them all idle, and the highest.

    ``filled`` streams have taken their items; a workflow whose task fails under load takes none.
    """

    streams: int
    filled: int
    before: int
    idle: int
    highest: int

    @property
    def each(self) -> float:
        """What one stream takes; nan unless all have been filled."""
        whole = self.filled == self.streams
        return (self.idle - self.before) / self.streams if whole else math.nan

    def with_streams(self, streams: int) -> float:
        """What it would be with so many streams."""
        return self.before + streams * self.each


async def measure(bench: Bench) -> Result:
    """Measure ours, and the contrib with fewer streams."""
    streams, items = bench.pick(1_000, 50), bench.pick(10_000, 5_000)
    ours = await _run(bench, "ours", streams, items)
    contrib = await _run(bench, "contrib", max(1, streams // 50), items)
    title = f"memory of a worker with {streams:,} idle streams of {items:,} items each"
    return Result(
        "idle",
        title,
        [
            Line(
                title,
                number(ours.idle / MEGABYTE, "MB"),
                f"{number(contrib.with_streams(streams) / MEGABYTE, 'MB')}, extrapolated",
                ratio=f"{ratio(ours.each, contrib.each):.2f} of the contrib's for a stream",
                goal="under 1 GB",
                met=at_most(ours.idle, LIMIT) and ours.filled == streams,
            )
        ],
        [
            (
                "Items are short pieces of text, as a language model streams them, in batches of "
                f"{BATCH}. All workflows stay in the worker's cache; nobody reads or polls."
            ),
            (
                f"Ours takes {number(ours.each / 1000, 'KB')} for a stream, the contrib "
                f"{number(contrib.each / 1000, 'KB')}; the highest while they were filled was "
                f"{number(ours.highest / MEGABYTE, 'MB')} and "
                f"{number(contrib.highest / MEGABYTE, 'MB')}."
            ),
            (
                f"The contrib was measured with {contrib.streams:,} streams, of which "
                f"{contrib.filled:,} took their items; ours filled {ours.filled:,}."
            ),
        ],
        {"ours": asdict(ours), "contrib": asdict(contrib)},
    )


async def _run(bench: Bench, side: Side, streams: int, items: int) -> _Memory:
    batches = _batches(items)
    async with bench.worker(side, cached=streams + 10) as worker, AsyncExitStack() as stack:
        # The first brings the worker's own imports with it.
        await _fill(bench, side, worker, batches[:1], stack)
        await asyncio.sleep(SETTLE_SECONDS)
        before = worker.rss()
        # On a busy machine, the contrib's tasks take longer than they may if there are several.
        limit = asyncio.Semaphore(AT_ONCE if side == "ours" else 1)

        async def one() -> bool:
            async with limit:
                try:
                    await _fill(bench, side, worker, batches, stack)
                except ChildError:
                    return False
            return True

        filled = sum(await asyncio.gather(*(one() for _ in range(streams))))
        await asyncio.sleep(SETTLE_SECONDS)
        return _Memory(streams, filled, before, worker.rss(), worker.memory.peak())


async def _fill(
    bench: Bench, side: Side, worker: Worker, batches: list[Payload], stack: AsyncExitStack
) -> None:
    """Start a workflow, and see it take the batches."""
    host = host_of(side)
    handle = await bench.client(side).start_workflow(
        host.Host.run,
        host.HostInput(quiet=True),
        id=f"benchmark-idle-{side}-{uuid.uuid4().hex[:8]}",
        task_queue=worker.task_queue,
    )
    stack.push_async_callback(_end, handle)
    for batch in batches:
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(batch))
    await _taken(handle)


async def _taken(handle: WorkflowHandle[object, object]) -> None:
    """Wait until the workflow has taken all that it was sent."""
    error: Exception | None = None
    for _ in range(ATTEMPTS):
        try:
            await handle.query(
                wire.OFFSET_QUERY, result_type=int, rpc_timeout=timedelta(seconds=QUERY_SECONDS)
            )
            return
        except (RPCError, WorkflowQueryFailedError) as err:  # workers lose queries now and then
            error = err
            await asyncio.sleep(1)
    raise ChildError(f"workflow {handle.id} answers no query: {error}")


async def _end(handle: WorkflowHandle[object, object]) -> None:
    await handle.terminate("measured")


def _batches(items: int) -> list[Payload]:
    """Return the items of a stream in batches, as either library's client sends them."""
    rng = random.Random(1)
    letters = "aabcdeeefghiiklmnooprsttuvwy"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(VOCABULARY)]
    entries: list[str] = []
    for _ in range(items):
        token = json.dumps({"text": f" {rng.choice(words)}"}).encode()
        entries.append(entry_of("tokens", json_payload(token)))
    return [
        batch_payload(entries[start : start + BATCH], "benchmark", number)
        for number, start in enumerate(range(0, items, BATCH), 1)
    ]
