"""Clients whose calls are made once: the SDK hands each failure on, rather than try again itself.

The SDK tries a call that waits for events again for as long as it fails. So it would never come to
light that the server refuses such calls since there are too many of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from temporalio.client import Client
from temporalio.service import ServiceClient


class _Once(ServiceClient):
    """Makes calls over another one's connection, without a second try."""

    def __init__(self, connection: ServiceClient) -> None:
        super().__init__(connection.config)
        self._connection = connection

    @property
    def worker_service_client(self) -> Any:
        return self._connection.worker_service_client

    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self._connection.update_rpc_metadata(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        self._connection.update_api_key(api_key)

    async def _rpc_call(self, *args: Any, **how: Any) -> Any:
        how["retry"] = False
        return await self._connection._rpc_call(*args, **how)  # noqa: SLF001


_known: WeakKeyDictionary[Client, Client] = WeakKeyDictionary()


def once(client: Client) -> Client:
    """Return a client as this one, interceptors included, that tries each call once."""
    known = _known.get(client)
    if known is None:
        config = client.config(active_config=True)
        # What plugins have to say is in the configuration already.
        config["plugins"] = []
        config["service_client"] = _Once(client.service_client)
        known = _known[client] = Client(**config)
    return known
