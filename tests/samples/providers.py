"""Providers of language models that are quick and do as told, over HTTP as the real ones."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

# Longer than what the demo waits for before it kills a worker.
HALF = [f"half {n:02}, to be taken back. " for n in range(20)]
WHOLE = [f"whole {n:02}, to stay. " for n in range(20)]


class _Handler(BaseHTTPRequestHandler):
    def begin(self, status: int, kind: str) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()

    def stream(self, pieces: list[str]) -> None:
        for piece in pieces:
            choice = {"index": 0, "delta": {"content": piece}}
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
            self.wfile.write(f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def refusing() -> Iterator[str]:
    """A provider that refuses the key, as a real one does; yields its URL."""

    class Refuse(_Handler):
        def do_POST(self) -> None:
            self.begin(401, "application/json")
            error = {"error": {"message": "Incorrect API key provided"}}
            self.wfile.write(json.dumps(error).encode())

    with _serving(Refuse) as url:
        yield url


@contextmanager
def stalling() -> Iterator[str]:
    """A provider that stops half-way in its first answer, until who asked has gone."""
    asked: list[int] = []

    class Stall(_Handler):
        def do_POST(self) -> None:
            self.begin(200, "text/event-stream")
            asked.append(len(asked))
            if len(asked) == 1:
                self.stream(HALF)
                with contextlib.suppress(ConnectionError):
                    self.rfile.read(1)
                return
            self.stream(WHOLE)
            self.wfile.write(b"data: [DONE]\n\n")

    with _serving(Stall) as url:
        yield url


@contextmanager
def _serving(handler: type[_Handler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
