"""Response headers that keep browsers from misusing an answer."""

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

    It allows the page's own scripts and styles, from files: nothing inline, nothing from elsewhere.
    By Trusted Types, it also keeps the page from turning text into markup. The only policy of
    Trusted Types is for the address of the page's worker.

    Args:
        frame_ancestors: Origins whose pages may show this page in a frame.
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
"""The CSP of everything else. A stream may hold HTML, since whoever may write chooses its type. A
browser that is led to the stream's URL must not run that as a page of this origin."""


def as_page(app: ASGIApp) -> ASGIApp:
    """Mark what ``app`` serves as the gateway's own pages and scripts, not data of streams."""

    async def marking(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["is_page"] = True
        await app(scope, receive, send)

    return marking


class SecurityHeaderMiddleware:
    """Adds the headers to every answer, with the page's CSP where :func:`as_page` marked it."""

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
        """Pass a request on, and add those headers to its answer that the handler has not set."""
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
