"""Serves a gateway in a process of its own until it is told to end.

Arguments: Temporal's address, and the settings as JSON (those of `GatewaySettings`; under
"security" and "limits" those of theirs). Secrets come from the environment. Prints the port once
it listens, and on SIGUSR1 how many objects Python holds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import Any

from workflow_streams import connect
from workflow_streams.gateway import GatewaySettings, LimitSettings, SecuritySettings, create_app
from workflow_streams.gateway.server import listen, server_of
from workflow_streams.gateway.telemetry.logs import configure_logging

from ...parents import end_with_the_tests


def settings_of(told: dict[str, Any]) -> GatewaySettings:
    security = {k: tuple(v) if isinstance(v, list) else v for k, v in told["security"].items()}
    return GatewaySettings(
        **told["gateway"],
        security=replace(SecuritySettings.from_env(), **security),
        limits=LimitSettings(**told["limits"]),
    )


def tell_objects() -> None:
    gc.collect()
    print(len(gc.get_objects()), flush=True)


async def main(address: str, told: str) -> None:
    configure_logging(level=os.environ.get("LOG_LEVEL", "WARNING"), style="text")
    settings = settings_of(json.loads(told))
    app = create_app(partial(connect, target_host=address, tls=False, api_key=None), settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell_objects)
    with listen("127.0.0.1", 0, settings) as listening:
        print(listening.getsockname()[1], flush=True)
        await server_of(app).serve([listening])


if __name__ == "__main__":
    end_with_the_tests()
    asyncio.run(main(*sys.argv[1:]))
