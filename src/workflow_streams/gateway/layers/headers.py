"""Response headers that keep browsers from doing with an answer what it is not for."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_PAGE = (
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


def page_policy(frame_ancestors: Iterable[str] = ()) -> str:
    """Return the CSP of the viewer's page.

    Its own scripts and styles, from files; nothing inline, nothing from elsewhere, and (Trusted
    Types) no text that the page could turn into markup. The one Trusted Types policy is for the
    address of its worker.

    Args:
        frame_ancestors: Origins whose pages may frame it.
    """
    ancestors = " ".join(frame_ancestors) or "'none'"
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        f"form-action 'none'; frame-ancestors {ancestors}; "
        "require-trusted-types-for 'script'; trusted-types shared-worker"
    )


DATA_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The CSP of all else. A stream may hold HTML (anybody who may write chooses its type), and a
browser that is led to its URL must not run it as a page of this origin."""


def as_page(app: ASGIApp) -> ASGIApp:
    """Mark what ``app`` serves as the gateway's own pages and scripts, never a stream's data."""

    async def marking(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["is_page"] = True
        await app(scope, receive, send)

    return marking


class SecurityHeaderMiddleware:
    """Adds the headers to every answer; the page's policy to what :func:`as_page` has marked."""

    def __init__(self, app: ASGIApp, *, frame_ancestors: Iterable[str] = ()) -> None:
        """Wrap ``app``."""
        self._app = app
        self._page = (
            *_ALWAYS,
            *_PAGE,
            (b"content-security-policy", page_policy(frame_ancestors).encode()),
        )
        self._data = (*_ALWAYS, (b"content-security-policy", DATA_POLICY.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add to its answer what the handler has not set itself."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                present = {name for name, _ in headers}
                is_page = scope.get("state", {}).get("is_page", False)
                wanted = self._page if is_page else self._data
                message["headers"] = [*headers, *(h for h in wanted if h[0] not in present)]
            await send(message)

        await self._app(scope, receive, sending)
