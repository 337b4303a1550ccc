"""docs/migrating.md: the import line is all there is, and the worker is what it says."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import temporalio.contrib.workflow_streams as contrib

from workflow_streams import WorkflowStreamClient, WorkflowStreamsPlugin
from workflow_streams.publish import publisher
from workflow_streams.testing.fixtures import StreamServer

from .hosts import Hello
from .markdown import ROOT, Page


def test_the_import_line_names_all_that_the_contrib_has() -> None:
    first = next(b for b in Page(ROOT / "docs/migrating.md").blocks if b.language == "python")
    [imported] = [n for n in ast.walk(ast.parse(first.text)) if isinstance(n, ast.ImportFrom)]
    assert imported.module == "workflow_streams"
    assert sorted(alias.name for alias in imported.names) == sorted(contrib.__all__)


async def test_the_worker_has_the_plugin_and_runs_streams(
    stream_server: StreamServer, load: Callable[[str], Any], unique: Callable[[str], str]
) -> None:
    name = unique("hello")
    worker = await load("docs/migrating.md").worker(stream_server.address, Hello)
    client = worker.client
    assert [type(plugin) for plugin in client.config()["plugins"]] == [WorkflowStreamsPlugin]
    async with worker:
        await client.execute_workflow(Hello.run, id=name, task_queue=worker.task_queue)
    stream = WorkflowStreamClient.create(client, name)
    assert [item.data async for item in stream.subscribe()] == ["hello"]


def test_the_defaults_that_it_tells_are_the_codes() -> None:
    text = Page(ROOT / "docs/migrating.md").text
    milliseconds = publisher.DEFAULT_BATCH_INTERVAL.total_seconds() * 1_000
    assert f"`batch_interval` is {milliseconds:.0f} ms by default" in text
    mebibytes = publisher.DEFAULT_MAX_BUFFER_BYTES // 1024**2
    assert f"above {publisher.DEFAULT_MAX_BUFFER_ITEMS:,} items or {mebibytes} MiB" in text
