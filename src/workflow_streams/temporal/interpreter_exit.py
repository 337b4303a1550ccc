"""Lets the SDK's threads come to rest before the interpreter exits.

The SDK hands a call's result over on a thread of its own, which needs the interpreter for a
moment longer than the call lasts. If the interpreter is finalized in that moment, it aborts, or
waits for ever for that thread while it drops the SDK's runtime. A process that only publishes
once and ends did so at one exit in four on a busy machine, one that ends in a long poll nearly
always (temporalio 1.35.0, sdk-python issue 300). So a process that uses streams rests for a
moment at its exit, and leaves the runtime to the operating system.
"""

from __future__ import annotations

import atexit
import ctypes
import time

from temporalio.client import Client
from temporalio.runtime import Runtime

_REST_SECONDS = 0.05

_runtimes: set[Runtime] = set()


def rest_at_exit(client: Client) -> None:
    """Have this process rest at its exit for the calls of ``client``."""
    if not _runtimes:
        atexit.register(_rest)
    _runtimes.add(client.service_client.config.runtime or Runtime.default())


def _rest() -> None:
    for runtime in _runtimes:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))
    time.sleep(_REST_SECONDS)
