"""A stream as Temporal has it: in the event histories of its workflow's runs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import ServiceClient

from ...errors import CodecError
from ...events import Last
from ...log import wire
from ...temporal.codec import converter_of, record_in
from ...temporal.handles import first_run_of
from ...temporal.link import rpc
from ..history.outage import bounded
from ..history.pages import newest_event_id
from .chain import Chain
from .gone import check_not_gone
from .lookup import exists
from .polled.host import PolledHost


@dataclass(frozen=True, slots=True)
class Described:
    """What the server says of a run."""

    described: WorkflowExecutionDescription
    client: Client

    @property
    def run_id(self) -> str:
        """The run."""
        return self.described.run_id

    @property
    def first_run_id(self) -> str:
        """First run of its chain."""
        return first_run_of(self.described)

    async def base(self) -> tuple[int, bool]:
        """Return the base of the run's last record, which its memo shows, and if it has a ring."""
        fields = self.described.raw_info.memo.fields
        if wire.MEMO_KEY not in fields:
            return 0, False
        workflow_id = self.described.id
        converter = converter_of(self.client, workflow_id)
        try:
            record = await record_in(converter, fields[wire.MEMO_KEY], workflow_id)
        except CodecError:
            # The history says so in its place, after what comes before it.
            return 0, False
        return record.base, record.ring


@dataclass(frozen=True, slots=True)
class WorkflowSource:
    """The stream of a workflow; see :class:`..source.Source`.

    Attributes:
        client: Temporal client.
        workflow_id: Workflow that hosts the stream.
        run_id: The run to begin with, if it is pinned to one.
    """

    client: Client
    workflow_id: str
    run_id: str | None = None

    @property
    def connection(self) -> ServiceClient:
        """The client's connection."""
        return self.client.service_client

    @property
    def key(self) -> Hashable:
        """Namespace, workflow and run, and the identity of the converter that reads them."""
        return key_of(self.client, self.workflow_id, self.run_id)

    def pinned(self, run_id: str) -> WorkflowSource:
        """Return the source that begins with this run."""
        return replace(self, run_id=run_id)

    async def look(self, run_id: str | None = None) -> Described:
        """Describe a run, or the current one, whose stream must not be gone.

        Raises this package's errors.
        """
        handle = self.client.get_workflow_handle(self.workflow_id, run_id=run_id)
        described = await rpc(handle.describe(), self.workflow_id)
        if run_id is None:
            with suppress(CodecError):  # the history says so, too, after what comes before it
                await check_not_gone(described)
        return Described(described, self.client)

    async def has_run(self, run_id: str) -> bool:
        """Return whether a run is still there; wait while the server does not answer."""
        return await exists(self.client, self.workflow_id, run_id)

    def read(
        self,
        run_id: str,
        offset: int | Last = 0,
        *,
        behind: bool = False,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
    ) -> Chain:
        """Prepare to read the histories from a run on."""
        return Chain(
            self.client,
            self.workflow_id,
            run_id,
            offset=offset,
            behind=behind,
            or_before=or_before,
            path=path,
        )

    async def newest_event_id(self, run_id: str) -> int:
        """Return the id of the last event of a run's history now."""
        return await newest_event_id(self.client, self.workflow_id, run_id)

    def host(self) -> PolledHost:
        """Return what asks a contrib's host."""
        return PolledHost(self.client, self.workflow_id)

    def bounded(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Bound the time that the block waits in an outage."""
        return bounded(self.client, self.workflow_id, seconds)


def key_of(client: Client, workflow_id: str, run_id: str | None) -> Hashable:
    """Return the key of a stream as this client reads it, among those of its connection."""
    return client.namespace, workflow_id, run_id, id(client.data_converter)
