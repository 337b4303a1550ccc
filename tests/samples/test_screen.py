"""The terminal text that can be taken back, against a terminal emulator."""

from __future__ import annotations

import os
import random
import struct
from fcntl import ioctl
from termios import TIOCSWINSZ

import pyte
import pytest
from screen import Screen, printable, rows_below_start

ALPHABET = ["a", "b", " ", "\n", "é", "e\u0301", "漢", "字", "-"]


@pytest.mark.parametrize("seed", range(200))
def test_rows_are_counted_as_a_terminal_wraps_them(seed: int) -> None:
    dice = random.Random(seed)
    columns = dice.randint(2, 12)
    text = "".join(dice.choices(ALPHABET, k=dice.randint(0, 80)))
    screen = pyte.Screen(columns, 200)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    assert rows_below_start(text, columns) == screen.cursor.y


@pytest.mark.parametrize("seed", range(30))
def test_taken_back_text_leaves_the_screen_as_it_was(seed: int) -> None:
    dice = random.Random(seed)
    columns = dice.randint(20, 40)
    master, slave = os.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 100, columns, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        screen = Screen(terminal)
        screen.line("a line that stays")
        for _ in range(20):
            screen.write("".join(dice.choices(ALPHABET, k=dice.randint(0, 30))))
        screen.take_back()
        screen.line("and another")
        terminal.flush()
        shown = pyte.Screen(columns, 100)
        pyte.ByteStream(shown).feed(os.read(master, 65536))
    os.close(master)
    lines = [line.rstrip() for line in shown.display]
    assert lines[:3] == ["a line that stays", "and another", ""]
    assert set(lines[2:]) == {""}


def test_text_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2J\rb\tc\x07\n") == "a[2Jb  c\n"

