"""What is shared by all that use a connection on an event loop, by the stream that it is about."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class Registry(Generic[T]):
    """One value per connection, event loop and stream.

    A look-up costs the same however many there are. What is put in stays until it is removed, or
    its event loop is closed.
    """

    def __init__(self) -> None:
        """Start empty; safe to use from several threads."""
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[object, dict[asyncio.AbstractEventLoop, dict[Hashable, T]]] = (
            WeakKeyDictionary()
        )

    def get(self, connection: object, key: Hashable, make: Callable[[], T]) -> T:
        """Return this event loop's value, made by ``make`` if there is none."""
        loop = asyncio.get_running_loop()
        with self._lock:
            by_loop = self._of.setdefault(connection, {})
            if loop not in by_loop:
                for closed in [other for other in by_loop if other.is_closed()]:
                    del by_loop[closed]
                by_loop[loop] = {}
            values = by_loop[loop]
            value = values.get(key)
            if value is None:
                value = values[key] = make()
            return value

    def remove(
        self, connection: object, loop: asyncio.AbstractEventLoop, key: Hashable, value: T
    ) -> None:
        """Take a value out, unless another one stands there by now."""
        with self._lock:
            values = self._of.get(connection, {}).get(loop, {})
            if values.get(key) is value:
                del values[key]

    def all_of(self, connection: object) -> list[T]:
        """Return the values of a connection, of all event loops."""
        with self._lock:
            by_loop = self._of.get(connection, {})
            return [value for values in by_loop.values() for value in values.values()]
