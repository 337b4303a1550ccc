"""A gateway ends when it is told to, even if its worker for streams made by PUT does not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import Client

from workflow_streams.embedded.ports import free_port
from workflow_streams.hosted.host import HostSetup, start_host
from workflow_streams.testing.fixtures import StreamServer

from ...parents import ROOT

MODULE = "tests.gateway.http.stuck_gateway"


@pytest.mark.parametrize(
    ("how", "number"),
    [("command", signal.SIGTERM), ("uvicorn", signal.SIGTERM), ("uvicorn", signal.SIGINT)],
)
async def test_a_worker_that_does_not_end_is_left_behind(
    stream_server: StreamServer,
    client: Client,
    unique: Callable[[str], str],
    tmp_path: Path,
    how: str,
    number: signal.Signals,
) -> None:
    log = tmp_path / "log"
    port, queue, name = free_port(), unique("queue"), unique("stream")
    environ = {
        "TEMPORAL_ADDRESS": stream_server.address,
        "WORKFLOW_STREAMS_SHUTDOWN_SECONDS": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, how, stream_server.address, str(port), queue],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    handle = client.get_workflow_handle(name)
    try:
        await start_host(client, name, HostSetup("text/plain"), task_queue=queue)
        while (await handle.describe()).history_length < 4:  # its first task has not been done
            await asyncio.sleep(0.05)
        await handle.signal("stumble")
        while "eviction job" not in log.read_text():
            assert process.poll() is None, log.read_text()
            await asyncio.sleep(0.05)
        process.send_signal(number)
        await asyncio.to_thread(process.wait, 60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        await handle.terminate()
    told = log.read_text()
    assert "is left behind" in told
    assert "Task was destroyed" not in told
    assert "never awaited" not in told
