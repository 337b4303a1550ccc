"""The stream that a request is about, and how it looks to clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ...hosted import streams
from ...hosted.streams import Hosting
from ...publish.failing_host import failing_attempt
from ..formats.frames import ENVELOPES, Shape, shape_of
from ..settings import GatewaySettings
from .link import TemporalLink


@dataclass(frozen=True, slots=True)
class Stream(streams.Stream):
    """A stream, as the server described it when the request came.

    Attributes:
        settings: The gateway's settings.
    """

    settings: GatewaySettings

    @property
    def task_headers(self) -> dict[str, str]:
        """A header field for a workflow that makes no progress because its task keeps failing."""
        attempt = failing_attempt(self.described)
        return {"stream-task-attempt": str(attempt)} if attempt else {}

    @property
    def shape(self) -> Shape:
        """How its items look to a client."""
        rules = self.feed.view.rules
        if rules is not None:
            return shape_of(rules.content_type)
        return ENVELOPES if self.setup is None else shape_of(self.setup.content_type)


def hosting_of(link: TemporalLink, settings: GatewaySettings) -> Hosting:
    """Return where the gateway hosts streams, and how long it waits for them."""
    return Hosting(
        link,
        task_queue=settings.host_task_queue,
        open_seconds=settings.open_seconds,
        append_seconds=settings.append_seconds,
    )


@asynccontextmanager
async def found(
    link: TemporalLink, settings: GatewaySettings, workflow_id: str
) -> AsyncIterator[Stream]:
    """Look a stream up; see :func:`workflow_streams.hosted.streams.found`.

    Raises:
        StreamNotFoundError: There is no workflow of this name.
        StreamGoneError: The stream has been deleted or has expired.
        CodecError: The stream is encoded, and the gateway's client cannot decode it.
        ServerUnavailableError: Temporal does not answer.
    """
    async with streams.found(hosting_of(link, settings), workflow_id) as stream:
        yield Stream(stream.feed, stream.setup, stream.described, stream.hosting, settings)
