"""The embedded server, run for real."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from workflow_streams import WorkflowStreamsPlugin
from workflow_streams.embedded import (
    EmbeddedServer,
    ServerStartError,
    server,
    server_or_environment,
)
from workflow_streams.errors import ServerUnavailableError, UsageError

pytestmark = pytest.mark.processes


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def server_processes() -> list[psutil.Process]:
    """The `temporal` processes among the descendants of this one."""
    return [p for p in psutil.Process().children(recursive=True) if p.name() == "temporal"]


async def start_workflow(client: Client, workflow_id: str) -> None:
    await client.start_workflow("Nothing", id=workflow_id, task_queue="nobody")


async def test_it_serves_in_the_block_and_is_gone_after_it() -> None:
    async with EmbeddedServer() as running:
        address = running.address
        client = await running.connect()
        assert any(isinstance(p, WorkflowStreamsPlugin) for p in client.config()["plugins"])
        await start_workflow(client, "one")
    with pytest.raises(ServerUnavailableError) as caught:
        await running.connect()
    assert caught.value.address == address


async def test_it_leaves_no_process_behind() -> None:
    before = server_processes()
    async with EmbeddedServer():
        started = [p for p in server_processes() if p not in before]
        assert len(started) == 1
    assert not started[0].is_running()


async def test_its_block_leaves_no_process_behind_when_it_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        async with EmbeddedServer() as running:
            raise ZeroDivisionError
    with pytest.raises(ServerUnavailableError):
        await running.connect()


async def test_its_database_survives_kill_and_restart_at_the_same_address(tmp_path: Path) -> None:
    async with EmbeddedServer(db_filename=tmp_path / "streams.db") as running:
        address = running.address
        await start_workflow(await running.connect(), "kept")
        await running.kill()
        with pytest.raises(ServerUnavailableError):
            await running.connect()
        await running.start()
        assert running.address == address
        await start_workflow(await running.connect(), "later")
    async with EmbeddedServer(db_filename=tmp_path / "streams.db") as other:
        client = await other.connect()
        for workflow_id in ("kept", "later"):
            assert (await client.get_workflow_handle(workflow_id).describe()).id == workflow_id


async def test_a_relative_database_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    running = EmbeddedServer(db_filename="streams.db")
    monkeypatch.chdir("/")
    async with running:
        assert (tmp_path / "streams.db").exists()


async def test_after_a_crash_it_can_be_started_again() -> None:
    before = server_processes()
    async with EmbeddedServer() as running:
        address = running.address
        (process,) = (p for p in server_processes() if p not in before)
        process.kill()
        await running.wait()
        await running.start()
        assert running.address == address
        await running.connect()


async def test_it_ends_the_server_of_a_killed_supervisor() -> None:
    before = server_processes()
    running = EmbeddedServer()
    await running.start()
    (process,) = (p for p in server_processes() if p not in before)
    supervisor = process.parent()
    assert supervisor is not None
    supervisor.kill()
    await running.stop()
    await asyncio.to_thread(process.wait, 10)


async def test_a_second_start_is_refused() -> None:
    async with EmbeddedServer() as running:
        with pytest.raises(UsageError, match="runs already"):
            await running.start()
        await running.connect()


async def test_stop_and_kill_may_be_called_again_and_before_a_start() -> None:
    running = EmbeddedServer()
    await running.stop()
    await running.start()
    await running.kill()
    await running.kill()
    await running.stop()


def test_it_has_no_address_before_it_is_started() -> None:
    with pytest.raises(UsageError, match="no address"):
        _ = EmbeddedServer().address
    assert EmbeddedServer(port=7000).address == "127.0.0.1:7000"


async def test_it_creates_its_namespace_and_connects_there() -> None:
    async with EmbeddedServer(namespace="orders") as running:
        client = await running.connect()
        assert client.namespace == "orders"
        request = DescribeNamespaceRequest(namespace="orders")
        described = await client.workflow_service.describe_namespace(request)
        assert described.namespace_info.name == "orders"


async def test_its_web_page_is_served_on_demand() -> None:
    assert EmbeddedServer().ui_url is None
    async with EmbeddedServer(ui=True) as running:
        assert running.ui_url is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running.ui_url))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.0 200")
        writer.close()
        await writer.wait_closed()


async def test_settings_of_other_servers_do_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "elsewhere")
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    async with EmbeddedServer() as running:
        assert (await running.connect()).namespace == "default"


async def test_a_port_in_use_is_an_error_even_if_a_server_answers_there() -> None:
    async with EmbeddedServer() as first:
        second = EmbeddedServer(port=port_of(first.address))
        with pytest.raises(ServerStartError, match=r"Port \d+ .* cannot be used"):
            await second.start()
        await first.connect()


async def test_a_lost_race_for_a_port_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with EmbeddedServer() as winner:
        ports = [port_of(winner.address)]
        ask = server.free_port
        # One for the server and one for the web page, each time it tries.
        monkeypatch.setattr(server, "free_port", lambda: ports.pop() if ports else ask())
        async with EmbeddedServer() as loser:
            assert loser.address != winner.address
            await start_workflow(await loser.connect(), "mine")
        with pytest.raises(Exception, match="not found"):
            await (await winner.connect()).get_workflow_handle("mine").describe()


async def test_a_server_that_ends_at_once_tells_why(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match="ended at once") as caught:
        await EmbeddedServer(db_filename=tmp_path).start()
    assert "unable to open database file" in caught.value.output


async def test_of_a_server_that_says_much_the_first_and_the_last_words_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panic says what is the matter first, such as a port in use, and then shows where."""
    talker = tmp_path / "temporal"
    talker.write_text("#!/bin/sh\necho panic: why\nseq 100000\necho last words\nexit 2\n")
    talker.chmod(0o755)
    monkeypatch.setattr(server, "find_binary", lambda: str(talker))
    with pytest.raises(ServerStartError, match="ended at once") as caught:
        await EmbeddedServer().start()
    output = caught.value.output
    assert output.startswith("panic: why\n1\n2\n")
    assert output.endswith("\n99999\n100000\nlast words")
    assert "\n...\n" in output
    assert len(output) < 13_000


async def test_a_server_that_does_not_serve_in_time_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = tmp_path / "temporal"
    idle.write_text("#!/bin/sh\necho thinking; echo $$ > pid\nexec sleep 600\n")
    idle.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "find_binary", lambda: str(idle))
    with pytest.raises(ServerStartError, match=r"did not serve within 0\.5 s") as caught:
        await EmbeddedServer(start_timeout=0.5).start()
    assert caught.value.output == "thinking"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    before = server_processes()
    running = EmbeddedServer()
    starting = asyncio.create_task(running.start())
    while not (started := [p for p in server_processes() if p not in before]):
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not started[0].is_running()


async def test_a_server_deaf_to_an_interrupt_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server_processes()
    async with EmbeddedServer():
        (process,) = (p for p in server_processes() if p not in before)
        process.send_signal(signal.SIGSTOP)
    assert not process.is_running()


def test_a_missing_folder_of_the_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=str(tmp_path / "nowhere")):
        EmbeddedServer(db_filename=tmp_path / "nowhere" / "streams.db")


async def test_a_server_named_by_the_environment_is_used_and_none_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    before = server_processes()
    async with server_or_environment() as address:
        assert address == "temporal.example:7233"
        assert server_processes() == before


async def test_without_one_in_the_environment_a_server_is_started_for_the_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TEMPORAL_ADDRESS", raising=False)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "orders")
    async with server_or_environment() as address:
        client = await Client.connect(address, namespace="orders")
        await start_workflow(client, "one")
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port_of(address)))
