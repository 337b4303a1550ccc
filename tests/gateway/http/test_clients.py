"""The protocol's own clients read, are cut off, and resume with nothing lost or double."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.conformance.npm import install, node
from workflow_streams.testing.fixtures import StreamServer

from .serving import GatewayProcess, running_gateway

HERE = Path(__file__).parent
TOTAL = 100


@pytest.fixture(scope="module")
def hasty(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    """A gateway that cuts its clients off often."""
    with running_gateway(stream_server.address, sse_seconds=1.2, long_poll_seconds=0.5) as gateway:
        yield gateway


def command(client: str) -> list[str]:
    if client == "python":
        return [sys.executable, str(HERE / "reading.py")]
    # Node looks for packages where the script lies.
    script = install() / "reading.mjs"
    script.write_bytes((HERE / "reading.mjs").read_bytes())
    return [node(), str(script)]


async def write(http: httpx.AsyncClient, url: str) -> None:
    for number in range(TOTAL):
        closing = {"stream-closed": "true"} if number == TOTAL - 1 else {}
        answer = await http.post(url, json=[number], headers=closing)
        assert answer.status_code == 204
        await asyncio.sleep(0.02)


async def read(client: str, url: str, live: str) -> tuple[list[Any], int]:
    """Read to the end, killing the client a few times; return the items and its lives."""
    seen: list[Any] = []
    offset, lives = "-1", 0
    while True:
        lives += 1
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
            if lives < 4 and lines == 4:
                process.kill()
                break
        await process.stdout.read()
        errors = (await process.stderr.read()).decode()
        code = await process.wait()
        if lives >= 4 or lines < 4:
            assert code == 0, errors
            return seen, lives


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
    writing = asyncio.create_task(write(http, url))
    try:
        seen, lives = await asyncio.wait_for(read(client, url, live), 60)
    finally:
        await writing
    assert seen == list(range(TOTAL))
    assert lives == 4
