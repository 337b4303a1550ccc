"""What is shared by all that use a connection on an event loop, by the stream that it is about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from temporalio.client import Client
from temporalio.service import ServiceClient

T = TypeVar("T")

Key = tuple[str, str, str | None, int]
"""Namespace, workflow id, run id if it is about one, and the data converter's identity."""


class Registry(Generic[T]):
    """One value per connection, event loop and stream.

    A look-up costs the same however many there are. What is put in stays until it is removed, or
    its event loop is closed.
    """

    def __init__(self) -> None:
        """Start empty; safe to use from several threads."""
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[
            ServiceClient, dict[asyncio.AbstractEventLoop, dict[Key, T]]
        ] = WeakKeyDictionary()

    def get(self, client: Client, key: Key, make: Callable[[], T]) -> T:
        """Return this event loop's value, made by ``make`` if there is none."""
        loop = asyncio.get_running_loop()
        with self._lock:
            by_loop = self._of.setdefault(client.service_client, {})
            if loop not in by_loop:
                for closed in [other for other in by_loop if other.is_closed()]:
                    del by_loop[closed]
                by_loop[loop] = {}
            values = by_loop[loop]
            value = values.get(key)
            if value is None:
                value = values[key] = make()
            return value

    def remove(self, client: Client, loop: asyncio.AbstractEventLoop, key: Key, value: T) -> None:
        """Take a value out, unless another one stands there by now."""
        with self._lock:
            values = self._of.get(client.service_client, {}).get(loop, {})
            if values.get(key) is value:
                del values[key]

    def all_of(self, connection: ServiceClient) -> list[T]:
        """Return the values of a connection, of all event loops."""
        with self._lock:
            by_loop = self._of.get(connection, {})
            return [value for values in by_loop.values() for value in values.values()]


def key_of(client: Client, workflow_id: str, run_id: str | None) -> Key:
    """Return the key of a stream as this client reads it."""
    return client.namespace, workflow_id, run_id, id(client.data_converter)
