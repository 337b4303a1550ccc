"""Numbers, texts and columns of them as bytes; each value has one form only. Pure."""

from __future__ import annotations

from itertools import repeat

# Seven bits to a byte: 63 bits, so that the number is an int64 in any language.
_MOST_NUMBER_BYTES = 9
MOST_NUMBER = 2 ** (7 * _MOST_NUMBER_BYTES) - 1
"""The largest number that can be written."""


class MalformedError(Exception):
    """The bytes are not what is to be read."""


def number_bytes(number: int) -> bytes:
    """Write a number: seven bits to a byte, the lowest first; all but the last have the top bit."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def block(data: bytes) -> bytes:
    """Write how many bytes follow, and the bytes."""
    return number_bytes(len(data)) + data


def text_bytes(text: str) -> bytes:
    """Write a text, in UTF-8; half a character (a surrogate) as if it were a whole one."""
    return block(text.encode(errors="surrogatepass"))


class Reader:
    """Reads one value after the other.

    All methods raise MalformedError if the bytes are anything else, or are at their end.

    Attributes:
        data: The bytes.
        at: How many of them have been read.
    """

    def __init__(self, data: bytes) -> None:
        """Begin with the first byte."""
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """Read one byte."""
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        """Read so many bytes."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise MalformedError
        return self.data[start : self.at]

    def number(self, most: int = MOST_NUMBER) -> int:
        """Read a number up to ``most``."""
        value, self.at = number_at(self.data, self.at)
        if value > most:
            raise MalformedError
        return value

    def numbers(self, count: int) -> list[int]:
        """Read so many numbers."""
        data, at = self.data, self.at
        each = data[at : at + count]
        if len(each) == count and each.isascii():
            self.at += count  # each of them takes one byte, as nearly all do
            return list(each)
        values: list[int] = []
        for _ in range(count):
            if at < len(data) and data[at] < 0x80:
                values.append(data[at])
                at += 1
            else:
                value, at = number_at(data, at)
                values.append(value)
        self.at = at
        return values

    def column(self, count: int, below: int) -> list[int]:
        """Read ``count`` numbers below another one: each once for all in a row, and how many."""
        values: list[int] = []
        before = -1
        while len(values) < count:
            value, times = self.number(below - 1), self.number(count - len(values))
            if not times or value == before:
                raise MalformedError
            values += repeat(value, times)
            before = value
        return values

    def block(self) -> bytes:
        """Read bytes that :func:`block` wrote."""
        return self.take(self.number())

    def text(self) -> str:
        """Read a text."""
        try:
            return self.block().decode(errors="surrogatepass")
        except UnicodeDecodeError:
            raise MalformedError from None

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self.data) - self.at)


def number_at(data: bytes, at: int) -> tuple[int, int]:
    """Read a number that begins at an index; return it, and the index after it."""
    value = shift = 0
    for index in range(at, min(len(data), at + _MOST_NUMBER_BYTES)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                break  # it could be shorter
            return value, index + 1
        shift += 7
    raise MalformedError
