"""Starts Temporal's development server, waits until it is ready, and stops it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from ..errors import UsageError
from ..temporal import messages
from ..temporal.connection import connect
from .binary import find_binary
from .errors import ServerStartError
from .ports import HOST, free_port, require_free
from .process import ServerProcess

_PORT_TRIES = 5
_POLL_SECONDS = 0.05
# Without this setting, timers below a second fire about a second late on this server.
_TIMERS = 'history.timerProcessorMaxTimeShift="20ms"'


class EmbeddedServer:
    """A Temporal server of your own, on the loopback interface.

    For example::

        async with EmbeddedServer(db_filename="streams.db") as server:
            client = await server.connect()

    It ends with the ``async with`` block, or with this process, however that ends.
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
            port: Port to listen on; 0 for a free one.
            db_filename: SQLite file in which everything is kept; None to keep it in memory only.
            ui: Whether to serve Temporal's web page as well.
            ui_port: Port of that page; 0 for a free one.
            namespace: Namespace to create.
            start_timeout: How many seconds to wait until the server is ready.

        Raises:
            UsageError: The folder of ``db_filename`` does not exist.
        """
        self._db_filename = None if db_filename is None else Path(db_filename).absolute()
        if self._db_filename is not None and not self._db_filename.parent.is_dir():
            raise UsageError(
                f"The folder of the database does not exist: {self._db_filename.parent}"
            )
        self._port = port
        self._ui = ui
        self._ui_port = ui_port
        self._namespace = namespace
        self._start_timeout = start_timeout
        self._process: ServerProcess | None = None

    @property
    def address(self) -> str:
        """The server's address, as ``host:port``; it stays the same when it is started again.

        Raises:
            UsageError: Any free port will do, and it has never been started.
        """
        if self._port == 0:
            raise UsageError("This server has no address before it is started")
        return f"{HOST}:{self._port}"

    @property
    def ui_url(self) -> str | None:
        """The address of its web page; None if it has none."""
        return f"http://{HOST}:{self._ui_port}" if self._ui else None

    @property
    def connect_settings(self) -> dict[str, Any]:
        """Arguments for ``workflow_streams.connect`` to connect here, whatever the environment."""
        return {
            "target_host": self.address,
            "namespace": self._namespace,
            "api_key": None,
            "tls": False,
        }

    async def connect(self, **overrides: Any) -> Client:
        """Return a client connected to it; takes the arguments of ``workflow_streams.connect``."""
        return await connect(**{**self.connect_settings, **overrides})

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
        """Start the server and wait until it is ready. After a stop, it uses the same port again.

        Raises:
            ServerBinaryNotFoundError: There is no server program.
            ServerStartError: The server ended at once, or was not ready in time.
            UsageError: The server is running already.
        """
        if self._process is not None and not self._process.ended:
            raise UsageError(f"The server at {self.address} runs already")
        await self.stop()
        binary = find_binary()
        for attempt in range(1, _PORT_TRIES + 1):
            for chosen in (self._port, self._ui_port if self._ui else 0):
                if chosen:
                    require_free(chosen)
            port, ui_port = self._port or free_port(), self._ui_port or free_port()
            try:
                self._process = await self._launch(binary, port, ui_port)
            except ServerStartError as err:
                # The server takes more ports for its inner services, each of which others may take.
                if attempt == _PORT_TRIES or not messages.port_taken(err.output):
                    raise
            else:
                self._port, self._ui_port = port, ui_port
                return

    async def wait(self) -> str:
        """Wait until the server is gone, for whatever reason; return the tail of its output."""
        if self._process is None:
            raise UsageError("This server does not run")
        return await self._process.wait()

    async def stop(self) -> None:
        """End the server, and wait until it is gone; this may be called repeatedly.

        A server with a database is shut down in order. One without is killed, as nothing of it
        remains in any case.
        """
        if self._process is not None:
            process, self._process = self._process, None
            # An orderly shutdown takes a second.
            await process.end(at_once=self._db_filename is None)

    async def kill(self) -> None:
        """Kill the server, as a crash would, and wait until it is gone; may be called again."""
        if self._process is not None:
            process, self._process = self._process, None
            await process.end(at_once=True)

    def _command(self, binary: str, port: int, ui_port: int) -> list[str]:
        command = [binary, "server", "start-dev", "--ip", HOST, "--port", str(port)]
        command += ["--namespace", self._namespace, "--log-level", "error"]
        command += ["--dynamic-config-value", _TIMERS]
        command += ["--ui-port", str(ui_port)] if self._ui else ["--headless"]
        if self._db_filename is not None:
            command += ["--db-filename", str(self._db_filename)]
        return command

    async def _launch(self, binary: str, port: int, ui_port: int) -> ServerProcess:
        process = await ServerProcess.launch(self._command(binary, port, ui_port))
        try:
            async with asyncio.timeout(self._start_timeout):
                # The server has no way to tell that it is ready, so it has to be polled.
                while not process.ended and not (  # noqa: ASYNC110
                    # It has to announce the port first: another server may be answering there.
                    messages.port_announced(process.output, port) and await self._serves(port)
                ):
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            output = await process.end(at_once=True)
            raise ServerStartError(
                f"The Temporal server did not serve within {self._start_timeout:g} s.", output
            ) from None
        except BaseException:
            await process.end(at_once=True)
            raise
        # Even if something answers at the port: then another server won the race for it.
        if process.ended:
            raise ServerStartError("The Temporal server ended at once.", await process.end())
        return process

    async def _serves(self, port: int) -> bool:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            return False
        writer.close()
        try:
            client = await Client.connect(f"{HOST}:{port}", namespace=self._namespace)
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._namespace)
            )
        except (RPCError, RuntimeError):
            return False
        return True


@asynccontextmanager
async def server_or_environment(**settings: Any) -> AsyncIterator[str]:
    """Yield a server's address: ``TEMPORAL_ADDRESS`` if that is set, or an embedded server's.

    The embedded server has the namespace of ``TEMPORAL_NAMESPACE``, which
    ``workflow_streams.connect`` uses.

    Args:
        **settings: As for :class:`EmbeddedServer`; ignored if no server is started.
    """
    address = os.environ.get("TEMPORAL_ADDRESS")
    if address:
        yield address
        return
    settings.setdefault("namespace", os.environ.get("TEMPORAL_NAMESPACE") or "default")
    async with EmbeddedServer(**settings) as server:
        yield server.address
