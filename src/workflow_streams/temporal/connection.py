"""Connects to Temporal as its own tools do: environment variables, profiles, files."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from .interpreter_exit import rest_at_exit
from .plugin import WorkflowStreamsPlugin, has_plugin
from .rpc import connect_failure

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
    if not has_plugin(plugins):
        plugins.append(WorkflowStreamsPlugin())
    address = config["target_host"]
    try:
        client = await Client.connect(plugins=plugins, **config)
    except RuntimeError as err:
        failure = connect_failure(err, address)
        if failure is None:
            raise
        raise failure from err
    rest_at_exit(client)
    return client
