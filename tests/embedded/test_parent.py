"""The server ends with the process that started it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.processes

# Prints the server's process id, then dies or waits to be killed.
PARENT = """
import asyncio, os, sys, time
import psutil
from workflow_streams.embedded import EmbeddedServer

async def main():
    await EmbeddedServer().start()
    children = psutil.Process().children(recursive=True)
    print(*(p.pid for p in children if p.name() == "temporal"), flush=True)
    if "fork" in sys.argv and os.fork() == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
    if "exit" in sys.argv:
        os._exit(1)
    time.sleep(600)

asyncio.run(main())
"""


def start(*args: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *args], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    return parent, psutil.Process(int(parent.stdout.readline()))


def finish(parent: subprocess.Popen[bytes]) -> None:
    parent.wait(100)
    assert parent.stdout is not None
    parent.stdout.close()


def test_it_ends_when_its_parent_is_killed() -> None:
    parent, server = start()
    parent.kill()
    server.wait(100)
    finish(parent)


def test_it_ends_when_the_whole_group_of_its_parent_is_killed() -> None:
    parent, server = start()
    os.killpg(parent.pid, signal.SIGKILL)
    server.wait(100)
    finish(parent)


def test_it_ends_when_its_parent_leaves_without_stopping_it() -> None:
    parent, server = start("exit")
    server.wait(100)
    finish(parent)


def test_it_ends_even_if_a_fork_of_its_parent_lives_on() -> None:
    parent, server = start("fork")
    parent.kill()
    server.wait(100)
    finish(parent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_when_its_supervisor_is_asked_to(number: signal.Signals) -> None:
    parent, server = start()
    supervisor = server.parent()
    assert supervisor is not None
    supervisor.send_signal(number)
    server.wait(100)
    parent.kill()
    finish(parent)
