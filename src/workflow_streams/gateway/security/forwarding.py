"""Requests that somebody else passed on: what proxies add to them."""

from __future__ import annotations

from starlette.requests import HTTPConnection

_NAMES = frozenset(
    {
        "cdn-loop",
        "fastly-client-ip",
        "fly-client-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-real-ip",
        "x-remote-addr",
        "x-remote-ip",
        "x-scheme",
    }
)
_BEGINNINGS = (
    "cf-",
    "x-amzn-trace-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-envoy-",
    "x-forwarded-",
    "x-original-",
)
# nginx adds nothing if it is not told to, but long spoke this version, which no client does.
_OLD_VERSION = "1.0"


def is_forwarding(name: str) -> bool:
    """Whether a header field, its name in lower case, says that or for whom a proxy passes on."""
    return name in _NAMES or name.startswith(_BEGINNINGS)


def forwarded_by(request: HTTPConnection) -> str:
    """Return what shows that a proxy passed the request on; empty if nothing does."""
    for name in request.headers:
        if is_forwarding(name):
            return f"the header {name}"
    return "HTTP/1.0" if request.scope.get("http_version") == _OLD_VERSION else ""
