"""Starts Temporal's development server, waits until it serves, and stops it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from ..connection import connect
from ..errors import UsageError, WorkflowStreamError
from .binary import find_binary

_HOST = "127.0.0.1"
_SUPERVISOR = Path(__file__).with_name("_supervisor.py")
_PORT_TRIES = 5
_GRACE_SECONDS = 10.0
# Without it, timers below a second fire about a second late on this server.
_TIMERS = 'history.timerProcessorMaxTimeShift="20ms"'


class ServerStartError(WorkflowStreamError):
    """The server ended at once or did not serve in time; ``output`` is what it said."""

    def __init__(self, message: str, output: str) -> None:
        """Record the tail of the server's output."""
        super().__init__(f"{message}\n{output}".rstrip())
        self.output = output


class EmbeddedServer:
    """A Temporal server of one's own, on the loopback interface.

    For example::

        async with EmbeddedServer(db_filename="streams.db") as server:
            client = await server.connect()

    It ends with the ``async with`` block, and with this process however that ends.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        db_filename: str | os.PathLike[str] | None = None,
        ui: bool = False,
        ui_port: int = 0,
        namespace: str = "default",
        start_timeout: float = 30.0,
    ) -> None:
        """Set up; nothing is started yet.

        Args:
            port: Port to serve on; 0 for a free one.
            db_filename: SQLite file that keeps everything; None for memory only.
            ui: Whether to serve Temporal's web page, too.
            ui_port: Port of that page; 0 for a free one.
            namespace: Namespace to create.
            start_timeout: Seconds to wait until it serves.

        Raises:
            UsageError: The folder of ``db_filename`` does not exist.
        """
        if db_filename is not None and not Path(db_filename).absolute().parent.is_dir():
            raise UsageError(f"No folder to put the database in: {db_filename}")
        self._asked_port = port
        self._port = port
        self._db_filename = db_filename
        self._ui = ui
        self._ui_port = ui_port
        self._namespace = namespace
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None
        self._pid = 0
        self._output: deque[str] = deque(maxlen=50)
        self._reading: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it serves, as ``host:port``."""
        return f"{_HOST}:{self._port}"

    @property
    def ui_url(self) -> str | None:
        """Address of its web page, if it has one."""
        return f"http://{_HOST}:{self._ui_port}" if self._ui else None

    async def connect(self, **overrides: Any) -> Client:
        """Return a client connected to it; arguments as for ``workflow_streams.connect``."""
        settings = {"target_host": self.address, "namespace": self._namespace}
        return await connect(**{**settings, **overrides})

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Start the server and wait until it serves; again after a stop, on the same port.

        Raises:
            ServerBinaryNotFoundError: There is no server program.
            ServerStartError: It ended at once, or did not serve in time.
        """
        if self._process is not None:
            raise UsageError("This server runs already")
        binary = find_binary()
        for attempt in range(1, _PORT_TRIES + 1):
            if self._port == 0:
                self._port = _free_port()
            if self._ui and self._ui_port == 0:
                self._ui_port = _free_port()
            try:
                await self._start(binary)
                return
            except ServerStartError as err:
                taken = "address already in use" in err.output
                if self._asked_port != 0 or not taken or attempt == _PORT_TRIES:
                    raise
                self._port = 0

    async def stop(self) -> None:
        """End the server and wait until it is gone; does nothing if it does not run."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
        finally:
            self._signal(signal.SIGKILL)
            await self._reap(process)

    async def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await self._reap(self._process)

    async def _start(self, binary: str) -> None:
        command = [binary, "server", "start-dev", "--ip", _HOST, "--port", str(self._port)]
        command += ["--namespace", self._namespace, "--log-level", "error"]
        command += ["--dynamic-config-value", _TIMERS]
        command += ["--ui-port", str(self._ui_port)] if self._ui else ["--headless"]
        if self._db_filename is not None:
            command += ["--db-filename", os.fspath(self._db_filename)]
        self._output.clear()
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_SUPERVISOR),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            assert process.stdout is not None
            self._pid = int(await process.stderr.readline() or b"0")
            self._reading = asyncio.create_task(self._read(process.stdout))
            async with asyncio.timeout(self._start_timeout):
                while not await self._serves():
                    if process.returncode is not None:
                        await self._reading
                        raise ServerStartError(
                            "The Temporal server ended at once:", "\n".join(self._output)
                        )
                    await asyncio.sleep(0.05)
        except TimeoutError:
            await self.kill()
            raise ServerStartError(
                f"The Temporal server did not serve within {self._start_timeout} s:",
                "\n".join(self._output),
            ) from None
        except BaseException:
            await self.kill()
            raise

    async def _serves(self) -> bool:
        with socket.socket() as probe:
            probe.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(probe, (_HOST, self._port))
            except OSError:
                return False
        try:
            client = await Client.connect(self.address, namespace=self._namespace)
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._namespace)
            )
        except (RPCError, RuntimeError):
            return False
        return True

    async def _read(self, output: asyncio.StreamReader) -> None:
        async for line in output:
            self._output.append(line.decode(errors="replace").rstrip())

    def _signal(self, number: int) -> None:
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    async def _reap(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        if self._reading is not None:
            await self._reading
        self._process, self._reading, self._pid = None, None, 0


@asynccontextmanager
async def server_or_environment(**settings: Any) -> AsyncIterator[str]:
    """Yield a server's address: ``TEMPORAL_ADDRESS`` if that is set, else an embedded one's.

    Args:
        **settings: As for :class:`EmbeddedServer`; unused where nothing is started.
    """
    address = os.environ.get("TEMPORAL_ADDRESS")
    if address:
        yield address
        return
    async with EmbeddedServer(**settings) as server:
        yield server.address


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
