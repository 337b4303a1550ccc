"""uvicorn's HTTP protocol with limits on clients that send too slowly or read too slowly.

uvicorn sets no limit on how long a request's head may take, and with httptools none on its size.
Clients that open connections and send nothing, or a byte a minute, could hold them for ever. Nor
does it then limit how many requests are sent ahead while one is being answered: it makes an object
for each that it finds in 256 KiB, so behind an event stream thousands would be kept. Its
protocol classes are made to be replaced (``http=`` takes a class), so the classes here add the two
limits. They also cut connections whose clients do not read what is left to be written, even after
the application has finished its answer.

uvicorn has no public interface for this, and does not document the members of these classes that
are used here. So its version has an upper bound; see tests/gateway/http/test_uvicorn.py.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any

from .layers.limit_settings import LimitSettings
from .telemetry.logs import accept_unfinished_answers, mask_server_logs

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)
# What a chunk of one byte takes besides that byte: its size, two line ends, and room for leading
# zeros.
_FRAMING = 16
MOST_PIPELINED = 16
"""How many requests a client may send ahead on a connection; hardly any client sends one. With h11
they wait unread."""


def server_options(limits: LimitSettings, write_seconds: float = 30.0) -> dict[str, Any]:
    """Return arguments of ``uvicorn.Config`` for a server that serves nothing but the gateway.

    They leave logging to the gateway (see :func:`.telemetry.logs.configure_logging`).
    """
    mask_server_logs()
    accept_unfinished_answers()
    return {
        "http": bounded_protocol(limits, write_seconds),
        "h11_max_incomplete_event_size": limits.max_header_bytes + limits.max_url_bytes,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
    }


def bounded_protocol(limits: LimitSettings, write_seconds: float) -> type[asyncio.Protocol]:
    """Return the faster of uvicorn's HTTP protocols that is installed, with limits on heads.

    It also cuts connections whose clients read nothing for twice ``write_seconds``.
    """
    made = _httptools if importlib.util.find_spec("httptools") else _h11
    bounded = made(limits)
    bounded.write_seconds = write_seconds
    return bounded


if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Uvicorn
else:
    _Uvicorn = object


class _Timed(_Uvicorn):
    """Closes a connection if its next head takes too long, or if its client reads nothing."""

    head_seconds: float
    write_seconds: float
    _timer: asyncio.TimerHandle | None = None
    _unwritten: asyncio.TimerHandle | None = None

    def reading_head(self) -> bool:
        """Whether the next head is the client's to send: no request is being answered."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing() or not self.reading_head():
            self._disarm()
        elif self._timer is None:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_looking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        self._stop_looking()
        super().resume_writing()

    def _look_later(self) -> None:
        size = self.transport.get_write_buffer_size()
        # The application gives up on the client after half of that, and says why. So this comes
        # second.
        self._unwritten = self.loop.call_later(2 * self.write_seconds, self._look, size)

    def _look(self, size: int) -> None:
        """Cut the connection if its client has read nothing since the last look.

        A connection that is being closed is cut at once: its client has had its time, and
        nothing else would end it.
        """
        if self.transport.is_closing() or self.transport.get_write_buffer_size() >= size:
            self.transport.abort()
        else:
            self._look_later()

    def _stop_looking(self) -> None:
        if self._unwritten is not None:
            self._unwritten.cancel()
            self._unwritten = None

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _h11(limits: LimitSettings) -> type[_Timed]:
    """h11 limits the size of heads by itself."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Bounded(_Timed, H11Protocol):
        head_seconds = limits.head_seconds

        def reading_head(self) -> bool:
            done = self.cycle is None or self.cycle.response_complete
            return done or self.conn.their_state is h11.IDLE

    return Bounded


def _few_ahead() -> Any:
    """Return uvicorn's protocol, which cuts off clients that send many requests ahead."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class FewAhead(HttpToolsProtocol):
        # The parser goes on to the end of what it has been given, whatever comes of it.
        _is_cut = False

        def on_message_begin(self) -> None:
            if len(self.pipeline) >= MOST_PIPELINED:
                # No refusal can be sent in the midst of another answer.
                self._is_cut = True
                self.transport.abort()
            if not self._is_cut:
                super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            if not self._is_cut:
                super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self._is_cut:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            if not self._is_cut:
                super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if not self._is_cut:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._is_cut:
                super().on_message_complete()

    return FewAhead


def _httptools(limits: LimitSettings) -> type[_Timed]:
    most = limits.max_header_bytes + limits.max_url_bytes

    class Bounded(_Timed, _few_ahead()):  # type: ignore[misc]
        head_seconds = limits.head_seconds
        _in_head = False
        _in_message = False
        _beside = 0  # bytes of the head, or of a body's framing: all that is no content

        def reading_head(self) -> bool:
            return self._in_head or self.cycle is None or self.cycle.response_complete

        def data_received(self, data: bytes) -> None:
            self._beside += len(data)
            super().data_received(data)
            if self._beside <= most or self.transport.is_closing():
                return
            if self._in_head:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
            elif self._in_message:
                self.transport.abort()

        def on_message_begin(self) -> None:
            self._in_head = self._in_message = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            # The application checks complete heads itself.
            self._in_head = False
            self._beside = 0
            super().on_headers_complete()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._in_head:  # otherwise it is a trailer, which nobody reads
                super().on_header(name, value)

        def on_body(self, body: bytes) -> None:
            # The line with a chunk's size may be longer than the chunk.
            self._beside = max(0, self._beside - (1 + _FRAMING) * len(body))
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._in_message = False
            self._beside = 0
            super().on_message_complete()

    return Bounded
