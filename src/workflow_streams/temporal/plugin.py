"""Temporal plugin: reports retries in agent frameworks, and lets the package pass the sandbox."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from temporalio.client import ClientConfig
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from .attempts import AttemptInterceptor


def has_plugin(plugins: Iterable[object]) -> bool:
    """Whether this package's is among them."""
    return any(isinstance(plugin, WorkflowStreamsPlugin) for plugin in plugins)


class WorkflowStreamsPlugin(SimplePlugin):
    """Makes retries in agent frameworks visible, and spares the sandbox imports of this package.

    Give it to the client; its workers inherit it::

        client = await Client.connect("localhost:7233", plugins=[WorkflowStreamsPlugin()])

    Activities that run on the client's workers and publish with the contrib's client, as those of
    Temporal's plugins for agent frameworks do, then publish under their attempt: when one is
    retried, readers get a :class:`Rewind` over what the failed attempt wrote, and its late
    writes are dropped. Without the plugin, both answers stay in the stream. Clients of this
    package do it by themselves.

    The sandbox no longer imports this package anew for every workflow run. That much works on a
    worker, too: ``Worker(..., plugins=[WorkflowStreamsPlugin()])``.
    """

    def __init__(self) -> None:
        """Make the plugin; it has no settings."""
        super().__init__("workflow_streams.WorkflowStreamsPlugin", workflow_runner=_pass_through)

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Add the interceptor that puts the attempt into publishes."""
        config = super().configure_client(config)
        attempts = AttemptInterceptor(config["namespace"])
        config["interceptors"] = [*config["interceptors"], attempts]
        return config


def _pass_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    if runner is None:
        runner = SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    restrictions = runner.restrictions.with_passthrough_modules("workflow_streams")
    return dataclasses.replace(runner, restrictions=restrictions)
