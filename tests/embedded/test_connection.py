"""`connect`: the environment's settings, and errors that say what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from workflow_streams import WorkflowStreamsPlugin, connect
from workflow_streams.embedded.ports import free_port
from workflow_streams.errors import PermissionDeniedError, ServerUnavailableError
from workflow_streams.testing.fixtures import StreamServer


@asynccontextmanager
async def refusing_server(status: int, message: bytes) -> AsyncIterator[str]:
    """A server that answers every call with a gRPC status."""

    def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
        header = len(body).to_bytes(3, "big") + bytes([kind, flags])
        return header + stream.to_bytes(4, "big") + body

    def field(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value

    answer = b"\x88" + field(b"content-type", b"application/grpc")
    answer += field(b"grpc-status", b"%d" % status) + field(b"grpc-message", message)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readexactly(24)
            writer.write(frame(4, 0, 0))
            while True:
                header = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(header[:3], "big"))
                if header[3] == 1:
                    writer.write(frame(1, 5, int.from_bytes(header[5:], "big"), answer))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_it_goes_where_the_environment_says(
    stream_server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", stream_server.address)
    client = await connect()
    assert client.service_client.config.target_host == stream_server.address


async def test_arguments_win_over_the_environment(
    stream_server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "nowhere.invalid:1")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "elsewhere")
    client = await connect(target_host=stream_server.address, namespace="here")
    assert client.namespace == "here"


async def test_the_plugin_is_added_once(stream_server: StreamServer) -> None:
    for plugins in ([], [WorkflowStreamsPlugin()]):
        client = await stream_server.connect(plugins=plugins)
        ours = [p for p in client.config()["plugins"] if isinstance(p, WorkflowStreamsPlugin)]
        assert len(ours) == 1


async def test_a_server_that_is_not_there_is_named() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnavailableError, match=f"{address}: Connection refused") as caught:
        await connect(target_host=address)
    assert caught.value.address == address
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("status", [7, 16])
async def test_refused_credentials_are_not_taken_for_an_absent_server(status: int) -> None:
    async with refusing_server(status, b"who are you") as address:
        with pytest.raises(PermissionDeniedError, match="who are you") as caught:
            await connect(target_host=address)
        assert caught.value.address == address


async def test_errors_of_plugins_pass_through() -> None:
    class Faulty(WorkflowStreamsPlugin):
        async def connect_service_client(self, *_: object) -> object:
            raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"):
        await connect(target_host="127.0.0.1:1", plugins=[Faulty()])
