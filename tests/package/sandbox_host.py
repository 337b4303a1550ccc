"""Runs workflows in the sandbox in a process of its own and prints what that imported.

Arguments: server address, task queue, and "plugin" or "plain". Prints JSON: the top-level
modules of the process, and how often each of this package's modules was executed while the
package was imported first, while the worker was made, and for each workflow started.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import json
import os
import sys
from collections import Counter
from typing import Any

executed: Counter[str] = Counter()
_exec_module = importlib.machinery.SourceFileLoader.exec_module


def counting(loader: Any, module: Any) -> None:
    if module.__name__.partition(".")[0] == "workflow_streams":
        executed[module.__name__] += 1
    _exec_module(loader, module)


importlib.machinery.SourceFileLoader.exec_module = counting  # type: ignore[method-assign]

from temporalio import workflow  # noqa: E402
from temporalio.client import Client  # noqa: E402
from temporalio.worker import Worker  # noqa: E402

from workflow_streams import WorkflowStream, WorkflowStreamsPlugin  # noqa: E402


@workflow.defn(name="Sandboxed")
class Sandboxed:
    @workflow.init
    def __init__(self) -> None:
        self.words = WorkflowStream().topic("words", type=str)

    @workflow.run
    async def run(self) -> bool:
        self.words.publish("from the sandbox")
        return workflow.unsafe.in_sandbox()


def taken() -> dict[str, int]:
    counts = dict(executed)
    executed.clear()
    return counts


async def main(address: str, queue: str, how: str) -> None:
    told: dict[str, Any] = {"import": taken()}
    client = await Client.connect(address)
    plugins = [WorkflowStreamsPlugin()] if how == "plugin" else []
    async with Worker(client, task_queue=queue, workflows=[Sandboxed], plugins=plugins):
        told["worker"] = taken()
        told["starts"] = []
        for i in range(3):
            in_sandbox = await client.execute_workflow(
                "Sandboxed", id=f"{queue}-{i}", task_queue=queue
            )
            assert in_sandbox
            told["starts"].append(taken())
    told["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    # Threads of the SDK that still answer can abort an interpreter that is ending.
    os._exit(0)
