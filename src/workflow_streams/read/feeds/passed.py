"""Which runs a feed has passed, the last of them. Pure."""

from __future__ import annotations

MOST_PASSED = 10_000
"""So many passed runs are known. A stream that rolls over all the time leaves one every few
minutes, and is only asked about the last ones."""


class PassedRuns:
    """Run ids; beyond :data:`MOST_PASSED`, the one passed first is forgotten."""

    def __init__(self) -> None:
        """Start with none."""
        self._runs: dict[str, None] = {}

    def __contains__(self, run_id: object) -> bool:
        """Whether a run is known to have been passed."""
        return run_id in self._runs

    def __len__(self) -> int:
        """How many are known."""
        return len(self._runs)

    def add(self, run_id: str) -> None:
        """Note that a run has been passed."""
        self._runs.pop(run_id, None)
        self._runs[run_id] = None
        if len(self._runs) > MOST_PASSED:
            del self._runs[next(iter(self._runs))]
