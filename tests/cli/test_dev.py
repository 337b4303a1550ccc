"""`dev` runs everything on one machine, and leaves nothing of it behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from workflow_streams import WorkflowStreamClient, connect
from workflow_streams.embedded.ports import free_port

from .command import COMMAND, SECONDS, environment

pytestmark = pytest.mark.processes

SERVER_ONLY = ("--headless", "--no-gateway", "--no-workers")


def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *args], env=environment(None, more), capture_output=True, text=True, timeout=250
    )


class Dev:
    """A running `dev`; `lines` is what it has printed, once it was ready and later."""

    def __init__(self, *args: str, **more: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, "dev", *args],
            env=environment(None, more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.until("Ctrl-C ")
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def until(self, beginning: str) -> str:
        """Wait for a line that begins like this."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return self.lines[-1]
        raise AssertionError("\n".join(self.lines))

    def told(self, title: str) -> str:
        """Return the text of the last line with this title."""
        return next(line for line in reversed(self.lines) if line.startswith(title))[18:]

    @property
    def server(self) -> psutil.Process:
        return next(child for child in self.children if child.name() == "temporal")

    def finish(self) -> tuple[int, str]:
        """Wait for the end of it and of all that it has started; return status and output."""
        output, _ = self.process.communicate(timeout=SECONDS)
        _, alive = psutil.wait_procs(self.children, timeout=SECONDS)
        assert not alive
        return self.process.returncode, output


@pytest.fixture
def dev() -> Iterator[Dev]:
    running = Dev("--port", "0", *SERVER_ONLY)
    yield running
    running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(dev: Dev, number: signal.Signals) -> None:
    dev.process.send_signal(number)
    assert dev.finish() == (0, "")


async def test_it_prints_where_it_serves_and_how_to_get_there(dev: Dev) -> None:
    address = dev.lines[0].split()[-1]
    assert dev.lines == [
        f"Temporal server   {address}",
        f"Elsewhere         export TEMPORAL_ADDRESS={address}",
        "Ctrl-C            ends it all",
    ]
    await connect(target_host=address)


def test_it_says_so_when_the_server_ends_by_itself(dev: Dev) -> None:
    dev.server.kill()
    status, output = dev.finish()
    assert status == 1
    assert output.startswith("workflow-streams: the server has ended by itself.")


async def test_it_takes_ports_namespace_and_database(tmp_path: Path) -> None:
    port, ui_port = free_port(), free_port()
    running = Dev(
        *("--port", str(port), "--ui-port", str(ui_port), "--no-gateway", "--no-workers"),
        *("--namespace", "orders", "--db", str(tmp_path / "streams.db")),
    )
    try:
        assert running.lines[:2] == [
            f"Temporal server   127.0.0.1:{port}",
            f"Temporal's page   http://127.0.0.1:{ui_port}",
        ]
        client = await connect(target_host=f"127.0.0.1:{port}", namespace="orders")
        await client.start_workflow("Nothing", id="one", task_queue="nobody")
        assert (tmp_path / "streams.db").exists()
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == (0, "")


async def test_gateway_and_workers_of_the_samples_serve_and_end_with_it() -> None:
    # What the user has set for other servers does not matter.
    running = Dev(
        *("--port", "0", "--ui-port", "0", "--gateway-port", "0"),
        TEMPORAL_NAMESPACE="elsewhere",
        TEMPORAL_API_KEY="secret",
    )
    try:
        titles = [line[:18].rstrip() for line in running.lines]
        assert titles[:4] == ["Temporal server", "Temporal's page", "Elsewhere", "Gateway, viewer"]
        assert sorted(titles[4:6]) == ["LLM worker", "Sample worker"]
        assert titles[6:] == ["Samples", "Ctrl-C"]
        client = await connect(target_host=running.told("Temporal server"))
        first, queue = re.fullmatch(
            r"process (\d+), on task queue (\S+)", running.told("Sample worker")
        ).groups()  # type: ignore[union-attr]
        os.kill(int(first), signal.SIGKILL)
        assert await asyncio.to_thread(running.until, "Sample worker") == (
            f"Sample worker     process {first} has ended; another one is started"
        )
        await asyncio.to_thread(running.until, "Sample worker")
        assert running.told("Sample worker").split(",")[0] != f"process {first}"
        running.children += psutil.Process(running.process.pid).children(recursive=True)
        hub = await client.start_workflow(
            "HubWorkflow", {"hub_id": "1"}, id="hub", task_queue=queue
        )
        stream = WorkflowStreamClient.create(client, hub.id)
        assert await stream.topic("news").send({"headline": "it works"}) == 0
        url = f"{running.told('Gateway, viewer')}/v1/stream/hub?offset=-1"
        with await asyncio.to_thread(urllib.request.urlopen, url, timeout=SECONDS) as answer:
            [item] = json.loads(answer.read())
        assert (item["topic"], item["data"]) == ("news", {"headline": "it works"})
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == (0, "")


def test_nothing_outlives_it_when_it_is_killed() -> None:
    running = Dev("--port", "0", "--headless", "--gateway-port", "0")
    assert len(running.children) >= 4  # server and worker, each with what watches over it
    running.process.kill()
    assert running.finish()[0] == -signal.SIGKILL


def test_it_starts_no_server_if_the_environment_names_one() -> None:
    done = run("dev", "--no-gateway", "--no-workers", TEMPORAL_ADDRESS="temporal.example:7233")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "Temporal server   temporal.example:7233, as TEMPORAL_ADDRESS says; none is started\n"
    )


def test_errors_are_one_plain_message(tmp_path: Path) -> None:
    done = run("dev", "--db", str(tmp_path / "nowhere" / "streams.db"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"workflow-streams: The folder of the database does not exist: {tmp_path / 'nowhere'}\n"
    )
