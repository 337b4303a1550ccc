"""Recognises requests that a proxy has forwarded, by what proxies add to them."""

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
# Unless configured to, nginx adds nothing. But for long it used this version, which clients do not.
_OLD_VERSION = "1.0"


def is_forwarding(name: str) -> bool:
    """Whether a header field (in lower case) says that a proxy forwards a request, or for whom."""
    return name in _NAMES or name.startswith(_BEGINNINGS)


def forwarded_by(request: HTTPConnection) -> str:
    """Return what shows that a proxy has forwarded the request; empty if nothing does."""
    for name in request.headers:
        if is_forwarding(name):
            return f"the header {name}"
    return "HTTP/1.0" if request.scope.get("http_version") == _OLD_VERSION else ""
