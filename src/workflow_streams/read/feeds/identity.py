"""What a workflow id means now: which chain of runs, and where its stream's items begin."""

from __future__ import annotations

import asyncio

from temporalio.client import Client, WorkflowExecutionDescription

from ...errors import CodecError, ServerUnavailableError
from ...log import wire
from ...temporal.codec import converter_of, record_in
from ...temporal.link import rpc
from ..runs.lookup import first_run_of


class Identity:
    """Asks the server about a workflow, or about one run of it.

    Attributes:
        first_run_id: First run of the chain that is read; empty until it has been asked for.
        base: A run, and the base that the server last told of it.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str | None) -> None:
        """Prepare; ``run_id`` pins one run."""
        self.first_run_id = ""
        self.base = ("", 0)
        self._client = client
        self._workflow_id = workflow_id
        self._pinned_run_id = run_id
        # The chain was the current one at this time; see confirm.
        self._confirmed = float("-inf")
        self._confirming = asyncio.Lock()

    async def describe(self) -> WorkflowExecutionDescription:
        """Ask about the run; raises this package's errors."""
        return await self._describe(self._pinned_run_id)

    def begin(self) -> None:
        """Note that :meth:`learn` is about to be called."""
        self._confirmed = asyncio.get_running_loop().time()

    async def learn(self) -> tuple[str, bool]:
        """Take the chain that the id means now for the one that is read.

        Returns:
            The run to begin with, and whether a ring buffer moves its base on with each item.
        """
        described = await self.describe()
        self.first_run_id = first_run_of(described)
        keeps_last = await self._learn_base(described)
        return described.run_id, keeps_last

    async def current_run(self) -> str | None:
        """Return the run that the chain has come to; None if the id is another chain's by now."""
        described = await self._describe(None)
        same = self.first_run_id in ("", first_run_of(described))
        return described.run_id if same else None

    async def confirm(self, since: float) -> bool:
        """Whether the workflow id still was this chain's at the time ``since``, or after it.

        :attr:`base` is that of then, too: the reading may not have come to a truncation yet.
        Concurrent callers share the answer.
        """
        async with self._confirming:
            if self._confirmed < since:
                now = asyncio.get_running_loop().time()
                try:
                    described = await self._describe(None)
                except ServerUnavailableError:
                    if self._pinned_run_id is None:
                        raise
                    return True
                if self.first_run_id in ("", first_run_of(described)):
                    await self._learn_base(described)
                elif self._pinned_run_id is None:
                    return False
                self._confirmed = now
        return True

    async def _learn_base(self, described: WorkflowExecutionDescription) -> bool:
        """Note the base of the run's last record, which its memo shows; return if it has a ring."""
        base, ring = await self._last_record(described)
        self.base = described.run_id, base
        return ring

    async def _last_record(self, described: WorkflowExecutionDescription) -> tuple[int, bool]:
        fields = described.raw_info.memo.fields
        if wire.MEMO_KEY not in fields:
            return 0, False
        converter = converter_of(self._client, self._workflow_id)
        try:
            record = await record_in(converter, fields[wire.MEMO_KEY], self._workflow_id)
        except CodecError:
            # The history says so in its place, after what comes before it.
            return 0, False
        return record.base, record.ring

    async def _describe(self, run_id: str | None) -> WorkflowExecutionDescription:
        handle = self._client.get_workflow_handle(self._workflow_id, run_id=run_id)
        return await rpc(handle.describe(), self._workflow_id)
