"""Has the source of a fork that expires forget it, once the fork has ended.

The fork starts this workflow before it ends, and the workflow goes on without it. If the fork is
used at that moment after all, it does not end, and the source is not told.
"""

# No `from __future__ import annotations`: payload converters look the types up by the module's
# name, which the sandbox does not know when the package was passed through.
from contextlib import suppress
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

from ...errors import StreamNotFoundError
from ...temporal.link import ClientLink
from ..host import PARTING_WORKFLOW
from .forgetting import forget_gone_forks

_PARTING_ACTIVITY = "workflow-streams-part-fork"

_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(minutes=1)
)
_ONE_TRY = timedelta(minutes=1)
# A fork that still runs after this time has been used, and starts another such workflow when it
# expires. If it had no worker for so long, its end is noticed when the forks are looked up.
_LONGEST = timedelta(minutes=5)


@workflow.defn(name=PARTING_WORKFLOW, sandboxed=False)
class WorkflowStreamParting:
    """Waits for the end of a fork's run, and has its source forget the fork."""

    @workflow.run
    async def run(self, source: str, fork: str, run_id: str) -> None:
        """Do it, or give up if the run does not end."""
        with suppress(ActivityError):
            await workflow.execute_activity(
                _PARTING_ACTIVITY,
                args=[source, fork, run_id],
                start_to_close_timeout=_ONE_TRY,
                schedule_to_close_timeout=_LONGEST,
                retry_policy=_RETRIES,
            )


@activity.defn(name=_PARTING_ACTIVITY)
async def part_fork(source: str, fork: str, run_id: str) -> None:
    """Have the source forget the fork, if the fork's run has ended.

    Raises:
        ApplicationError: It has not yet.
    """
    link = ClientLink(activity.client())
    handle = link.client.get_workflow_handle(fork, run_id=run_id)
    with suppress(StreamNotFoundError):
        described = await link.call(handle.describe(), fork)
        if described.status == WorkflowExecutionStatus.RUNNING:
            raise ApplicationError(
                "The fork has not ended yet", category=ApplicationErrorCategory.BENIGN
            )
    await forget_gone_forks(link, source, fork)
