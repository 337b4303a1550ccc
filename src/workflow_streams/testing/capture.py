"""Captures what an activity publishes, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from temporalio.converter import DataConverter

from ..events import Item, Rewind
from ..publish.capture import Capture, capturing
from ..temporal.values import Values

CapturedEvent: TypeAlias = Item[Any] | Rewind


class CapturedItems:
    """What activities published inside :func:`capture_published`."""

    def __init__(self, capture: Capture, types: Mapping[str, Any]) -> None:
        """Wrap a capture; :func:`capture_published` does this."""
        self._capture = capture
        self._types = types

    @property
    def items(self) -> list[Item[Any]]:
        """The items that were sent, in order and decoded, including those of failed attempts."""
        return [event for event in self.events if isinstance(event, Item)]

    @property
    def events(self) -> list[CapturedEvent]:
        """What ``follow()`` would yield: the items, and a ``Rewind`` where an attempt took over."""
        return [
            taken if isinstance(taken, Rewind) else self._item(taken[0], *taken[1])
            for taken in self._capture.taken
        ]

    def _item(self, offset: int, topic: str, kind: bytes, data: bytes) -> Item[Any]:
        values = Values(self._capture.data_converter.payload_converter)
        return Item(topic, values.decoder(self._types.get(topic, Any))(kind, data), offset)


@contextmanager
def capture_published(
    types: Mapping[str, Any] | None = None,
    *,
    data_converter: DataConverter = DataConverter.default,
) -> Iterator[CapturedItems]:
    """Collect what activities that run within the block publish by ``from_within_activity``.

    For the SDK's ``ActivityEnvironment``; no server and no client are needed::

        with capture_published({"progress": Progress}) as published:
            await ActivityEnvironment().run(charge_card, "order-1")
        assert [item.data for item in published.items] == [...]

    Attempts are judged as a workflow judges them: run the activity again under an ``info`` with a
    higher ``attempt``, and ``published.events`` contains the ``Rewind``. Only activities that run
    in the context of the ``with`` block are captured. Reading a stream needs a server.

    Args:
        types: The type to decode to, by topic; other topics are decoded without a type.
        data_converter: Its payload converter encodes and decodes values, as that of the activity's
            client does. Its codec is not used.
    """
    with capturing(data_converter) as capture:
        yield CapturedItems(capture, types or {})
