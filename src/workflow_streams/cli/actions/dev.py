"""Runs everything that is needed to work with streams, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...embedded import EmbeddedServer
from ..exits import Exit
from ..output import Output, say
from ..samples import find_samples, missing_for_llm
from ..session import ActionError, cancel_on
from .workers import SampleWorker


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """What to run, and where; see the command's options."""

    port: int
    ui_port: int | None
    db: Path | None
    namespace: str
    gateway_port: int | None
    workers: bool


async def dev(wanted: Dev) -> int:
    """Run server, gateway and sample workers until Ctrl-C or SIGTERM; return the exit status."""
    cancel_on(signal.SIGINT, signal.SIGTERM)
    # Only the signals above cancel this; a second one cuts the shutdown short.
    with suppress(asyncio.CancelledError):
        async with AsyncExitStack() as stack:
            parts = _Parts(stack, Output(), wanted)
            await parts.start()
            if not parts.running:
                return Exit.DONE
            parts.tell("Ctrl-C", "ends it all")
            ended, _ = await asyncio.wait(parts.running, return_when=asyncio.FIRST_COMPLETED)
            first = ended.pop()
        said = first.exception() or first.result() or ""
        say(f"the {first.get_name()} has ended by itself.\n{said}".rstrip())
        return Exit.FAULT
    return Exit.DONE


class _Parts:
    """Starts the parts one after the other, on a stack that ends them in reverse order."""

    def __init__(self, stack: AsyncExitStack, output: Output, wanted: Dev) -> None:
        """Prepare."""
        self._stack = stack
        self._output = output
        self._wanted = wanted
        self.running: list[asyncio.Task[Any]] = []
        """Tasks, each of which ends when a part does."""

    async def start(self) -> None:
        """Start the parts that are wanted."""
        await self._start_server()
        if self._wanted.gateway_port is not None:
            await self._start_gateway(self._wanted.gateway_port)
        if self._wanted.workers:
            await self._start_workers()

    def tell(self, title: str, text: str) -> None:
        """Show one line about what is going on."""
        self._output.line(f"{title:<18}{text}")

    async def _start_server(self) -> None:
        address = os.environ.get("TEMPORAL_ADDRESS")
        if address:
            self.tell("Temporal server", f"{address}, as TEMPORAL_ADDRESS says; none is started")
            return
        wanted = self._wanted
        server = EmbeddedServer(
            port=wanted.port,
            ui=wanted.ui_port is not None,
            ui_port=wanted.ui_port or 0,
            db_filename=wanted.db,
            namespace=wanted.namespace,
        )
        await self._stack.enter_async_context(server)
        self.running.append(await self._background("server", server.wait()))
        self.tell("Temporal server", server.address)
        if server.ui_url:
            self.tell("Temporal's page", server.ui_url)
        self.tell("Elsewhere", f"export TEMPORAL_ADDRESS={server.address}")
        _use(server.address, wanted.namespace)

    async def _start_gateway(self, port: int) -> None:
        try:
            from .gateway import gateway_settings, running_gateway
        except ActionError as err:
            self.tell("Gateway", str(err))
            return
        settings = gateway_settings(with_worker=True)
        gateway = await self._stack.enter_async_context(
            running_gateway("127.0.0.1", port, settings)
        )
        gateway.serving.set_name("gateway")
        self.running.append(gateway.serving)
        self.tell("Gateway, viewer", gateway.url)

    async def _start_workers(self) -> None:
        samples = find_samples()
        if samples is None:
            self.tell("Sample workers", "none: the samples are not here")
            return
        scripts = {"Sample worker": "run_worker.py"}
        if missing := missing_for_llm():
            self.tell("LLM worker", f"none: it needs {', '.join(missing)}")
        else:
            scripts["LLM worker"] = "run_llm_worker.py"
        workers = [
            SampleWorker(samples / script, title, os.environ) for title, script in scripts.items()
        ]
        for worker in workers:
            await self._background("worker", worker.run(self.tell))
        for worker in workers:
            await worker.settled.wait()
        self.tell("Samples", str(samples))

    async def _background(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return await self._stack.enter_async_context(_running(name, work))


@asynccontextmanager
async def _running(name: str, work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run ``work`` as a task within the block."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def _use(address: str, namespace: str) -> None:
    """Make this process, and those that it starts, use the server that was just started.

    That server has no TLS and no login, whatever the user has configured for other servers.
    """
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        del os.environ[name]
    os.environ |= {
        "TEMPORAL_ADDRESS": address,
        "TEMPORAL_NAMESPACE": namespace,
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }
