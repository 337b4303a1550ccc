"""Payload codecs: one that encrypts, one that makes everything larger, one that fails."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, PayloadCodec


class Encrypting(PayloadCodec):
    def __init__(self) -> None:
        self._cipher = AESGCM(AESGCM.generate_key(128))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(12)
        data = nonce + self._cipher.encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": b"binary/encrypted", "key": b"test"}, data=data)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(self._cipher.decrypt(p.data[:12], p.data[12:], None))
            for p in payloads
        ]


class Growing(PayloadCodec):
    """Repeats the data."""

    def __init__(self, times: int) -> None:
        self._times = times

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata=p.metadata, data=p.data * self._times) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata=p.metadata, data=p.data[: len(p.data) // self._times])
            for p in payloads
        ]


class Failing(PayloadCodec):
    """Raises what it is told to raise, as long as it is told to."""

    def __init__(self) -> None:
        self.error: Callable[[], Exception] | None = None
        self.calls = 0

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.calls += 1
        if self.error is not None:
            raise self.error()
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


class Holding(PayloadCodec):
    """Decodes what holds a marker only when it is released, as one that asks for keys does."""

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self.holds = asyncio.Event()
        self.released = asyncio.Event()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if any(self._marker in payload.data for payload in payloads):
            self.holds.set()
            await self.released.wait()
        return list(payloads)


def with_codec(codec: PayloadCodec) -> DataConverter:
    return dataclasses.replace(DataConverter.default, payload_codec=codec)
