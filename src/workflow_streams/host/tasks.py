"""Workflow tasks, told apart by how long the history is. Runs in the workflow sandbox."""

from __future__ import annotations

from temporalio import workflow

A_MOMENT = 0.001
"""A short time in seconds; how short does not matter. A timer fires in a later workflow task."""


class TaskCount:
    """Counts something within one workflow task, and begins at 0 again in the next one."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._count = 0
        self._counted_at = 0

    @property
    def value(self) -> int:
        """What has been counted in the current workflow task."""
        length = workflow.info().get_current_history_length()
        if length != self._counted_at:
            self._count, self._counted_at = 0, length
        return self._count

    def add(self, more: int) -> None:
        """Count ``more`` in the current workflow task."""
        self._count = self.value + more
