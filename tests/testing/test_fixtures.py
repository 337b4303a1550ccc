"""The fixtures, in test suites of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workflow_streams.testing.fixtures import StreamServer

pytestmark = pytest.mark.processes

CONFTEST = "from workflow_streams.testing import stream_client, stream_server\n"
SYNC = """
import asyncio

def test_server(stream_server):
    client = asyncio.run(stream_server.connect())
    asyncio.run(client.start_workflow("Nothing", id="one", task_queue="nobody"))

def test_client(stream_client):
    asyncio.run(stream_client.get_workflow_handle("one").describe())
"""
ASYNC = """
async def test_client(stream_client):
    await stream_client.start_workflow("Nothing", id="two", task_queue="nobody")

async def test_asked_for_in_a_running_loop(request):
    client = request.getfixturevalue("stream_client")
    await client.get_workflow_handle("two").describe()
"""
ADDRESS = """
def test_address(stream_server):
    assert stream_server.address == {address!r}
"""


WITHOUT_PLUGIN = ("-p", "no:asyncio")
WITH_PLUGIN = ("--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


def run_suite(
    folder: Path, test: str, *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    own = {k: v for k, v in os.environ.items() if not k.startswith(("TEMPORAL_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=own | environment,
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_they_serve_tests_without_any_plugin(tmp_path: Path) -> None:
    done = run_suite(tmp_path, SYNC, *WITHOUT_PLUGIN)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_they_serve_async_tests(tmp_path: Path) -> None:
    done = run_suite(tmp_path, ASYNC, *WITH_PLUGIN)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_settings_for_other_servers_do_not_matter(tmp_path: Path) -> None:
    settings = {"TEMPORAL_NAMESPACE": "elsewhere", "TEMPORAL_API_KEY": "secret"}
    done = run_suite(tmp_path, SYNC, *WITHOUT_PLUGIN, **settings)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_server_of_the_environment_is_used(tmp_path: Path) -> None:
    test = ADDRESS.format(address="temporal.example:7233")
    done = run_suite(tmp_path, test, *WITHOUT_PLUGIN, TEMPORAL_ADDRESS="temporal.example:7233")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_session_has_one_server(stream_server: StreamServer) -> None:
    if os.environ.get("TEMPORAL_ADDRESS"):
        pytest.skip("TEMPORAL_ADDRESS names the server")
    port = stream_server.address.rpartition(":")[2]
    children = psutil.Process().children(recursive=True)
    assert [port in p.cmdline() for p in children if p.name() == "temporal"] == [True]


def test_without_pytest_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['pytest'] = None; import workflow_streams.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 1
    assert "pip install 'workflow-streams[testing]'" in done.stderr
