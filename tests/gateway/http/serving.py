"""Gateways as users run them: in processes of their own, under uvicorn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ...parents import ROOT

MODULE = "tests.gateway.http.gateway_process"

HOST_QUEUE = f"hosts-{uuid.uuid4().hex[:8]}"
"""Of all gateways of this test process; others may use the same server."""


class GatewayProcess:
    """A gateway that runs. `log` is what it has written to its standard error so far."""

    def __init__(
        self,
        temporal: str,
        *,
        security: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        environ: dict[str, str] | None = None,
        **settings: Any,
    ) -> None:
        settings.setdefault("host_task_queue", HOST_QUEUE)
        told = {"gateway": settings, "security": security or {}, "limits": limits or {}}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", MODULE, temporal, json.dumps(told)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert port, self.end()
        self.url = f"http://127.0.0.1:{port}"
        self.port = int(port)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def stream(self, name: str) -> str:
        return f"{self.url}/v1/stream/{name}"

    def objects(self) -> int:
        """Return how many objects its Python holds, garbage left out."""
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGUSR1)
        return int(self.process.stdout.readline())

    def wait_ready(self) -> None:
        until = time.monotonic() + 100
        while httpx.get(f"{self.url}/readyz", timeout=60).status_code != 200:
            assert time.monotonic() < until, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM, timeout: float = 100) -> str:
        """Send it a signal, and return its log when it is gone."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(5)
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                pipe.close()
        return self.log


@contextmanager
def running_gateway(temporal: str, **settings: Any) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(temporal, **settings)
    try:
        gateway.wait_ready()
        yield gateway
    finally:
        gateway.end()


async def metric(
    http: httpx.AsyncClient, gateway: GatewayProcess, name: str, label: str = ""
) -> float:
    """Return a metric: the sum of its lines that begin with ``name`` and hold ``label``."""
    lines = (await http.get(f"{gateway.url}/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith(name) and label in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)
