"""`workflow-streams dev`, as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from workflow_streams import connect
from workflow_streams.embedded.ports import free_port

COMMAND = [sys.executable, "-c", "from workflow_streams.cli import main; main()"]


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")} | more


def run(*args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], env=environment(**more), capture_output=True, text=True, timeout=60
    )


class Dev:
    """A running `dev`; `lines` is what it printed until it was ready."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "dev", *args],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines: list[str] = []
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.server = next((p for p in children if p.name() == "temporal"), None)

    def finish(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=30)
        assert self.server is not None
        assert not self.server.is_running()
        return self.process.returncode, output


@pytest.fixture
def dev() -> Iterator[Dev]:
    running = Dev("--port", "0", "--headless")
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
        "Ctrl-C ends it.",
    ]
    await connect(target_host=address)


def test_it_says_so_when_the_server_ends_by_itself(dev: Dev) -> None:
    assert dev.server is not None
    dev.server.kill()
    status, output = dev.finish()
    assert status == 1
    assert output.startswith("workflow-streams: the server has ended by itself.")


async def test_it_takes_ports_namespace_and_database(tmp_path: Path) -> None:
    port, ui_port = free_port(), free_port()
    running = Dev(
        *("--port", str(port), "--ui-port", str(ui_port)),
        *("--namespace", "orders", "--db", str(tmp_path / "streams.db")),
    )
    try:
        assert running.lines[:2] == [
            f"Temporal server   127.0.0.1:{port}",
            f"Web page          http://127.0.0.1:{ui_port}",
        ]
        client = await connect(target_host=f"127.0.0.1:{port}", namespace="orders")
        await client.start_workflow("Nothing", id="one", task_queue="nobody")
        assert (tmp_path / "streams.db").exists()
    finally:
        running.process.send_signal(signal.SIGINT)
        assert running.finish() == (0, "")


def test_it_starts_nothing_if_the_environment_names_a_server() -> None:
    done = run("dev", TEMPORAL_ADDRESS="temporal.example:7233")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "TEMPORAL_ADDRESS is set: using temporal.example:7233; nothing is started.\n"
    )


def test_errors_are_one_plain_message(tmp_path: Path) -> None:
    done = run("dev", "--db", str(tmp_path / "nowhere" / "streams.db"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"workflow-streams: The folder of the database does not exist: {tmp_path / 'nowhere'}\n"
    )
