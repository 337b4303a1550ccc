"""Lets web pages of listed origins use the gateway (CORS), and refuses writes from all others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...errors import UsageError
from ..refusals import CrossOriginError
from ..refusals.responses import refuse
from ..requests.forwarding import is_forwarding

_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_HEADERS = (
    "Authorization, Content-Type, If-None-Match, Last-Event-ID, Producer-Epoch, Producer-Id, "
    "Producer-Seq, Stream-Closed, Stream-Expires-At, Stream-Fork-Offset, Stream-Fork-Sub-Offset, "
    "Stream-Forked-From, Stream-Seq, Stream-TTL, X-Request-Id"
)
MOST_ASKED_FOR = 50
"""How many header fields a page may send in addition to those that the gateway knows."""

_EXPOSED_HEADERS = (
    "Allow, Content-Encoding, ETag, Location, Producer-Epoch, Producer-Expected-Seq, "
    "Producer-Received-Seq, Producer-Seq, Retry-After, Stream-Base-Offset, Stream-Closed, "
    "Stream-Cursor, Stream-Expires-At, Stream-Gaps, Stream-Next-Offset, Stream-Outcome, "
    "Stream-Rewinds, Stream-SSE-Data-Encoding, Stream-TTL, Stream-Task-Attempt, "
    "Stream-Up-To-Date, "
    "WWW-Authenticate, X-Request-Id"
)
_MAX_AGE_SECONDS = 600
_DEFAULT_PORTS = {"http": 80, "https": 443}
_FIELD_NAME = re.compile(r"[!#$%&'+.^_`|~0-9a-z-]{1,100}", re.ASCII)
_ORIGIN = re.compile(r"https?://[^/?#@\\\s]+", re.IGNORECASE)


class CorsMiddleware:
    """Answers preflights, names the allowed origin, and refuses writes from other pages.

    A browser sends some writes (``POST`` of plain text, for example) to any server without asking
    first, even to one on the user's own machine, where there may be no login. But it names the
    page's origin in each of them.
    """

    def __init__(
        self, app: ASGIApp, *, origins: Iterable[str] = (), credentials: bool = False
    ) -> None:
        """Wrap ``app``.

        Raises:
            UsageError: An origin is not of the form ``https://host[:port]``.
        """
        listed = tuple(origins)
        self._app = app
        self._any = "*" in listed
        self._origins = frozenset(normal_origin(o, strict=True) for o in listed if o != "*")
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through unless a page of a foreign origin wants to change something."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is not None and (self._any or normal_origin(origin) in self._origins)
        added = self._allowing(origin) if origin is not None and allowed else []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*_with_vary(message.get("headers", ())), *added]
            await send(message)

        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            asked = headers.get("access-control-request-headers", "") if allowed else ""
            await _answer_preflight(sending, asked)
        elif scope["method"] not in _SAFE_METHODS and not allowed and _is_foreign(headers):
            refusal = CrossOriginError(
                "A page of another origin may change something here only if its origin is listed."
            )
            await refuse(refusal, scope, sending)
        else:
            await self._app(scope, receive, sending)

    def _allowing(self, origin: str) -> list[tuple[bytes, bytes]]:
        named = "*" if self._any else origin
        added = [
            (b"access-control-allow-origin", named.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED_HEADERS.encode()),
        ]
        if self._credentials:
            added.append((b"access-control-allow-credentials", b"true"))
        return added


async def _answer_preflight(send: Send, asked: str) -> None:
    """Say what is allowed; without ``Access-Control-Allow-Origin`` this permits nothing."""
    headers = [
        (b"access-control-allow-methods", _METHODS.encode()),
        (
            b"access-control-allow-headers",
            ", ".join([_REQUEST_HEADERS, *_harmless(asked)]).encode(),
        ),
        (b"access-control-max-age", str(_MAX_AGE_SECONDS).encode()),
        (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _harmless(asked: str) -> list[str]:
    """Return those of the header fields that a page asks for that it may send.

    Tracing tools and HTTP clients add fields of their own, and a page of a listed origin may send
    what a program may send. But it may not claim that a proxy has forwarded the request, since
    limits, logs and checks may trust a proxy to say where a request comes from.
    """
    known = _REQUEST_HEADERS.lower().split(", ")
    names = dict.fromkeys(name.strip() for name in asked.lower().split(","))
    return [
        name
        for name in names
        if _FIELD_NAME.fullmatch(name) and name not in known and not is_forwarding(name)
    ][:MOST_ASKED_FOR]


def normal_origin(origin: str, *, strict: bool = False) -> str:
    """Return an origin in lower case and without its scheme's default port.

    Args:
        origin: The origin, as a browser sends it or as it is listed.
        strict: Raise UsageError if it is not an origin, instead of returning it unchanged.
    """
    parts = _parse_origin(origin)
    if parts is None:
        if strict:
            raise UsageError(f"not an origin such as https://app.example.com: {origin!r}")
        return origin
    scheme, host, port = parts
    return f"{scheme}://{host}" + ("" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}")


def _parse_origin(origin: str) -> tuple[str, str, int | None] | None:
    if _ORIGIN.fullmatch(origin) is None:
        return None
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if not host:
        return None
    return parts.scheme, f"[{host}]" if ":" in host else host, port


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sends this for a page of another origin.

    A request without ``Origin`` does not come from a page, unless ``Sec-Fetch-Site`` says so, which
    the browser sets and pages cannot. Schemes are not compared, since TLS may end at a proxy.
    """
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site") == "cross-site"
    host = headers.get("host", "")
    own = {normal_origin(f"{scheme}://{host}") for scheme in _DEFAULT_PORTS}
    return normal_origin(origin) not in own


def _with_vary(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Make caches keep answers for different origins apart, since each names its origin."""
    kept = [(name, value) for name, value in headers if name != b"vary"]
    varied = [value for name, value in headers if name == b"vary"]
    return [*kept, (b"vary", b", ".join([*varied, b"Origin"]))]
