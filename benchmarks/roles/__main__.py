"""Runs one role: `python -m benchmarks.roles ROLE OPTIONS`."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys

from .talk import Talk


async def _run(role: str, options: str) -> None:
    module = importlib.import_module(f"benchmarks.roles.{role}")
    await module.run(await Talk.open(), **json.loads(options))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2]))
    # The SDK can hang an interpreter that is finalized while a cancelled call still comes back.
    os._exit(0)
