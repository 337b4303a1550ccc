"""Patterns of workflow ids, and a check of the ids that requests name. Pure."""

from __future__ import annotations

import re

from ..refusals import InvalidWorkflowIdError

MAX_ID_BYTES = 1000
"""Temporal's own default limit (``limit.maxIDLength``), counted in UTF-8."""

_PIECES = re.compile(r"\\(.)|(\*)|([^\\*]+)", re.DOTALL)
# Servers replace any bytes that are not UTF-8 by U+FFFD, so that different ids would look the same.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


class Pattern:
    r"""A pattern such as ``order-*``.

    ``*`` matches any number of characters, also none, and also ``/``, since a workflow id has no
    parts. ``\*`` and ``\\`` match a star and a backslash. Every other character matches itself, in
    the same case.
    """

    __slots__ = ("_pieces", "text")

    def __init__(self, text: str) -> None:
        r"""Compile.

        Raises:
            ValueError: The pattern is empty, or has a backslash that precedes neither ``*`` nor
                ``\``.
        """
        if not text:
            raise ValueError("an empty pattern matches nothing")
        pieces = [""]
        end = 0
        for found in _PIECES.finditer(text):
            escaped, star, plain = found.groups()
            if found.start() != end or (escaped is not None and escaped not in "\\*"):
                break
            end = found.end()
            if star:
                pieces.append("")
            else:
                pieces[-1] += plain if escaped is None else escaped
        if end != len(text):
            raise ValueError(f"in pattern {text!r}, a backslash stands before neither * nor \\")
        self.text = text
        self._pieces = pieces

    @property
    def prefix(self) -> str:
        """What every matching id begins with."""
        return self._pieces[0]

    def matches(self, workflow_id: str) -> bool:
        """Whether the whole id matches. Takes linear time for each piece, whatever the pattern."""
        first, *rest = self._pieces
        if not rest:
            return workflow_id == first
        *middle, last = rest
        if not workflow_id.startswith(first) or not workflow_id.endswith(last):
            return False
        at, stop = len(first), len(workflow_id) - len(last)
        for piece in middle:
            found = workflow_id.find(piece, at, stop)
            if found < 0:
                return False
            at = found + len(piece)
        return at <= stop

    def __eq__(self, other: object) -> bool:
        """Compare by text."""
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        """Return the same for equal patterns."""
        return hash(self.text)

    def __repr__(self) -> str:
        """Show the text."""
        return f"Pattern({self.text!r})"


def exactly(workflow_id: str) -> Pattern:
    """Return the pattern that matches this id only."""
    return Pattern(workflow_id.replace("\\", "\\\\").replace("*", "\\*"))


def check_workflow_id(workflow_id: str) -> None:
    """Refuse ids that no workflow can have, or that a proxy might read as another path.

    The decoded id is checked against the rules exactly as it is sent to Temporal, so it cannot be
    used to reach another workflow. But a proxy that resolves ``a/../b`` would see another id than
    the gateway does. So such ids are refused before anything else is checked.

    Raises:
        InvalidWorkflowIdError: The id is empty or too long, or has control characters or a part
            that is ``.`` or ``..``.
    """
    if not workflow_id:
        raise InvalidWorkflowIdError("The workflow id is empty.")
    if _UNFIT.search(workflow_id):
        raise InvalidWorkflowIdError("The workflow id is not UTF-8, or has control characters.")
    if len(workflow_id.encode()) > MAX_ID_BYTES:
        raise InvalidWorkflowIdError(
            f"A workflow id has at most {MAX_ID_BYTES:,} bytes in UTF-8; this has more."
        )
    if any(part in (".", "..") for part in re.split(r"[/\\]", workflow_id)):
        raise InvalidWorkflowIdError("No part of a workflow id may be '.' or '..'.")
