"""The command connects as Temporal's own does: options, variables, profiles, codec servers."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.worker import Worker

from workflow_streams.hosted.host import (
    HOST_WORKFLOW,
    HostInput,
    HostSetup,
)
from workflow_streams.hosted.worker import host_worker
from workflow_streams.log.wire import SETUP_MEMO_KEY

from .command import Cli, until
from .hosts import Streams, workflows


async def test_options_win_over_variables_and_profiles_over_nothing(
    cli: Cli, streams: Streams, tmp_path: Path
) -> None:
    host = await streams.start("here", "a", stays=True)
    address = cli.address
    assert address is not None
    config = tmp_path / "temporal.toml"
    config.write_text(f'[profile.good]\naddress = "{address}"\n')
    away = Cli("127.0.0.1:1")
    args = ("tail", host.id, "--no-follow")
    done = await asyncio.gather(
        away(*args, "--address", address),
        Cli(None)(*args, "--config-file", str(config), "--profile", "good"),
        Cli(None)(*args, TEMPORAL_CONFIG_FILE=str(config), TEMPORAL_PROFILE="good"),
        away(*args),
        cli(*args, "--profile", "nowhere"),
        cli(*args, "--namespace", "nowhere"),
        cli("ls", "-n", "nowhere"),
        cli(*args, "--tls"),
        cli(*args, "--config-file", str(tmp_path / "none.toml")),
    )
    assert [(one.status, one.out, one.err) for one in done[:3]] == [
        (0, "     0  own       a\n", "")
    ] * 3
    assert [(one.status, one.out) for one in done[3:]] == [(4, "")] * 5 + [(2, "")]
    said = [one.err.removeprefix("workflow-streams: ") for one in done[3:]]
    assert said[0].startswith("No Temporal server answers at 127.0.0.1:1: ")
    assert said[1] == f"Cannot connect to {address}: Profile 'nowhere' not found\n"
    assert said[2].startswith("Namespace nowhere is not found.")
    assert said[3] == "Namespace nowhere is not found.\n"
    assert said[4].startswith(f"No Temporal server answers at {address}: ")
    assert "none.toml' does not exist" in said[5]


class Reversing(PayloadCodec):
    """Turns payloads around; stands for encryption."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [turned(p) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [back(p) for p in payloads]


def turned(payload: Payload) -> Payload:
    return Payload(metadata={"encoding": b"binary/turned"}, data=payload.SerializeToString()[::-1])


def back(payload: Payload) -> Payload:
    if payload.metadata.get("encoding") != b"binary/turned":
        return payload
    return Payload.FromString(payload.data[::-1])


class CodecServer(ThreadingHTTPServer):
    """What Temporal calls a codec server: it knows the codec, and asks who is there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: set[tuple[str, str | None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: CodecServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != "Bearer let-me":
            self.send_error(403)
            return
        self.server.seen.add((self.path, self.headers["X-Namespace"]))
        change = turned if self.path.endswith("/encode") else back
        payloads = json_format.Parse(body, Payloads()).payloads
        answer = json_format.MessageToJson(Payloads(payloads=map(change, payloads))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def codec_server() -> Iterator[CodecServer]:
    server = CodecServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_codec_server_makes_encrypted_streams_readable_and_writable(
    cli: Cli, client: Client, unique: Callable[[str], str], codec_server: CodecServer
) -> None:
    converter = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
    encrypting = Client(**{**client.config(active_config=True), "data_converter": converter})
    queue = unique("codec")
    async with Worker(encrypting, task_queue=queue, workflows=workflows):
        streams = Streams(encrypting, queue)
        host = await streams.start("secret", "a", stays=True)
        codec = ("--codec-endpoint", f"{codec_server.url}/{{namespace}}/")
        allowed = (*codec, "--codec-auth", "Bearer let-me")
        wrote = await cli("publish", host.id, "t", "b", *allowed)
        assert (wrote.status, wrote.out, wrote.err) == (0, "", "")
        tail = ("tail", host.id, "--no-follow")
        read, told, without, refused, nobody, wrong = await asyncio.gather(
            cli(*tail, *allowed),
            cli("inspect", host.id, "--json", *allowed),
            cli(*tail),
            cli(*tail, *codec),
            cli(*tail, "--codec-endpoint", "http://127.0.0.1:1"),
            cli(*tail, "--codec-endpoint", "127.0.0.1:1"),
        )
    assert (read.status, read.err) == (0, "")
    assert read.out == "     0  own       a\n     1  t         b\n"
    assert told.objects[0]["head"] == 2
    assert codec_server.seen == {("/default/encode", "default"), ("/default/decode", "default")}
    assert [one.status for one in (without, refused, nobody, wrong)] == [1, 1, 4, 2]
    assert "lacks the payload codec or the key" in without.err
    assert "answered 403 Forbidden" in refused.err
    assert "does not answer" in nobody.err
    assert wrong.err == "workflow-streams: Not the URL of a codec server: 127.0.0.1:1\n"


async def test_streams_made_over_http_are_listed_even_if_they_cannot_be_decoded(
    cli: Cli, client: Client, unique: Callable[[str], str], codec_server: CodecServer
) -> None:
    converter = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
    encrypting = Client(**{**client.config(active_config=True), "data_converter": converter})
    name, setup = unique("secret"), HostSetup("text/plain")
    query = f"WorkflowId = '{name}' AND TemporalChangeVersion IS NOT NULL"
    async with host_worker(encrypting, task_queue=name):
        host = await encrypting.start_workflow(
            HOST_WORKFLOW,
            HostInput(setup),
            id=name,
            task_queue=name,
            memo={SETUP_MEMO_KEY: setup},
        )

        async def visible() -> bool:
            return (await client.count_workflows(query)).count == 1

        await until(visible)
        ls, codec = ("ls", "--json", "-q", query), ("--codec-endpoint", codec_server.url)
        for done in await asyncio.gather(
            cli(*ls, *codec, "--codec-auth", "Bearer let-me"),
            cli(*ls, *codec),
            cli(*ls, "--codec-endpoint", "http://127.0.0.1:1"),
        ):
            assert (done.status, done.err) == (0, "")
            assert [entry["id"] for entry in done.objects] == [name]
        await host.terminate()
