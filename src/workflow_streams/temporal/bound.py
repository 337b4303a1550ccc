"""Signals that reach the workflow that was looked up, and no other of the same id.

A signal goes to whatever run has the workflow id when it arrives. Once a stream has been deleted,
that may be another stream. The server takes a run as the address of a signal, but not a chain of
runs. So each signal names the run, and when that one has ended, it is looked up what came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from ..errors import StreamGoneError
from .handles import first_run_of

# A run that rolls over at each signal is as good as one that does not take any.
_TRIES = 5


class BoundWorkflow:
    """One chain of runs, through rollovers, retries, cron starts and resets.

    Attributes:
        client: Temporal client.
        workflow_id: The workflow.
        first_run_id: The chain's first run, by which it is told from others.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str, first_run_id: str) -> None:
        """Begin with a run of the chain; :meth:`of` takes it from a description."""
        self.client = client
        self.workflow_id = workflow_id
        self.first_run_id = first_run_id
        self._run_id = run_id

    @classmethod
    def of(cls, client: Client, described: WorkflowExecutionDescription) -> BoundWorkflow:
        """Return the chain of a run that the server has described."""
        return cls(client, described.id, described.run_id, first_run_of(described))

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The run that it has come to, as far as is known."""
        return self.client.get_workflow_handle(self.workflow_id, run_id=self._run_id)

    async def signal(self, name: str, arguments: Sequence[Any] = ()) -> None:
        """Signal the chain's current run.

        Raises:
            RPCError: The server has not taken it; with NOT_FOUND, the chain has ended.
            StreamGoneError: The chain has ended, and another one has the workflow id by now.
        """
        for tries_left in reversed(range(_TRIES)):
            run_id = self._run_id
            try:
                return await self.handle.signal(name, args=arguments)
            except RPCError as err:
                if err.status != RPCStatusCode.NOT_FOUND or not tries_left:
                    raise
                if not await self._has_gone_on(run_id):
                    raise
        raise AssertionError  # the last try returns or raises

    async def _has_gone_on(self, run_id: str) -> bool:
        """Whether the chain has come to another run than this one."""
        if self._run_id != run_id:
            return True  # another signal has found out
        try:
            described = await self.client.get_workflow_handle(self.workflow_id).describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        if first_run_of(described) != self.first_run_id:
            raise StreamGoneError(self.workflow_id, replaced=True)
        self._run_id = described.run_id
        return described.run_id != run_id
