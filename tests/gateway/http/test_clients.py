"""The protocol's own clients read, are cut off, and resume with nothing lost or double."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.npm import CONFORMANCE, install, node
from workflow_streams.testing.fixtures import StreamServer

from .serving import GatewayProcess, running_gateway

HERE = Path(__file__).parent
LIVES = 4


@pytest.fixture(scope="module")
def hasty(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    """A gateway that cuts its clients off often."""
    with running_gateway(stream_server.address, sse_seconds=1.2, long_poll_seconds=0.5) as gateway:
        yield gateway


def command(client: str) -> list[str]:
    if client == "python":
        return [sys.executable, str(HERE / "reading.py")]
    # Node looks for packages where the script lies.
    script = install(CONFORMANCE) / "reading.mjs"
    script.write_bytes((HERE / "reading.mjs").read_bytes())
    return [node(), str(script)]


async def write(http: httpx.AsyncClient, url: str, enough: asyncio.Event) -> int:
    """Count until there is enough, and a little more; close the stream; return how many."""
    for number in itertools.count():
        last = enough.is_set() and number % 10 == 9
        answer = await http.post(
            url, json=[number], headers={"stream-closed": "true"} if last else {}
        )
        assert answer.status_code == 204
        if last:
            return number + 1
        await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def read(client: str, url: str, live: str, enough: asyncio.Event) -> list[Any]:
    """Read to the end, killing the client in all its lives but the last; return the items."""
    seen: list[Any] = []
    offset = "-1"
    for life in range(1, LIVES + 1):
        process = await asyncio.create_subprocess_exec(
            *command(client),
            url,
            offset,
            live,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        lines = 0
        async for line in process.stdout:
            batch = json.loads(line)
            seen += batch["items"]
            offset = batch["offset"]
            lines += 1
            if life < LIVES and lines == 4:
                process.kill()
                break
            if life == LIVES:
                enough.set()
        await process.stdout.read()
        errors = (await process.stderr.read()).decode()
        code = await process.wait()
        assert code == (0 if life == LIVES else -signal.SIGKILL), errors
    return seen


@pytest.mark.parametrize(
    ("client", "live"),
    [
        ("node", "true"), ("node", "long-poll"), ("node", "sse"),
        ("python", "long-poll"), ("python", "sse"),
    ],
)  # fmt: skip
async def test_a_client_that_is_killed_again_and_again_gets_everything_once(
    hasty: GatewayProcess,
    http: httpx.AsyncClient,
    unique: Callable[[str], str],
    client: str,
    live: str,
) -> None:
    url = hasty.stream(unique("stream"))
    await http.put(url, headers={"content-type": "application/json"})
    enough = asyncio.Event()
    async with asyncio.timeout(250), asyncio.TaskGroup() as group:
        writing = group.create_task(write(http, url, enough))
        reading = group.create_task(read(client, url, live, enough))
    assert reading.result() == list(range(writing.result()))
