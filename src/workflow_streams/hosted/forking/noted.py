"""The forks that a stream's host has been told of. Pure.

A source that is deleted stays for its forks, so its host must not forget one that is there. To
find out whether a fork is gone takes a while, and meanwhile another fork may be made under the same
name. So each note of a fork has a number, and a message to forget forks says which notes were known
when they were looked up.
"""

# No `from __future__ import annotations`: payload converters look the types up by the module's
# name, which the sandbox does not know when the package was passed through.
import json
from collections.abc import Iterable
from dataclasses import dataclass

# Beside the stream's own state, in the payload that a run hands on.
_MAX_FORKS_BYTES = 48 * 1024


@dataclass(frozen=True)
class ForkList:
    """The forks of a stream, as its host knows them.

    Attributes:
        notes: How many forks this run of the host has noted so far.
        names: The forks' workflow ids, in order.
        deleted: Whether the stream has been deleted; None in a run that does not know the signals
            of which this tells the result, since a worker of an earlier version has had it.
    """

    notes: int
    names: list[str]
    deleted: bool | None = None


class NotedForks:
    """Workflow ids of forks, each with the number of its last note in this run."""

    def __init__(self, names: Iterable[str]) -> None:
        """Begin with what the run before has handed on."""
        self._numbers = dict.fromkeys(names, 0)
        self._notes = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._numbers)

    @property
    def names(self) -> list[str]:
        """Their workflow ids, in order."""
        return sorted(self._numbers)

    def note(self, name: str) -> bool:
        """Note a fork, or note it again; false if there is no room for its name."""
        if len(json.dumps([*self._numbers, name])) > _MAX_FORKS_BYTES:
            return False
        self._notes += 1
        self._numbers[name] = self._notes
        return True

    def listed(self, *, deleted: bool | None) -> ForkList:
        """Return them, so that it can be looked up which of them are gone."""
        return ForkList(self._notes, self.names, deleted)

    def forget(self, name: str, notes: int | None = None) -> None:
        """Forget a fork, unless it was noted again after there were ``notes`` notes."""
        if notes is None or self._numbers.get(name, 0) <= notes:
            self._numbers.pop(name, None)
