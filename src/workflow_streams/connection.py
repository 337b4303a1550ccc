"""Connects to Temporal as its own tools do: environment variables, profiles, files."""

from __future__ import annotations

import re
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from .errors import ConnectionFailedError, PermissionDeniedError, ServerUnavailableError
from .plugin import WorkflowStreamsPlugin

DEFAULT_ADDRESS = "localhost:7233"


async def connect(**overrides: Any) -> Client:
    """Connect to the server that the environment names.

    ``TEMPORAL_ADDRESS``, ``TEMPORAL_NAMESPACE``, ``TEMPORAL_API_KEY``, ``TEMPORAL_PROFILE``, the
    TLS variables and the configuration file mean what they mean to Temporal's own tools
    (``temporalio.envconfig``). The client carries :class:`WorkflowStreamsPlugin`, which its
    workers inherit.

    Args:
        **overrides: Arguments of ``Client.connect`` that win over the environment, such as
            ``target_host``, ``namespace`` or ``data_converter``.

    Raises:
        ServerUnavailableError: No server answers at the address.
        PermissionDeniedError: The server does not take the credentials, or wants some.
    """
    config: dict[str, Any] = {**ClientConfig.load_client_connect_config(), **overrides}
    config.setdefault("target_host", DEFAULT_ADDRESS)
    plugins = list(config.pop("plugins", ()))
    if not any(isinstance(plugin, WorkflowStreamsPlugin) for plugin in plugins):
        plugins.append(WorkflowStreamsPlugin())
    address = config["target_host"]
    try:
        return await Client.connect(plugins=plugins, **config)
    except RuntimeError as err:
        # The SDK has no class of its own for this. Other errors are those of plugins and such.
        if not str(err).startswith("Failed client connect"):
            raise
        raise _translate(str(err), address) from err


def _translate(text: str, address: str) -> ConnectionFailedError:
    message = re.search(r'message: "([^"]+)"', text)
    reason = message[1] if message else text
    if "code: PermissionDenied" in text or "code: Unauthenticated" in text:
        return PermissionDeniedError(
            f"The Temporal server at {address} refuses these credentials: {reason}",
            address=address,
        )
    return ServerUnavailableError(
        f"No Temporal server answers at {address}: {reason}. Start one with "
        "`workflow-streams dev`, or set TEMPORAL_ADDRESS.",
        address=address,
    )
