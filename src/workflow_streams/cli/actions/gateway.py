"""Serves the gateway, alone or together with other things."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Literal

from temporalio.envconfig import ClientConfig

from ...errors import UsageError
from ..exits import Exit
from ..output import Output
from ..session import ActionError, cancel_on
from .connection import open_client

try:
    from ...gateway import GatewaySettings, create_app
    from ...gateway.server import collect_rarely, listen, server_of
    from ...gateway.telemetry.logs import configure_logging
except ModuleNotFoundError as err:
    if (err.name or "").startswith("workflow_streams"):
        raise
    raise ActionError(
        f"{err.name} is not installed. Install the gateway with: "
        "pip install 'workflow-streams[gateway]'"
    ) from err

_LOOK_AGAIN_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A running gateway; the task ``serving`` ends when it does."""

    url: str
    serving: asyncio.Task[None]


def gateway_settings(*, with_worker: bool) -> GatewaySettings:
    """Return the settings, as set by options and environment.

    Raises:
        ActionError: The settings cannot work.
    """
    try:
        return GatewaySettings.from_env(host_worker=with_worker)
    except (UsageError, OSError, ValueError) as err:
        raise ActionError(str(err), Exit.USAGE) from err


@asynccontextmanager
async def running_gateway(
    host: str, port: int, settings: GatewaySettings
) -> AsyncIterator[RunningGateway]:
    """Serve a gateway within the block, then shut it down in order.

    Raises:
        ActionError: It cannot listen there.
    """
    app = create_app(open_client, settings)
    try:
        listening = listen(host, port, settings)
    except UsageError as err:
        raise ActionError(str(err), Exit.USAGE) from err
    except OSError as err:
        raise ActionError(f"Cannot listen on {host}, port {port}: {err.strerror}") from err
    with listening:
        server = server_of(app)
        # This process handles signals itself; uvicorn would raise them again after it has ended.
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
        serving = asyncio.create_task(server.serve([listening]), name="gateway server")
        try:
            # uvicorn has no event for this, so it has to be polled.
            while not (server.started or serving.done()):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            name = f"[{host}]" if ":" in host else host
            yield RunningGateway(f"http://{name}:{listening.getsockname()[1]}", serving)
        finally:
            server.should_exit = True
            await asyncio.wait([serving])


async def serve_gateway(
    host: str, port: int, *, with_worker: bool, logs: Literal["text", "json"]
) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit status."""
    output = Output()
    settings = gateway_settings(with_worker=with_worker)
    try:
        ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as err:
        # A failed connection is tried again, but a wrong configuration would stay wrong.
        raise ActionError(f"The configuration is not usable: {err}", Exit.NO_CONNECTION) from err
    configure_logging(style=logs)
    collect_rarely()
    cancel_on(signal.SIGINT, signal.SIGTERM)
    # Only the signals above cancel this; a second one cuts the shutdown short.
    with suppress(asyncio.CancelledError):
        async with running_gateway(host, port, settings) as gateway:
            output.line(f"{'Gateway':<18}{gateway.url}")
            output.line(f"{'Ctrl-C':<18}ends it")
            await asyncio.wait([gateway.serving])
            gateway.serving.result()
        return Exit.FAULT
    return Exit.DONE
