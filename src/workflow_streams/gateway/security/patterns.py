"""Patterns of workflow ids, and which ids are fit to be asked for. Pure."""

from __future__ import annotations

import re

from ..refusals import InvalidWorkflowIdError

MAX_ID_BYTES = 1000
"""Temporal's own default limit (``limit.maxIDLength``), in UTF-8."""

_PIECES = re.compile(r"\\(.)|(\*)|([^\\*]+)", re.DOTALL)
# U+FFFD is what servers make of bytes that are not UTF-8, of all of them alike.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffd]")


class Pattern:
    r"""A pattern such as ``order-*``.

    ``*`` stands for any run of characters, also none, also with ``/`` in it: a workflow id has
    no parts. ``\*`` and ``\\`` are a star and a backslash; all else stands for itself, in the
    same case.
    """

    __slots__ = ("_pieces", "text")

    def __init__(self, text: str) -> None:
        r"""Compile.

        Raises:
            ValueError: The pattern is empty, or has a backslash before anything but ``*`` or
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
        """What every id that fits begins with."""
        return self._pieces[0]

    def matches(self, workflow_id: str) -> bool:
        """Whether the whole id fits. Takes linear time per piece, whatever the pattern."""
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
        """Patterns of the same text are the same."""
        return isinstance(other, Pattern) and other.text == self.text

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(self.text)

    def __repr__(self) -> str:
        """Show the text."""
        return f"Pattern({self.text!r})"


def exactly(workflow_id: str) -> Pattern:
    """Return the pattern of this one id."""
    return Pattern(workflow_id.replace("\\", "\\\\").replace("*", "\\*"))


def check_workflow_id(workflow_id: str) -> None:
    """Refuse ids that cannot be, or that a proxy might take for another path.

    The id is the decoded one, and it is compared as it is sent to Temporal, so nothing can
    lead out of it. Yet a proxy in front that resolves ``a/../b`` would see another id than the
    gateway does; such ids are refused before anybody asks who may read them.

    Raises:
        InvalidWorkflowIdError: The id is empty, too long, has control characters or a part
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
