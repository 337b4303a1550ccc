"""Temporal plugin: the package passes through the workflow sandbox."""

from __future__ import annotations

import dataclasses

from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class WorkflowStreamsPlugin(SimplePlugin):
    """Keeps the sandbox from importing this package anew for every workflow run.

    Give it to the client (its workers inherit it) or to a worker::

        Worker(client, ..., plugins=[WorkflowStreamsPlugin()])

    Streams work without it. A start gains little by it: most of what the package needs passes
    through by itself.
    """

    def __init__(self) -> None:
        """Make the plugin; it has no settings."""
        super().__init__("workflow_streams.WorkflowStreamsPlugin", workflow_runner=_pass_through)


def _pass_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    if runner is None:
        runner = SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    restrictions = runner.restrictions.with_passthrough_modules("workflow_streams")
    return dataclasses.replace(runner, restrictions=restrictions)
