"""Text on a terminal that can be taken back.

Saving the cursor and restoring it, as terminals offer it, fails as soon as the text has scrolled:
the saved place is a place on the screen, not in the text. So the way back is counted here, in
rows, as the terminal has wrapped them.
"""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO


def printable(text: str) -> str:
    """Return `text` with nothing in it that moves the cursor, except for line feeds."""
    text = text.replace("\t", "    ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in {"Cc", "Cs"})


def width(char: str) -> int:
    """Return how many columns a terminal gives to a character."""
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def rows_below_start(text: str, columns: int) -> int:
    """Return how many rows below its first one the cursor stands after `text` was written.

    A row that is full to the last column does not wrap before the next character comes.
    """
    row = column = 0
    for char in text:
        if char == "\n":
            row, column = row + 1, 0
        elif column + width(char) > columns:
            row, column = row + 1, width(char)
        else:
            column += width(char)
    return row


class Screen:
    """Writes text piece by piece; `take_back` removes what came since the last full line.

    When the output is not a terminal, nothing can be taken back: what was written stays, and
    what follows starts on a line of its own.
    """

    def __init__(self, output: TextIO) -> None:
        """Write to `output`."""
        self._output = output
        self._text = ""

    def line(self, text: str) -> None:
        """Write a line that stays; text written before it stays as well."""
        if self._text and not self._text.endswith("\n"):
            self._emit("\n")
        self._text = ""
        self._emit(f"{text}\n")

    def write(self, text: str) -> None:
        """Write the next piece of the text that may have to be taken back."""
        text = printable(text)
        self._text += text
        self._emit(text)

    def take_back(self) -> None:
        """Remove the text written since the last `line`."""
        if not self._text:
            return
        if not self._output.isatty():
            if not self._text.endswith("\n"):
                self._emit("\n")
            self._text = ""
            return
        columns, lines = os.get_terminal_size(self._output.fileno())
        # What has left the screen at the top is out of reach.
        up = min(rows_below_start(self._text, columns), lines - 1)
        self._emit("\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J")
        self._text = ""

    def _emit(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()
