"""A codec that encrypts, as users write them, and a payload converter of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)

NONCE_BYTES = 12


class Encryption(PayloadCodec, WithSerializationContext):
    """AES-GCM under one key, bound to the workflow: what was written in another is refused."""

    def __init__(self, key: bytes, workflow_id: str = "") -> None:
        self._key = key
        self._workflow_id = workflow_id

    def with_context(self, context: SerializationContext) -> Encryption:
        return Encryption(self._key, getattr(context, "workflow_id", ""))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(
                metadata={"encoding": b"binary/encrypted"},
                data=self._seal(payload.SerializeToString()),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            self._open(payload) if payload.metadata["encoding"] == b"binary/encrypted" else payload
            for payload in payloads
        ]

    def _seal(self, text: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, text, self._workflow_id.encode())

    def _open(self, payload: Payload) -> Payload:
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        text = AESGCM(self._key).decrypt(nonce, sealed, self._workflow_id.encode())
        return Payload.FromString(text)


def encrypted_with(key: bytes) -> DataConverter:
    return DataConverter(payload_codec=Encryption(key))


class Coordinates:
    """A value that no converter of the SDK knows."""

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Coordinates) and (self.x, self.y) == (other.x, other.y)

    def __hash__(self) -> int:
        return hash((self.x, self.y))

    def __repr__(self) -> str:
        return f"Coordinates({self.x}, {self.y})"


class CoordinatesConverter(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return "text/coordinates"

    def to_payload(self, value: Any) -> Payload | None:
        if not isinstance(value, Coordinates):
            return None
        return Payload(
            metadata={"encoding": self.encoding.encode()}, data=f"{value.x};{value.y}".encode()
        )

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        x, y = payload.data.decode().split(";")
        return Coordinates(int(x), int(y))


def _with_coordinates() -> Iterable[EncodingPayloadConverter]:
    yield CoordinatesConverter()
    yield from DefaultPayloadConverter.default_encoding_payload_converters


class OwnPayloadConverter(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(*_with_coordinates())


own_converter = DataConverter(payload_converter_class=OwnPayloadConverter)
