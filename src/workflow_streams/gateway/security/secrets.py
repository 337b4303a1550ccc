"""Secret values that must not show up anywhere."""

from __future__ import annotations

import hmac
from pathlib import Path


class Secret:
    """Bytes that do not show in ``repr``, logs or tracebacks, and are compared in constant time."""

    __slots__ = ("__value",)

    def __init__(self, value: str | bytes) -> None:
        """Keep ``value``; text as UTF-8."""
        self.__value = value.encode() if isinstance(value, str) else bytes(value)

    @classmethod
    def from_file(cls, path: str | Path) -> Secret:
        """Read a secret from a file, without the line end that editors add."""
        return cls(Path(path).read_bytes().rstrip(b"\r\n"))

    def reveal(self) -> bytes:
        """Return the value, for a call that needs it."""
        return self.__value

    def __len__(self) -> int:
        """Count the bytes."""
        return len(self.__value)

    def __eq__(self, other: object) -> bool:
        """Compare in a time that does not depend on where the values differ."""
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value, other.__value)

    def __hash__(self) -> int:
        """Return the same for equal values."""
        return hash(self.__value)

    def __repr__(self) -> str:
        """Show that there is a value, but not which."""
        return "Secret('***')"

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be pickled, since that would reveal the value."""
        raise TypeError("a Secret cannot be pickled")
