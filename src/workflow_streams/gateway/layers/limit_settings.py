"""The limits of a gateway, as settings."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError
from ..environment import values_in


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """Limits of one gateway process.

    Attributes:
        max_url_bytes: Path and query together, as they were sent. Over it: 414.
        max_header_bytes: Names and values of all header fields together. Over it: 431.
        max_headers: Number of header fields. Over it: 431.
        max_body_bytes: Body of a request. Over it: 413.
        max_total_body_bytes: Bodies of all requests together, from their first bytes until the
            requests are answered. The first 64 KiB of each do not count. Over it, a body that has
            been arriving for more than 5 seconds is given up (408). If there is none: 503.
        max_total_write_bytes: What the bodies of all writes become, until these are answered: the
            entries, and the copies that are made to send them. Writes of one address take a
            quarter of it at most. Over it, a write waits for up to 5 seconds. If there is no room
            by then: 503.
        head_seconds: Time for a request's line and header fields to arrive, also the first on a
            new connection. Over it, the connection is closed (see :mod:`..connections`).
        body_idle_seconds: Longest pause between parts of a body. Over it: 408.
        body_seconds: Time for all of a body to arrive. Over it: 408.
        max_unread_bytes: Answers and events of more than 64 KiB that clients have not read
            completely, with what is held to make them, all together. Over it, the one whose client
            has kept the gateway waiting for longest is broken off.
        max_catch_ups: Reads of what is there already, from the first item that is read until the
            answer is ready, and apart from them forks being copied. Over it, they wait.
        max_catch_ups_per_client: How many of them from one address. Over it, they wait.
        catch_up_wait_seconds: How long one may wait for its turn. Over it: 503.
        max_connections: Requests in progress, including live ones. Over it: 503.
        max_connections_per_client: Requests in progress from one address (IPv6: from one /64
            network), and live ones of one token's subject. Over it: 429. Behind a proxy, have the
            server take the address from the proxy (uvicorn's ``forwarded_allow_ips``).
        max_requests_per_second: Requests of one address, and of one subject, in the long run.
            Over it: 429. None for no limit.
        max_request_burst: How many of them may come at once, after a silence.
    """

    max_url_bytes: int = 8 * 1024
    max_header_bytes: int = 32 * 1024
    max_headers: int = 100
    max_body_bytes: int = 16 * 1024 * 1024
    max_total_body_bytes: int = 32 * 1024 * 1024
    max_total_write_bytes: int = 128 * 1024 * 1024
    head_seconds: float = 10.0
    body_idle_seconds: float = 30.0
    body_seconds: float = 300.0
    max_unread_bytes: int = 256 * 1024 * 1024
    max_catch_ups: int = 8
    max_catch_ups_per_client: int = 4
    catch_up_wait_seconds: float = 30.0
    max_connections: int = 10_000
    max_connections_per_client: int = 2_000
    max_requests_per_second: float | None = None
    max_request_burst: int = 100

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> LimitSettings:
        """Read limits from environment variables: ``WORKFLOW_STREAMS_`` and a limit's name.

        Raises:
            UsageError: A variable is not a number, or would let nothing through.
        """
        return cls(**values_in(environ, cls))

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through.

        Raises:
            UsageError: A limit is not over zero, or is infinite, or there is no room for the
                largest body.
        """
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} must be over 0")
        if self.max_total_body_bytes < self.max_body_bytes:
            raise UsageError("max_total_body_bytes must be at least max_body_bytes")
