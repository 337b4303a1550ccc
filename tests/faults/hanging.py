"""A network on which calls hang, while others on the same connection go through."""

from __future__ import annotations

from collections.abc import Iterator

from .network import FRAME_HEADER_BYTES, HEADERS, PREFACE_BYTES, SETTINGS, Filter, Network

END_STREAM = 1
RST_STREAM = 3
HEADER_TABLE_SIZE_OF_0 = bytes([0, 1, 0, 0, 0, 0])


class HangingCalls(Network):
    """Loses the answers to calls, as a node does that others have taken the work from.

    Attributes:
        lost_answers: Frames of answers to the calls that hang since the last time.
    """

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self._connections: list[_Connection] = []
        self.lost_answers = 0

    @property
    def waiting(self) -> int:
        """How many calls are under way, but for those that hang."""
        return sum(len(connection.waiting) for connection in self._connections)

    def hang(self) -> None:
        """From now on, have all calls hang that are under way. Later ones go through."""
        self.lost_answers = 0
        for connection in self._connections:
            connection.hung |= connection.waiting
            connection.waiting.clear()

    def lose(self) -> None:
        self.lost_answers += 1

    def _filters(self) -> tuple[Filter, Filter]:
        connection = _Connection(self)
        self._connections.append(connection)
        return connection.requests, connection.answers


class _Connection:
    """The HTTP/2 frames of one connection; a call is a stream.

    Attributes:
        waiting: Other calls that are under way.
        hung: Calls whose answers are lost.
    """

    def __init__(self, network: HangingCalls) -> None:
        self._network = network
        self._requests, self._answers = _Frames(PREFACE_BYTES), _Frames(0)
        self._is_set = False
        self.waiting: set[int] = set()
        self.hung: set[int] = set()

    def requests(self, data: bytes) -> bytes:
        passed = b""
        for kind, _, call, frame in self._requests.take(data):
            if kind == SETTINGS and not self._is_set:
                # The heads of answers must not build on one another, since some are lost.
                self._is_set = True
                frame = _extended(frame, HEADER_TABLE_SIZE_OF_0)
            elif kind == HEADERS:
                self.waiting.add(call)
            elif kind == RST_STREAM:
                self.waiting.discard(call)
            passed += frame
        return passed

    def answers(self, data: bytes) -> bytes:
        passed = b""
        for kind, flags, call, frame in self._answers.take(data):
            if call in self.hung:
                self._network.lose()
                continue
            if kind == HEADERS and flags & END_STREAM:
                self.waiting.discard(call)
            passed += frame
        return passed


class _Frames:
    """Cuts what comes into frames; a preface counts as the first one."""

    def __init__(self, preface: int) -> None:
        self._preface = preface
        self._rest = b""

    def take(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield kind, flags, call and bytes of each frame that is complete now."""
        self._rest += data
        if self._preface and len(self._rest) >= self._preface:
            preface, self._rest = self._rest[: self._preface], self._rest[self._preface :]
            self._preface = 0
            yield -1, 0, 0, preface
        while not self._preface and len(self._rest) >= FRAME_HEADER_BYTES:
            size = FRAME_HEADER_BYTES + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < size:
                return
            frame, self._rest = self._rest[:size], self._rest[size:]
            yield frame[3], frame[4], int.from_bytes(frame[5:9], "big"), frame


def _extended(frame: bytes, more: bytes) -> bytes:
    size = len(frame) - FRAME_HEADER_BYTES + len(more)
    return size.to_bytes(3, "big") + frame[3:] + more
