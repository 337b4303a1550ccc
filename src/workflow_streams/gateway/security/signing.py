"""``POST /v1/sign``: trades a bearer token for a URL that reads one stream for a short while."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..formats.offsets import parse_start
from ..refusals import BodyTooLargeError
from ..refusals.problems import InvalidRequestError
from ..sessions import gateway_of
from .authority import Authority

_MAX_BYTES = 64 * 1024
# A century, which also rules out infinity.
MOST_SECONDS = 100 * 365 * 24 * 3600
_FIELDS = frozenset({"workflow_id", "topics", "seconds", "live", "offset"})


@dataclass(frozen=True, slots=True)
class SignRequest:
    """What is to be signed.

    Attributes:
        workflow_id: The stream.
        topics: Read these topics only; empty for all that the token allows.
        seconds: How long the URL should be valid; None for the gateway's default.
        live: ``sse`` or ``long-poll``, to be put into the URL; None to leave it out.
        offset: Where the URL begins to read: an offset that the gateway gave out, ``-1`` or
            ``now``.
    """

    workflow_id: str
    topics: tuple[str, ...] = ()
    seconds: float | None = None
    live: str | None = None
    offset: str = "-1"

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters of the URL, without the permission."""
        fields = [("offset", self.offset), *(("topic", topic) for topic in self.topics)]
        return fields if self.live is None else [("live", self.live), *fields]


async def sign_endpoint(request: Request) -> Response:
    """Answer with ``{"url", "expires_at"}``; the URL allows no more than the caller may read.

    ``expires_at`` is Unix time in seconds.
    """
    wanted = parse_sign_request(await _body(request))
    authority: Authority = request.app.state.authority
    grant = await authority.authorize(request, "read", wanted.workflow_id, wanted.topics)
    url, expires_at = authority.sign(
        grant,
        wanted.workflow_id,
        seconds=wanted.seconds,
        base=request.scope.get("root_path", ""),
        query=wanted.query,
    )
    most = gateway_of(request).settings.limits.max_url_bytes
    if len(url) - 1 > most:  # the limit does not count the question mark
        raise InvalidRequestError(
            f"The URL would be longer than the {most:,} bytes that this gateway takes; name fewer "
            "topics. Each stands in it twice."
        )
    answer = {"url": url, "expires_at": expires_at}
    return JSONResponse(answer, headers={"cache-control": "no-store"})


def parse_sign_request(body: bytes) -> SignRequest:
    """Read the body of ``POST /v1/sign``.

    Raises:
        InvalidRequestError: It is not a JSON object with the fields of :class:`SignRequest`.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is not JSON.") from None
    if not isinstance(fields, dict) or not fields.keys() <= _FIELDS:
        raise InvalidRequestError(f"The body is an object with fields of {sorted(_FIELDS)}.")
    workflow_id, topics = fields.get("workflow_id"), fields.get("topics", [])
    seconds, live = fields.get("seconds"), fields.get("live")
    if not isinstance(workflow_id, str):
        raise InvalidRequestError("workflow_id is a string.")
    if not isinstance(topics, list) or not all(isinstance(topic, str) for topic in topics):
        raise InvalidRequestError("topics is a list of strings.")
    if not all(map(_is_unicode, topics)):
        raise InvalidRequestError("A topic has half of a character.")
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (is_number and 1 <= seconds <= MOST_SECONDS):
        raise InvalidRequestError("seconds is a number, from 1 to a century.")
    if live not in (None, "sse", "long-poll"):
        raise InvalidRequestError("live is 'sse' or 'long-poll'.")
    offset = fields.get("offset", "-1")
    if not isinstance(offset, str):
        raise InvalidRequestError("offset is a string.")
    parse_start(offset)
    return SignRequest(
        workflow_id,
        tuple(cast("list[str]", topics)),
        None if seconds is None else float(seconds),
        live,
        offset,
    )


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BYTES:
            raise BodyTooLargeError(f"This body has at most {_MAX_BYTES:,} bytes.")
    return body


def _is_unicode(text: str) -> bool:
    """Whether a text can be sent in a URL: JSON can escape half a character, but a URL cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
