"""Tables as plain text. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Columns:
    """Lays rows out in columns, the last one without padding.

    Widths grow with the rows, so that a table can be written page by page.
    """

    def __init__(self, *titles: str, right: Sequence[str] = ()) -> None:
        """Begin a table with these columns; those in ``right`` hold numbers."""
        self._titles = titles
        self._right = frozenset(right)
        self._widths = [len(title) for title in titles]

    def lines(
        self,
        rows: Sequence[Sequence[str]],
        *,
        head: bool = True,
        style: Callable[..., str] = lambda text, *_: text,
    ) -> str:
        """Return the lines of ``rows``, each a text per column.

        Args:
            rows: The rows.
            head: Whether to begin with a line of titles.
            style: Styles the titles.
        """
        for row in rows:
            self._widths = [
                max(width, len(text)) for width, text in zip(self._widths, row, strict=True)
            ]
        lines = [style(self._line(self._titles), "bold")] if head else []
        return "".join(f"{line}\n" for line in [*lines, *map(self._line, rows)])

    def _line(self, row: Sequence[str]) -> str:
        cells = [
            text.rjust(width) if title in self._right else text.ljust(width)
            for title, text, width in zip(self._titles, row, self._widths, strict=True)
        ]
        return "  ".join(cells).rstrip()
