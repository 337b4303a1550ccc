"""The shared stage: a server, and on it workers, streams, publishers and readers."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from workflow_streams.embedded import EmbeddedServer

from .children import Child, ChildError, Memory, cpu_seconds
from .sides import SIDES, Side, connect, host_of

Size = Literal["full", "quick", "tiny"]

READY_SECONDS = 60
BATCH_BYTES = 448 * 1024

_SENT_BACK = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
)


@dataclass
class Reading:
    """What the readers of one process, or of several, came to; see `benchmarks.roles.reader`."""

    readers: int
    items: int
    complete: int = 0
    received: list[int] = field(default_factory=list)
    missing: int = 0
    double: int = 0
    began: int = 0
    ended: int = 0
    errors: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    progress: list[tuple[int, int]] = field(default_factory=list)
    memory: Memory = field(default_factory=Memory)
    """Of the first process."""

    @property
    def whole(self) -> bool:
        """Whether every reader has got every item once."""
        return self.complete == self.readers

    @property
    def p50(self) -> float:
        """Median latency in ms; nan if nothing came."""
        return percentile(self.latencies, 50)

    def verdict(self) -> str:
        """Say in a few words what came of it."""
        if self.whole:
            return f"{self.complete} of {self.readers} complete"
        text = f"{self.complete} of {self.readers} complete"
        if self.missing or self.double:
            text += f", {self.missing:,} items missing, {self.double:,} double"
        least = min(self.received, default=0)
        text += f", the last got {least:,} of {self.items:,} items"
        return text

    def add(self, message: dict[str, Any], child: Child) -> None:
        """Take in what a reader process says at its end."""
        self.complete += message["complete"]
        self.received += message["received"]
        self.missing += message["missing"]
        self.double += message["double"]
        self.began = min(self.began or message["began"], message["began"])
        self.ended = max(self.ended, message["ended"])
        self.errors = sorted({*self.errors, *message["errors"]})
        self.latencies += message["latencies"]
        if not self.progress:
            self.progress = [tuple(point) for point in message["progress"]]
            self.memory = child.memory


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile; nan of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Readers:
    """One or several processes that read one stream."""

    def __init__(self, children: list[Child], readers: int, items: int, seconds: float) -> None:
        """Hold `children`; use `Stream.readers`."""
        self._children = children
        self._seconds = seconds
        self._early: dict[Child, dict[str, Any]] = {}
        self._reading = Reading(readers * len(children), items)

    async def attach(self, seconds: float = 20) -> bool:
        """Let them begin, and wait until all are attached; false if some are not in time."""
        for child in self._children:
            child.say("go")
        everyone = True
        for child in self._children:
            try:
                message = await child.message(seconds)
            except ChildError:
                everyone = False
                continue
            if "attached" not in message:
                self._early[child] = message
                everyone = False
        return everyone

    def cpu_seconds(self) -> float:
        """Return how long they have kept a core busy."""
        return sum(child.cpu_seconds() for child in self._children)

    async def result(self) -> Reading:
        """Wait for the end of all."""
        for child in self._children:
            message = self._early.get(child)
            while message is None or "attached" in message:
                message = await child.message(self._seconds + READY_SECONDS)
            self._reading.add(message, child)
        return self._reading


class Stream:
    """A stream on one side, and who publishes to it and reads it."""

    def __init__(self, bench: Bench, side: Side, handle: WorkflowHandle[Any, Any]) -> None:
        """Use `Worker.stream`."""
        self._bench = bench
        self.side: Side = side
        self.handle = handle
        self._children: list[Child] = []

    async def publisher(self, **options: Any) -> Child:
        """Start a publisher process, ready to go; see `benchmarks.roles.publisher`."""
        return await self._child("publisher", **options)

    async def readers(
        self, *, items: int, processes: int = 1, readers: int = 1, seconds: float = 120, **more: Any
    ) -> Readers:
        """Start processes of readers, ready to attach; see `benchmarks.roles.reader`."""
        options = more | {"items": items, "readers": readers, "seconds": seconds}
        children = [await self._child("reader", **options) for _ in range(processes)]
        return Readers(children, readers, items, seconds)

    async def publish(
        self, child: Child, seconds: float = 120, *, at_ns: int = 0
    ) -> dict[str, Any]:
        """Let a publisher go, at a time of the monotonic clock, and wait for its end."""
        child.say(str(at_ns))
        return await child.message(seconds)

    async def history_length(self) -> int:
        """Return how many events the current run has."""
        return (await self.handle.describe()).history_length

    async def task_attempt(self) -> int:
        """Return the attempt that the run's workflow task is at; 1 where all is well."""
        description = (await self.handle.describe()).raw_description
        return max(1, description.pending_workflow_task.attempt)

    async def failed_tasks(self) -> tuple[int, int]:
        """Count the workflow tasks that failed, over all runs, and those that were sent back.

        The server sends a task back when signals come while the workflow continues as new, and
        when more than it likes to hold come while the task runs. That is no fault of the workflow.
        """
        failed = sent_back = 0
        async for event in self._events():
            if event.HasField("workflow_task_failed_event_attributes"):
                back = event.workflow_task_failed_event_attributes.cause in _SENT_BACK
                failed, sent_back = failed + (not back), sent_back + back
            failed += event.HasField("workflow_task_timed_out_event_attributes")
        return failed, sent_back

    async def runs(self) -> int:
        """Count the runs of the workflow's chain."""
        count = 1
        async for event in self._events():
            count += event.HasField("workflow_execution_continued_as_new_event_attributes")
        return count

    async def signals(self) -> int:
        """Count the signals, over all runs."""
        return len(
            [
                event
                async for event in self._events()
                if event.HasField("workflow_execution_signaled_event_attributes")
            ]
        )

    async def until_begun(self) -> None:
        """Wait until the workflow's first task is done."""
        async for event in self.handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_completed_event_attributes"):
                return

    async def _events(self) -> AsyncIterator[HistoryEvent]:
        description = await self.handle.describe()
        run_id = description.raw_description.workflow_execution_info.first_run_id
        while run_id:
            handle = self._bench.client(self.side).get_workflow_handle(
                self.handle.id, run_id=run_id
            )
            run_id = ""
            async for event in handle.fetch_history_events():
                attributes = event.workflow_execution_continued_as_new_event_attributes
                run_id = attributes.new_execution_run_id or run_id
                yield event

    async def ended(self) -> str | None:
        """Say how the workflow ended by itself; None while it runs, as it should."""
        description = await self.handle.describe()
        if description.status is None or description.status == WorkflowExecutionStatus.RUNNING:
            return None
        last = ""
        async for event in self._events():
            last = event.workflow_execution_terminated_event_attributes.reason or last
        return f"{description.status.name.lower()} {last}".strip()

    async def close(self) -> None:
        """End all its processes."""
        for child in self._children:
            await child.stop()
        if await self.ended() is None:
            await self.handle.terminate("measured")

    async def _child(self, role: str, **options: Any) -> Child:
        child = await Child.start(
            role,
            side=self.side,
            address=self._bench.address,
            workflow_id=self.handle.id,
            **options,
        )
        self._children.append(child)
        await child.message(READY_SECONDS)
        return child


class Worker:
    """A worker process of one side."""

    def __init__(self, bench: Bench, side: Side, task_queue: str, child: Child) -> None:
        """Use `Bench.worker`."""
        self._bench = bench
        self._side: Side = side
        self.task_queue = task_queue
        self._child = child

    @property
    def memory(self) -> Memory:
        """Memory of the process so far."""
        return self._child.memory

    def cpu_seconds(self) -> float:
        """Return how long the process has kept a core busy."""
        return self._child.cpu_seconds()

    def rss(self) -> int:
        """Return its memory in bytes now."""
        return self._child.rss()

    @asynccontextmanager
    async def stream(self, *, rolls: bool = False) -> AsyncIterator[Stream]:
        """Start a workflow that hosts a stream; `rolls` makes it continue as new when due."""
        host = host_of(self._side)
        handle = await self._bench.client(self._side).start_workflow(
            host.Host.run,
            host.HostInput(rolls=rolls),
            id=f"benchmark-{self._side}-{uuid.uuid4().hex[:8]}",
            task_queue=self.task_queue,
        )
        handle = self._bench.client(self._side).get_workflow_handle(handle.id)
        stream = Stream(self._bench, self._side, handle)
        try:
            yield stream
        finally:
            await stream.close()


class Bench:
    """A server and a client for each side."""

    def __init__(self, address: str, clients: dict[Side, Client], size: Size) -> None:
        """Use `open_bench`."""
        self.address = address
        self.size: Size = size
        self._clients = clients

    def client(self, side: Side) -> Client:
        """Return a client of the benchmark's own process."""
        return self._clients[side]

    def pick(self, full: int, quick: int) -> int:
        """Return how much to do: all, for a quick look, or hardly anything."""
        return {"full": full, "quick": quick, "tiny": max(1, quick // 10)}[self.size]

    def server_cpu_seconds(self) -> float:
        """Return how long the server has kept a core busy."""
        return sum(
            cpu_seconds(process)
            for process in psutil.Process().children(recursive=True)
            if Path(process.name()).name.startswith("temporal")
        )

    @asynccontextmanager
    async def worker(
        self, side: Side, *, plain: bool = False, cached: int = 1_000
    ) -> AsyncIterator[Worker]:
        """Run a worker process; see `benchmarks.roles.worker`."""
        task_queue = f"benchmark-{side}-{uuid.uuid4().hex[:8]}"
        child = await Child.start(
            "worker",
            side=side,
            address=self.address,
            task_queue=task_queue,
            plain=plain,
            cached=cached,
        )
        try:
            await child.message(READY_SECONDS)
            yield Worker(self, side, task_queue, child)
        finally:
            await child.stop()


@asynccontextmanager
async def open_bench(size: Size = "full") -> AsyncIterator[Bench]:
    """Start the embedded server, in memory, that all sides are measured on."""
    async with EmbeddedServer() as server:
        clients = {side: await connect(side, server.address) for side in SIDES}
        yield Bench(server.address, clients, size)
