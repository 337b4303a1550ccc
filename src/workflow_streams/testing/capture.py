"""What an activity publishes, without a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from temporalio.converter import DataConverter

from .. import wire
from ..capture import Capture, capturing
from ..events import WorkflowStreamItem


class CapturedItems:
    """Items that activities published inside :func:`capture_published`."""

    def __init__(
        self, capture: Capture, types: Mapping[str, Any], converter: DataConverter
    ) -> None:
        """Wrap a capture; made by :func:`capture_published`."""
        self._capture = capture
        self._types = types
        self._converter = converter.payload_converter

    @property
    def items(self) -> list[WorkflowStreamItem[Any]]:
        """What has been published and sent, in order, decoded."""
        return [
            WorkflowStreamItem(topic, self._decode(topic, data), offset)
            for offset, (topic, data) in enumerate(self._capture.entries)
        ]

    def _decode(self, topic: str, data: str) -> Any:
        payload = wire.decode_payload(data)
        if topic in self._types:
            return self._converter.from_payload(payload, self._types[topic])
        return self._converter.from_payload(payload)


@contextmanager
def capture_published(
    types: Mapping[str, Any] | None = None,
    *,
    data_converter: DataConverter = DataConverter.default,
) -> Iterator[CapturedItems]:
    """Collect what activities run inside publish by ``from_within_activity``.

    For the SDK's ``ActivityEnvironment``; no server and no client are needed::

        with capture_published({"progress": Progress}) as published:
            await ActivityEnvironment().run(charge_card, "order-1")
        assert [item.data for item in published.items] == [...]

    Args:
        types: Type to decode to, by topic; other topics are decoded without one.
        data_converter: Converter whose payload converter decodes.
    """
    with capturing() as capture:
        yield CapturedItems(capture, types or {}, data_converter)
