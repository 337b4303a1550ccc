"""The settings of a gateway."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError
from ..hosted.host import HOST_TASK_QUEUE
from ..read.history.waiting_budget import MOST_WAITING_CALLS
from .environment import values_in
from .layers.limit_settings import LimitSettings
from .security.settings import SecuritySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Settings of one gateway process.

    Attributes:
        security: Who may use it, and from where.
        limits: How much a client may ask for.
        page_bytes: About how much an answer holds at most; always whole batches, at least one.
        event_bytes: About how much an event holds at most, while a viewer catches up.
        compress_from_bytes: Text answers of this size or more are compressed for clients that
            accept compression.
        long_poll_seconds: How long a long poll waits for something new.
        wait_seconds: Longest time that a read can ask to wait for its workflow to be started.
        sse_seconds: After about this time an event stream ends, and its client reconnects, so
            that load is balanced anew (Durable Streams 10.2). It ends sooner if the client's
            permission expires.
        keep_alive_seconds: Longest silence on an event stream.
        write_seconds: How long a client may read nothing before it is disconnected.
        open_seconds: How long a request waits for a worker to open the stream.
        append_seconds: How long a write waits until it is seen in the history.
        temporal_seconds: How long one call to Temporal may take.
        shutdown_seconds: How long requests in progress may take when the process ends.
        max_waiting_calls: How many calls that wait for events it has with Temporal at a time, one
            for each stream that is followed; see :func:`workflow_streams.limit_waiting_calls`.
        host_task_queue: Task queue of streams made by PUT.
        host_worker: Whether the gateway itself runs a worker for these streams.
    """

    security: SecuritySettings = field(default_factory=SecuritySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    page_bytes: int = 4 * 1024 * 1024
    event_bytes: int = 256 * 1024
    compress_from_bytes: int = 1024
    long_poll_seconds: float = 25.0
    wait_seconds: float = 30.0
    sse_seconds: float = 3600.0
    keep_alive_seconds: float = 15.0
    write_seconds: float = 30.0
    open_seconds: float = 10.0
    append_seconds: float = 30.0
    temporal_seconds: float = 10.0
    shutdown_seconds: int = 10
    max_waiting_calls: int = MOST_WAITING_CALLS
    host_task_queue: str = HOST_TASK_QUEUE
    host_worker: bool = True

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **given: Any) -> GatewaySettings:
        """Read settings from environment variables, including those of security and limits.

        A variable's name is ``WORKFLOW_STREAMS_`` and the setting's name, such as
        ``WORKFLOW_STREAMS_SSE_SECONDS``.

        Args:
            environ: The environment variables.
            **given: Settings that the application gives itself; they override variables.

        Raises:
            UsageError: A variable's value does not suit its setting, or settings contradict
                each other.
            OSError: A file that a variable names cannot be read.
        """
        told = {**values_in(environ, cls), **given}
        told.setdefault("limits", LimitSettings.from_env(environ))
        if "security" not in told:  # only then, since this reads files
            told["security"] = SecuritySettings.from_env(environ)
        return cls(**told)

    def __post_init__(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            UsageError: A size or time is not over zero, or is infinite; no call may wait.
        """
        if self.max_waiting_calls < 1:
            raise UsageError("max_waiting_calls must be at least 1")
        for name in self.__slots__:
            is_number = name.endswith(("_bytes", "_seconds"))
            if is_number and not 0 < getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be over 0")
