"""Runs one role: `python -m benchmarks.roles ROLE OPTIONS`."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable

from .talk import Talk


async def _run(role: str, options: str) -> None:
    module = importlib.import_module(f"benchmarks.roles.{role}")
    await module.run(await Talk.open(), **json.loads(options))


def _loop_factory(role: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The gateway runs as its command does."""
    if role != "gateway":
        return None
    from workflow_streams.gateway.server import fast_loop

    return fast_loop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop_factory(sys.argv[1])) as runner:
        runner.run(_run(sys.argv[1], sys.argv[2]))
    # The SDK can hang an interpreter that is finalized while a cancelled call still comes back.
    os._exit(0)
