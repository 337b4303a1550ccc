"""A Temporal server whose limits a test has set."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.testing.fixtures import _background_loop

# Deletes a run at once, as namespace retention has long done when somebody looks.
DELETES_AT_ONCE = "history.transferProcessorEnsureCloseBeforeDelete=false"

# Workflows continue as new soon, and may do so often.
ROLLS_OVER_SOON = (
    "limit.historyCount.suggestContinueAsNew=20",
    'history.workflowIdReuseMinimalInterval="1ms"',
)


class ConfiguredServer(EmbeddedServer):
    """Runs with dynamic configuration, given as "name=value"."""

    def __init__(self, *settings: str, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings

    def _command(self, binary: str, port: int, ui_port: int) -> list[str]:
        command = super()._command(binary, port, ui_port)
        for setting in self._settings:
            command += ["--dynamic-config-value", setting]
        return command


@contextmanager
def configured_for_many(*settings: str) -> Iterator[EmbeddedServer]:
    """Run a server for many tests, on an event loop that outlives those of the tests."""
    with _background_loop() as loop:
        server = ConfiguredServer(*settings)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
