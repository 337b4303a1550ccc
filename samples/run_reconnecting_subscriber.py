"""Pipeline: a subscriber that goes away, comes back, and continues where it left off.

Shows that an offset is all that a reader has to remember. The runner reads two items, drops its
connection for three seconds while the workflow goes on, and resumes with a fresh client one past
the last offset: nothing is lost, nothing comes twice. The left column tells how many items have
been processed, how many are there, and how many are pending.

With `--state FILE` the offset is kept in a file. Kill the runner with whatever you like
(`kill -9` too) and start it again with the same file: it picks up the same workflow at the next
item, even when the workflow has ended in the meantime. The file is removed at the end.

Run: `uv run samples/run_worker.py`, and beside it `uv run samples/run_reconnecting_subscriber.py`,
with or without `--state pipeline.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lifecycle import report_failure, run
from shared import TASK_QUEUE, PipelineInput, StageEvent, new_workflow_id
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from workflows.pipeline_workflow import PipelineWorkflow

from workflow_streams import End, Item, WorkflowStreamClient, connect

COLUMN_WIDTH = 30
ITEMS_BEFORE_DISCONNECT = 2
SECONDS_DISCONNECTED = 3
SECONDS_BETWEEN_LOOKS = 0.25


@dataclass
class Board:
    """The left column: how far the reader is, and how far the stream."""

    processed: int = 0
    available: int = 0

    def line(self, message: str) -> None:
        """Print a message behind the column."""
        self.available = max(self.available, self.processed)
        pending = self.available - self.processed
        column = f"proc={self.processed} avail={self.available} pend={pending}"
        print(f"{column:<{COLUMN_WIDTH}}│ {message}")

    def item(self, item: Item[StageEvent]) -> None:
        """Count an item as processed and print it."""
        self.processed = item.offset + 1
        self.line(f"offset={item.offset} stage={item.data.stage}")


@asynccontextmanager
async def live_board(client: Client, workflow_id: str, processed: int = 0) -> AsyncIterator[Board]:
    """A board with a heartbeat, and with an eye on the head of the stream."""
    board = Board(processed)
    stream = WorkflowStreamClient.create(client, workflow_id)
    stop = asyncio.Event()

    async def stopped_within(seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
        return stop.is_set()

    async def watch() -> None:
        while not await stopped_within(SECONDS_BETWEEN_LOOKS):
            board.available = await stream.get_offset()

    async def beat() -> None:
        while not await stopped_within(1):
            board.line("·")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        tasks.create_task(beat())
        try:
            yield board
        finally:
            stop.set()


@dataclass
class Bookmark:
    """Where a reader stands: all that has to survive it."""

    workflow_id: str
    next_offset: int = 0

    @classmethod
    def load(cls, file: Path) -> Bookmark:
        """Read the bookmark, or make one for a workflow that is yet to be started."""
        if not file.exists():
            return cls(new_workflow_id("pipeline"))
        return cls(**json.loads(file.read_text()))

    def save(self, file: Path) -> None:
        """Write the bookmark so that a kill at any moment leaves the old one or the new one."""
        draft = file.with_name(f"{file.name}.new")
        draft.write_text(json.dumps(asdict(self)))
        draft.replace(file)


async def start(client: Client, workflow_id: str) -> WorkflowHandle[PipelineWorkflow, str]:
    """Start the pipeline, unless it has been started before."""
    try:
        return await client.start_workflow(
            PipelineWorkflow.run,
            PipelineInput(workflow_id),
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    except WorkflowAlreadyStartedError:
        return client.get_workflow_handle_for(PipelineWorkflow.run, workflow_id)


async def disconnect_and_resume(client: Client) -> int:
    """Read two items, go away for a while, read the rest."""
    handle = await start(client, new_workflow_id("pipeline"))
    async with live_board(client, handle.id) as board:
        board.line("connected")
        first = WorkflowStreamClient.create(client, handle.id).topic("status", type=StageEvent)
        next_offset = 0
        async for item in first.subscribe():
            board.item(item)
            next_offset = item.offset + 1
            if board.processed == ITEMS_BEFORE_DISCONNECT:
                break
        board.line(f"disconnected for {SECONDS_DISCONNECTED} s")
        await asyncio.sleep(SECONDS_DISCONNECTED)
        board.line(f"reconnected at offset {next_offset}")
        fresh = WorkflowStreamClient.create(client, handle.id).topic("status", type=StageEvent)
        async for event in fresh.follow(from_offset=next_offset):
            match event:
                case Item():
                    board.item(event)
                case End(outcome="completed"):
                    board.line(f"workflow result: {await handle.result()}")
                case End():
                    return report_failure(event)
    return 0


async def read_with_bookmark(client: Client, file: Path) -> int:
    """Read from the bookmark on, and move it after every item."""
    bookmark = Bookmark.load(file)
    bookmark.save(file)
    handle = await start(client, bookmark.workflow_id)
    async with live_board(client, handle.id, bookmark.next_offset) as board:
        board.line(f"reading {handle.id} from offset {bookmark.next_offset}")
        stages = WorkflowStreamClient.create(client, handle.id).topic("status", type=StageEvent)
        async for event in stages.follow(from_offset=bookmark.next_offset):
            match event:
                case Item(offset=offset):
                    board.item(event)
                    # A kill between these two lines shows the item again after the restart:
                    # printing first makes it "at least once", saving first "at most once".
                    bookmark.next_offset = offset + 1
                    bookmark.save(file)
                case End(outcome="completed"):
                    board.line(f"workflow result: {await handle.result()}")
                    file.unlink()
                case End():
                    file.unlink()
                    return report_failure(event)
    return 0


async def main(state: Path | None) -> int:
    """Run one of the two modes."""
    client = await connect()
    if state is None:
        return await disconnect_and_resume(client)
    return await read_with_bookmark(client, state)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A subscriber that continues where it left off.")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep the offset in this file")
    run(functools.partial(main, parser.parse_args().state))
