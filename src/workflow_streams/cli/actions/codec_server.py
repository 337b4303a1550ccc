"""Encodes and decodes payloads by a codec server, which encrypts or compresses them."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Sequence

from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import PayloadCodec

from ..exits import Exit
from ..session import ActionError

_TIMEOUT_SECONDS = 30


class CodecServer(PayloadCodec):
    """A payload codec that asks a codec server, as Temporal's own tools do.

    The server takes ``POST /encode`` and ``POST /decode`` with payloads in JSON.
    """

    def __init__(self, endpoint: str, *, authorization: str | None = None) -> None:
        """Record the server's URL, in which ``{namespace}`` stands for the client's namespace."""
        if not endpoint.startswith(("http://", "https://")):
            raise ActionError(f"Not the URL of a codec server: {endpoint}", Exit.USAGE)
        self.namespace = "default"
        self._endpoint = endpoint.rstrip("/")
        self._authorization = authorization

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads as the server encodes them."""
        return await asyncio.to_thread(self._ask, "encode", payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return the payloads as the server decodes them."""
        return await asyncio.to_thread(self._ask, "decode", payloads)

    def _ask(self, what: str, payloads: Sequence[Payload]) -> list[Payload]:
        headers = {"Content-Type": "application/json", "X-Namespace": self.namespace}
        if self._authorization:
            headers["Authorization"] = self._authorization
        url = f"{self._endpoint.replace('{namespace}', self.namespace)}/{what}"
        body = json_format.MessageToJson(Payloads(payloads=payloads)).encode()
        request = urllib.request.Request(url, body, headers)  # noqa: S310 (checked above)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                answer = json_format.Parse(response.read(), Payloads())
        except urllib.error.HTTPError as err:
            # Publishers try again after a ConnectionError, and give up after other errors.
            kind = ConnectionError if err.code >= 500 else ValueError
            raise kind(f"the codec server {url} answered {err.code} {err.reason}") from err
        except OSError as err:
            raise ConnectionError(f"the codec server {url} does not answer: {err}") from err
        except json_format.ParseError as err:
            raise ValueError(f"the codec server {url} answered with no payloads: {err}") from err
        if len(answer.payloads) != len(payloads):
            raise ValueError(
                f"the codec server {url} answered with {len(answer.payloads)} payload(s) for "
                f"{len(payloads)}"
            )
        return list(answer.payloads)
