"""The page that shows streams: serves its files as they are; the browser does all the work."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..refusals.problems import NoStreamError

_PAGE = "index.html"
# Not taken from the system's table of types, which may have a wrong type for .js, while browsers
# insist on the right one.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class ViewerPage:
    """Serves the page at ``/`` and its files below ``/viewer/``."""

    def __init__(self) -> None:
        """Read the files."""
        self._files = {
            entry.name: (entry.read_bytes(), _TYPES[suffix])
            for entry in files(__name__).joinpath("static").iterdir()
            if (suffix := entry.name[entry.name.rfind(".") :]) in _TYPES
        }
        # One tag for all files, so that a page is never put together from two versions.
        content = b"".join(body for _, (body, _) in sorted(self._files.items()))
        self._etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/", self._page),
            Route("/viewer/{name}", self._file),
        ]

    async def _page(self, request: Request) -> Response:
        return self._answer(request, _PAGE)

    async def _file(self, request: Request) -> Response:
        return self._answer(request, request.path_params["name"])

    def _answer(self, request: Request, name: str) -> Response:
        if name not in self._files:
            raise NoStreamError("There is nothing at this path.")
        request.state.is_page = True  # as `layers.headers.as_page` does for whole applications
        headers = {"etag": self._etag, "cache-control": "no-cache"}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body, content_type = self._files[name]
        return Response(body, headers={**headers, "content-type": content_type})
