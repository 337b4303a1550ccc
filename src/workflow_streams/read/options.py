"""The options that every way of reading a stream has."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from ..events import Last


class ReadOptions(TypedDict, total=False):
    """Options of ``subscribe()`` and ``follow()``, of the client and of its topics' handles.

    All are keyword arguments, and each may be left out.

    Attributes:
        from_position: Where to resume, instead of ``from_offset``: the ``position`` of the last
            item or event that was dealt with. Unlike an offset, it tells streams and their
            restarts apart: if the workflow was started anew, reset or replaced meanwhile,
            ``follow()`` yields a :class:`Rewind` that says so, and what counts now comes after
            that. ``subscribe()`` shows the items that count now.
        until: Where to stop before the stream ends. An offset: stop right before the item at
            that offset, without waiting for it. ``LATEST``: stop after everything that stands in
            the stream at the first step; that is nothing before a worker has opened the stream.
            Default: at the end of the stream.
        wait: How long to wait at the first step for a workflow that has not been started yet.
            One that comes is then read from its start, also with ``LATEST``. Default: not at
            all.
        max_outage: How long a step waits while the server cannot be reached, counted from the
            first call that fails. Default: until it is back.
    """

    from_position: str | None
    until: int | Last | None
    wait: timedelta | None
    max_outage: timedelta | None


def check_options(caller: str, options: ReadOptions) -> None:
    """Refuse options that do not exist, as Python does for parameters.

    Raises:
        TypeError: An option has an unknown name.
    """
    for name in options:
        if name not in ReadOptions.__annotations__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")
