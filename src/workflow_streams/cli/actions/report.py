"""Finds out everything that can be known about a stream."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from ...errors import StreamNotFoundError
from ...events import End
from ...log import wire
from ...log.wire import PollInput, PollResult, RunRef
from ...read.moments import Moment
from ...read.runs.chain import Chain
from ...read.runs.history_run import HistoryRun
from ...read.runs.polled.last_head import last_head
from ...temporal.link import rpc
from ...temporal.rpc import is_transient, translate

_SETTLE_SECONDS = 2.0
_QUERY_TIMEOUT = timedelta(seconds=10)
_CALLS_AT_ONCE = 16


@dataclass(slots=True)
class Run:
    """One run; ``described`` is None when the namespace's retention has deleted it."""

    run_id: str
    first_offset: int | None
    described: WorkflowExecutionDescription | None


@dataclass(slots=True)
class Report:
    """What is known of a stream.

    Attributes:
        described: The current run, as Temporal describes it.
        run: The reader of that run. Its fold is None if a contrib hosts the stream, or if no worker
            has opened it yet.
        head: The offset that the next item gets; None if unknown.
        base: The lowest retained offset; None if unknown.
        runs: All runs, from the first that is retained on.
        topics: Items of the current run, by topic.
        topic_bytes: Their encoded sizes.
        published: Items of the current run, by publisher id; None is the workflow itself.
        verdicts: What became of the current run's batches.
        rewinds: How often the current run has taken items back.
        end: How the stream ended, if it has.
    """

    described: WorkflowExecutionDescription
    run: HistoryRun
    head: int | None = None
    base: int | None = None
    runs: list[Run] = field(default_factory=list[Run])
    topics: Counter[str] = field(default_factory=Counter[str])
    topic_bytes: Counter[str] = field(default_factory=Counter[str])
    published: Counter[str | None] = field(default_factory=Counter[str | None])
    verdicts: Counter[str] = field(default_factory=Counter[str])
    rewinds: int = 0
    end: End | None = None

    @property
    def host(self) -> str | None:
        """Which package hosts the stream; None if only a worker could tell and none answers."""
        if self.run.fold is not None:
            return "workflow_streams"
        return "contrib" if self.head is not None else None


async def examine(client: Client, workflow_id: str, run_id: str | None) -> Report:
    """Read the stream's current run, or run ``run_id``, up to its present end.

    Raises:
        StreamNotFoundError: There is no such workflow, or it hosts no stream.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    described = await rpc(handle.describe(), workflow_id)
    chain = Chain(client, workflow_id, described.run_id)
    assert isinstance(chain.run, HistoryRun)
    report = Report(described, chain.run)
    await _read_run(report, chain)
    fold = report.run.fold
    if fold is not None:
        report.head, report.base = fold.head, fold.base
    elif report.run.polled:
        await _ask_contrib(client, handle, report)
    earlier = [] if fold is None else report.run.line[:-1]
    at_once = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def describe(ref: RunRef) -> Run:
        async with at_once:
            return Run(ref.run_id, ref.first_offset, await _described(client, workflow_id, ref))

    report.runs = await asyncio.gather(*map(describe, earlier))
    first_offset = None if fold is None else report.run.line[-1].first_offset
    report.runs.append(Run(described.run_id, first_offset, described))
    return report


async def _read_run(report: Report, chain: Chain) -> None:
    described = report.described
    # The last events may belong to a task that is being tried, so that they may be replaced.
    nearly, length = described.history_length - 2, described.history_length
    with suppress(TimeoutError):
        async with asyncio.timeout(None) as limit, aclosing(chain.pages()) as pages:
            async for page in pages:
                for moment in page.moments:
                    if moment.run_id == described.run_id:
                        _count(report, moment)
                if page.polled or page.run_id != described.run_id or page.seen_id >= length:
                    return
                if page.seen_id >= nearly:
                    limit.reschedule(asyncio.get_running_loop().time() + _SETTLE_SECONDS)


def _count(report: Report, moment: Moment) -> None:
    publisher = None
    if moment.judged is not None:
        publisher = moment.judged.publisher_id
        kind = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(moment.judged.verdict).__name__)
        report.verdicts[kind.lower()] += 1
    if moment.chunk is not None:
        for topic, _, data in moment.chunk.entries:
            report.topics[topic] += 1
            report.topic_bytes[topic] += len(data)
        report.published[publisher] += len(moment.chunk.entries)
    report.rewinds += moment.rewind is not None
    report.end = moment.end or report.end


async def _ask_contrib(client: Client, handle: WorkflowHandle[Any, Any], report: Report) -> None:
    """Ask the worker of a stream that a contrib hosts; without a worker, nothing is known."""
    try:
        report.head = await handle.query(
            wire.OFFSET_QUERY, result_type=int, rpc_timeout=_QUERY_TIMEOUT
        )
    except WorkflowQueryFailedError as err:
        if report.described.status == WorkflowExecutionStatus.RUNNING:
            raise StreamNotFoundError(handle.id, f"hosts no stream: {err}") from err
        # Some hosts answer no queries after their workflow has been terminated.
        report.head = await last_head(client, handle.id, report.described.run_id)
        return
    except RPCError as err:
        if not is_transient(err) and err.status != RPCStatusCode.FAILED_PRECONDITION:
            raise translate(err, handle.id) from err
        return
    # Hosts in other languages than Python do not answer this one.
    with suppress(WorkflowQueryFailedError):
        page = await handle.query(wire.POLL, PollInput([], 0), result_type=PollResult)
        report.base = page.items[0].offset if page.items else report.head


async def _described(
    client: Client, workflow_id: str, ref: RunRef
) -> WorkflowExecutionDescription | None:
    handle = client.get_workflow_handle(workflow_id, run_id=ref.run_id)
    try:
        return await rpc(handle.describe(), workflow_id)
    except StreamNotFoundError:
        return None
