"""Which type a topic's values have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from temporalio.api.common.v1 import Payload

from .arguments import topic_name
from .errors import TopicTypeError, UsageError

if TYPE_CHECKING:
    from .temporal.values import DecodeValue, Values

T = TypeVar("T")


class TypedTopic(Generic[T]):
    """A topic's name, and the type of its values."""

    def __init__(self, name: str, type: type[T]) -> None:
        """Bind topic and type."""
        self._name = name
        self._type = type

    @property
    def name(self) -> str:
        """Topic name."""
        return self._name

    @property
    def type(self) -> type[T]:
        """Type of the topic's values."""
        return self._type


class TopicTypes:
    """Binds topic names to types, at most one each, compared by equality."""

    def __init__(self) -> None:
        """Start without bindings."""
        self._types: dict[str, Any] = {}

    def bind(self, name: str, type: Any) -> Any:
        """Bind ``name`` to ``type`` and return the type that the name has now.

        With None or ``Any`` nothing is bound: such a caller takes the type as it is.

        Raises:
            TopicTypeError: The name is bound to another type.
            UsageError: The name is no str, or ``type`` is ``Payload``, which no payload converter
                decodes to.
        """
        topic_name(name)
        if type is Payload:
            raise UsageError(
                f"Topic {name!r} cannot be bound to type=Payload. Ready payloads may be published "
                "on any topic; to read them raw, subscribe with result_type=RawValue."
            )
        if type is None or type is Any:
            return self.get(name)
        existing = self._types.setdefault(name, type)
        if existing != type:
            raise TopicTypeError(name, existing, type)
        return type

    def get(self, name: str) -> Any:
        """Return the type bound to ``name``; ``Any`` if there is none."""
        return self._types.get(name, Any)

    def decoder(self, values: Values, result_type: Any) -> Callable[[str, bytes, bytes], Any]:
        """Return what decodes an item, from topic, kind and data: to ``result_type`` if given."""
        if result_type is not None:
            decode_one = values.decoder(result_type)
            return lambda _topic, kind, data: decode_one(kind, data)
        decode_any = values.decoder(Any)
        # Of topics that are bound only: a stream may have any number of others.
        decoders: dict[str, DecodeValue] = {}

        def decode(topic: str, kind: bytes, data: bytes) -> Any:
            known = decoders.get(topic)
            if known is None:
                if topic not in self._types:
                    return decode_any(kind, data)
                known = decoders[topic] = values.decoder(self.get(topic))
            return known(kind, data)

        return decode


def types_in(topics: Mapping[str, Any]) -> TopicTypes:
    """Return the types of a mapping of topic names to types.

    Raises:
        UsageError: A name is no str, or a type is ``Payload``.
    """
    types = TopicTypes()
    for name, bound in topics.items():
        types.bind(name, bound)
    return types
