"""Fixtures of all tests: a real server, a client, names that are free, no task left over."""

from __future__ import annotations

import asyncio
import functools
import inspect
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams.testing import stream_client, stream_server
from workflow_streams.testing.fixtures import StreamServer

__all__ = ["stream_client", "stream_server"]


SECONDS = 280
"""Below pytest's own limit, which leaves what a test began behind, and the session hanging."""


SERVERS = {"stream_server", "sparing"}
"""Fixtures that start a server."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--quick`, by which `make test-quick` runs what needs no other process."""
    parser.addoption(
        "--quick", action="store_true", help="leave out tests that need another process"
    )


def refuse_processes(event: str, _: object) -> None:
    """Refuse to start a process; tests that need one are marked as such, or use the server."""
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        raise RuntimeError("a test that is not marked with `processes` started a process")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose; have async tests that take too long cancelled, so that they clean up."""
    if config.getoption("--quick"):
        needs = [item for item in items if needs_processes(item)]
        config.hook.pytest_deselected(items=needs)
        items[:] = [item for item in items if not needs_processes(item)]
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = in_time(item.obj)


def needs_processes(item: pytest.Item) -> bool:
    """Whether a test needs a server, or says that it starts processes."""
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return not SERVERS.isdisjoint(fixtures) or item.get_closest_marker("processes") is not None


def in_time(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Bound the time of an async test."""

    @functools.wraps(test)
    async def bounded(*arguments: Any, **named: Any) -> None:
        async with asyncio.timeout(SECONDS):
            await test(*arguments, **named)

    return bounded


@pytest.fixture(scope="session", autouse=True)
def alone(pytestconfig: pytest.Config) -> None:
    """With `--quick`, hold tests to what their markers say of them."""
    if pytestconfig.getoption("--quick"):
        sys.addaudithook(refuse_processes)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let the processes that tests start hear SIGINT.

    A shell's background job ignores it, and hands that on to all that it starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def async_tests_leave_no_task(request: pytest.FixtureRequest) -> None:
    """Put every async test under `no_task_left`; the others have no event loop to look at."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("no_task_left")


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Afterwards, no task may be left but feeds, which wait for another reader for a while."""
    before = asyncio.all_tasks()
    yield
    own = asyncio.current_task()
    left = {
        task
        for task in asyncio.all_tasks() - before
        if task is not own and not task.get_name().startswith("follow ")
    }
    if left:
        _, left = await asyncio.wait(left, timeout=2)
    assert not left, "tasks left over"


@pytest.fixture
async def client(stream_server: StreamServer) -> Client:
    """A client connected to the test server."""
    return await stream_server.connect()


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names that no other test has."""
    return lambda kind: f"{kind}-{uuid.uuid4().hex[:8]}"
