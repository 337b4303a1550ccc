"""The terminal text that can be taken back, against a terminal emulator."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from termios import TIOCSWINSZ
from typing import TextIO

import pyte
from hypothesis import given
from hypothesis import strategies as st
from screen import Screen, printable, rows_below_start

NARROW = st.text("ab -é\n", max_size=80)
# The emulator, unlike terminals, does not wrap a wide character early: no odd columns for it.
WIDE = st.text("漢字\n", max_size=40)

Terminal = tuple[int, TextIO]


@contextmanager
def terminal(columns: int, rows: int) -> Iterator[Terminal]:
    """Open a pseudo-terminal: (where it is read, where it is written)."""
    ours, theirs = os.openpty()
    ioctl(theirs, TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as output:
        yield ours, output
    os.close(ours)


def cursor_row(text: str, columns: int) -> int:
    emulator = pyte.Screen(columns, 200)
    pyte.Stream(emulator).feed(text.replace("\n", "\r\n"))
    return int(emulator.cursor.y)


@given(NARROW, st.integers(2, 20))
def test_rows_are_counted_as_a_terminal_wraps_them(text: str, columns: int) -> None:
    assert rows_below_start(text, columns) == cursor_row(text, columns)


@given(WIDE, st.integers(1, 10))
def test_wide_characters_take_two_columns(text: str, pairs: int) -> None:
    assert rows_below_start(text, 2 * pairs) == cursor_row(text, 2 * pairs)


def test_wide_character_that_does_not_fit_wraps_early() -> None:
    assert rows_below_start("漢漢", 3) == 1


def test_accent_of_its_own_takes_no_column() -> None:
    assert rows_below_start("e\u0301" * 10, 10) == 0


@given(st.lists(NARROW, max_size=8), st.integers(20, 40))
def test_taken_back_text_leaves_the_screen_as_it_was(pieces: list[str], columns: int) -> None:
    with terminal(columns, 100) as (ours, output):
        screen = Screen(output)
        screen.line("a line that stays")
        for piece in pieces:
            screen.write(piece)
        screen.take_back()
        screen.line("and another")
        written = b""
        while not written.endswith(b"and another\r\n"):
            written += os.read(ours, 65536)
    emulator = pyte.Screen(columns, 100)
    pyte.ByteStream(emulator).feed(written)
    lines = [line.rstrip() for line in emulator.display]
    assert lines == ["a line that stays", "and another", *[""] * 98]


def test_text_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2J\rb\tc\x07\n") == "a[2Jb    c\n"
