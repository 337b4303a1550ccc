"""`gateway` serves streams over HTTP, to those who may, and ends in order."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from .command import SECONDS, Cli, environment, until
from .hosts import Streams


@asynccontextmanager
async def serving(
    cli: Cli, *args: str, ready: bool = True, **more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run the command on a free port; yield it and its URL."""
    async with cli.running("gateway", "--port", "0", *args, **more) as process:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            lines = [await process.stdout.readline() for _ in range(2)]
        title, url = lines[0].decode().split()
        assert title == "Gateway"
        assert lines[1] == b"Ctrl-C            ends it\n"
        async with asyncio.timeout(SECONDS):
            while ready and not await is_ready(url):
                await asyncio.sleep(0.02)
        yield process, url


async def is_ready(url: str) -> bool:
    try:
        return bool(await get(f"{url}/readyz"))
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 503
        refusal.close()
        return False


async def get(url: str, method: str = "GET", body: str | None = None) -> bytes:
    request = urllib.request.Request(
        url, None if body is None else body.encode(), {"Content-Type": "text/plain"}, method=method
    )

    def read() -> bytes:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return bytes(answer.read())

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_streams_until_a_signal_and_sends_readers_away_in_order(
    cli: Cli, streams: Streams, number: signal.Signals
) -> None:
    host = await streams.start("served", "a", stays=True)
    async with serving(cli, "--logs", "json") as (process, url):
        [item] = json.loads(await get(f"{url}/v1/stream/{host.id}?offset=-1"))
        assert (item["offset"], item["topic"], item["data"]) == (0, "own", "a")
        assert b"<html" in await get(f"{url}/")
        address, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        target = f"/v1/stream/{host.id}?offset=now&live=sse"
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        async with asyncio.timeout(SECONDS):
            await reader.readuntil(b"event: control")
            process.send_signal(number)
            await reader.read()  # to its end, which comes by itself
            out, err = await process.communicate()
        writer.close()
    assert (process.returncode, out) == (0, b"")
    logged = [json.loads(line) for line in err.splitlines()]
    assert {entry["level"] for entry in logged} == {"info"}


async def test_streams_that_it_makes_are_shown_and_listed_like_others(
    cli: Cli, client: Client, unique: Callable[[str], str]
) -> None:
    text, gone = unique("text"), unique("gone")
    query = f"WorkflowId IN ('{text}', '{gone}')"

    async def deleted() -> bool:
        return {found.id async for found in client.list_workflows(query)} == {text}

    async with serving(cli) as (_, url):
        for method, name, body in (
            ("PUT", text, "one\n"),
            ("POST", text, "zw\u00f6lf \x1b[31m"),
            ("PUT", gone, "x"),
            ("DELETE", gone, None),
        ):
            await get(f"{url}/v1/stream/{name}", method, body)
        await until(deleted)
        shown, objects, listed = await asyncio.gather(
            cli("tail", text, "--no-follow"),
            cli("tail", text, "--no-follow", "--json"),
            cli("ls", "--json", "--query", query),
        )
    assert shown.out == "     0  default   one\\n\n     1  default   zw\u00f6lf \\x1b[31m\n"
    assert [(o["data"], o["encoding"]) for o in objects.objects] == [
        (base64.b64encode(data.encode()).decode(), "binary/plain")
        for data in ("one\n", "zw\u00f6lf \x1b[31m")
    ]
    assert [found["id"] for found in listed.objects] == [text]


async def test_it_refuses_what_is_not_safe_or_not_possible(cli: Cli, tmp_path: Path) -> None:
    short = tmp_path / "secret"
    short.write_text("short")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await asyncio.gather(
            cli("gateway", "--host", "0.0.0.0", "--port", "0"),
            cli("gateway", "--jwt-secret-file", str(short)),
            cli("gateway", WORKFLOW_STREAMS_ALLOW_ANONYMOUS="perhaps"),
            cli("gateway", "--port", str(port)),
            cli("gateway", "--profile", "nowhere"),
        )
    assert [(one.status, one.out) for one in done] == [(s, "") for s in (2, 2, 2, 1, 4)]
    said = [one.err.removeprefix("workflow-streams: ") for one in done]
    assert said[0].startswith("Refusing to listen on '0.0.0.0' without login: ")
    assert said[1] == "jwt_secret: a secret has at least 32 bytes\n"
    assert said[3] == f"Cannot listen on 127.0.0.1, port {port}: Address already in use\n"
    assert said[4] == "The configuration is not usable: Profile 'nowhere' not found\n"


async def test_with_a_login_it_may_serve_others(cli: Cli, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 32)
    async with serving(cli, "--host", "0.0.0.0", "--jwt-secret-file", str(secret)) as (_, url):
        local = url.replace("0.0.0.0", "127.0.0.1")
        assert json.loads(await get(f"{local}/healthz"))["status"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            await get(f"{local}/v1/streams")
        with refused.value:
            assert refused.value.code == 401


@pytest.mark.processes
async def test_it_is_up_but_not_ready_while_temporal_is_away() -> None:
    async with serving(Cli("127.0.0.1:1"), ready=False) as (_, url):
        assert json.loads(await get(f"{url}/healthz"))["status"]
        with pytest.raises(urllib.error.HTTPError) as not_ready:
            await get(f"{url}/readyz")
        with not_ready.value:
            assert not_ready.value.code == 503


@pytest.mark.processes
def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None; from workflow_streams.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "gateway"],
        env=environment(None, {}),
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("workflow-streams: starlette")
    assert done.stderr.endswith(
        "Install the gateway with: pip install 'workflow-streams[gateway]'\n"
    )


async def test_limits_and_times_are_set_by_options_and_variables(
    cli: Cli, unique: Callable[[str], str]
) -> None:
    name = unique("told")
    args = ("--sse-seconds", "0.5", "--max-body-bytes", "100")
    async with serving(cli, *args, WORKFLOW_STREAMS_MAX_URL_BYTES="200") as (_, url):
        stream = f"{url}/v1/stream/{name}"
        await get(stream, "PUT", "x" * 100)
        for target, method, body, status in (
            (stream, "POST", "x" * 101, 413),
            (f"{stream}?x={'x' * 200}", "GET", None, 414),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                await get(target, method, body)
            with refused.value:
                assert refused.value.code == status
        # It ends by itself, and says that it does so because its time is over.
        events = await get(f"{stream}?offset=-1&live=sse")
        assert b'"closing":"recycled"' in events.replace(b": ", b":")
    done = await asyncio.gather(
        cli("gateway", "--sse-seconds", "0"),
        cli("gateway", "--max-url-bytes", "many"),
        cli("gateway", WORKFLOW_STREAMS_KEEP_ALIVE_SECONDS="soon"),
    )
    assert [(one.status, one.out) for one in done] == [(2, "")] * 3
    told = ("sse_seconds", "--max-url-bytes", "--keep-alive-seconds")
    for one, said in zip(done, told, strict=True):
        assert said in one.err
