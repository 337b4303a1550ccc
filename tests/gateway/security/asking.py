"""Requests as an ASGI server hands them over, for asking an authority without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from workflow_streams.gateway.security import Authority, SecuritySettings

LOOPBACK = ("127.0.0.1", 4437)


def request(
    url: str = "/",
    *,
    token: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    host: str = "127.0.0.1:4437",
    client: tuple[str, int] | None = ("127.0.0.1", 50_000),
    server: tuple[str, int | None] | None = LOOPBACK,
    http_version: str = "1.1",
) -> Request:
    parts = urlsplit(url)
    fields = [("host", host), *headers]
    if token is not None:
        fields.append(("authorization", f"Bearer {token}"))
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": http_version,
        "method": "GET",
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields],
        "client": client,
        "server": server,
    }
    return Request(scope)


def authority(**settings: Any) -> Authority:
    return Authority(SecuritySettings(**settings))
