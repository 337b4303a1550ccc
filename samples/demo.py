"""The demo: all five scenarios one after the other, on a server of its own.

Workers and runners are real processes, as a user would start them. At the end a table tells
whether each scenario did what it should; the exit status is 0 only if all did.

Run: `make demo`, or `uv run samples/demo.py [SCENARIO...]` for some of order, pipeline, hub,
ticker and llm. With `TEMPORAL_ADDRESS` set, it uses that server instead of starting one: beside
`make dev`, say, whose viewer then shows the scenarios live. Its task queues are its own, so other
workers of the samples do not take part.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import demo_checks as checks
import llm_shared
import shared
from lifecycle import run
from processes import Process, run_sample
from temporalio.service import RPCError

from workflow_streams import connect
from workflow_streams.embedded import server_or_environment
from workflow_streams.errors import ServerUnavailableError

READY_SECONDS = 60
RUNNER_SECONDS = 120
CHARACTERS_BEFORE_KILL = 300

# What the names of the demo's task queues have at their end.
QUEUE_SUFFIX = f"-demo-{uuid.uuid4().hex[:8]}"

Environment = dict[str, str]


class DemoError(Exception):
    """A scenario that did not do what it should; the message says what is wrong."""


@dataclass(frozen=True)
class Scenario:
    """One part of the demo."""

    title: str
    script: str
    watch_for: str
    check: Callable[[str], str | None]
    play: Callable[[Scenario, Environment], Awaitable[str]]


async def play(scenario: Scenario, environment: Environment) -> str:
    """Run worker and runner; return what the runner printed."""
    async with run_sample("run_worker.py", environment) as worker:
        await ready(worker)
        async with run_sample(scenario.script, environment, shown=True) as runner:
            return await finish(runner)


async def play_with_kill(scenario: Scenario, environment: Environment) -> str:
    """Run worker and runner, kill the worker in mid-stream, and start another one."""

    def streaming(text: str) -> bool:
        return len(text.partition("\n")[2]) >= CHARACTERS_BEFORE_KILL

    script = "run_llm_worker.py"
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(run_sample(script, environment))
        await ready(first)
        runner = await stack.enter_async_context(
            run_sample(scenario.script, environment, shown=True)
        )
        if not await runner.until(streaming, RUNNER_SECONDS):
            raise DemoError(
                f"no text came that could be interrupted; the worker said:\n{first.text}"
            )
        first.kill()
        # Another seed makes the second answer differ, so that one sees which one it is.
        other = environment | {"LOCAL_MODEL_SEED": "2"}
        second = await stack.enter_async_context(run_sample(script, other))
        await runner.until_quiet()
        runner.note(
            paint(f"✗ worker {first.pid} killed. ", "31")
            + paint(f"Worker {second.pid} takes over once heartbeats are missed.", "2")
        )
        return await finish(runner)


async def ready(worker: Process) -> None:
    """Wait until a worker says that it is ready."""
    if not await worker.until(lambda text: "worker ready on" in text, READY_SECONDS):
        raise DemoError(f"the worker did not start:\n{worker.text}")


async def finish(runner: Process) -> str:
    """Wait for the end of a runner and return what it printed."""
    code = await runner.exit_code(RUNNER_SECONDS)
    if code is None:
        raise DemoError(f"the runner was not done after {RUNNER_SECONDS} s")
    if code != 0:
        raise DemoError(f"the runner ended with status {code}")
    return runner.text


SCENARIOS = {
    "order": Scenario(
        "two typed topics, fed by a workflow and its activity",
        "run_publisher.py",
        "Each item is decoded to the type of its topic, and the reader is told of the end.",
        checks.order,
        play,
    ),
    "pipeline": Scenario(
        "disconnect and resume, nothing lost or double",
        "run_reconnecting_subscriber.py",
        "`pend` grows while the reader is away for 3 s, and shrinks after.",
        checks.pipeline,
        play,
    ),
    "hub": Scenario(
        "publisher and subscriber outside, the workflow only hosts",
        "run_external_publisher.py",
        "Neither of the two knows of the other.",
        checks.hub,
        play,
    ),
    "ticker": Scenario(
        "a ring buffer, a fast and a slow reader",
        "run_truncating_ticker.py",
        "The slow reader (right) jumps, and is told what it lost. The fast one loses nothing.",
        checks.ticker,
        play,
    ),
    "llm": Scenario(
        "an answer written live, its worker killed half-way",
        "run_llm.py",
        "The worker is killed (SIGKILL) in mid-stream. Its half of an answer is taken back as\n"
        "soon as another worker begins the next attempt, some seconds later.",
        checks.llm,
        play_with_kill,
    ),
}


def paint(text: str, code: str) -> str:
    """Colour `text`, if there is a terminal that may show colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


async def demonstrate(name: str, environment: Environment) -> str | None:
    """Play one scenario; return what is wrong with it, or None."""
    scenario = SCENARIOS[name]
    print(paint(f"\n━━ {name}: {scenario.title}", "1;36"))
    print(paint(f"{scenario.watch_for}\n", "2"))
    try:
        return scenario.check(await scenario.play(scenario, environment))
    except DemoError as error:
        return str(error)


def environment_for(address: str) -> Environment:
    """Return the environment of workers and runners.

    A server of the demo's own has no TLS, key or namespace, whatever the user has configured.
    """
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "LOCAL_MODEL_SEED": "1"}
    if not environment.get("TEMPORAL_ADDRESS"):
        environment = {k: v for k, v in environment.items() if not k.startswith("TEMPORAL_")}
        environment["TEMPORAL_CONFIG_FILE"] = os.devnull
    suffix = environment.get("SAMPLES_QUEUE_SUFFIX", "") + QUEUE_SUFFIX
    return environment | {"TEMPORAL_ADDRESS": address, "SAMPLES_QUEUE_SUFFIX": suffix}


async def end_what_is_left() -> None:
    """Terminate what a failed or interrupted scenario has left running on the user's server.

    It would stay for ever, since no other worker serves the demo's task queues.
    """
    names = (shared.TASK_QUEUE, llm_shared.TASK_QUEUE)
    queues = ", ".join(f"'{name}{QUEUE_SUFFIX}'" for name in names)
    with contextlib.suppress(RPCError, ServerUnavailableError):
        client = await connect()
        left = client.list_workflows(f"TaskQueue IN ({queues}) AND ExecutionStatus = 'Running'")
        async for found in left:
            await client.get_workflow_handle(found.id).terminate("its demo is over")


async def main() -> int:
    """Play what was asked for, and sum up."""
    parser = argparse.ArgumentParser(description="Play the sample scenarios.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    names = parser.parse_args().scenarios or list(SCENARIOS)
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)

    rows: list[tuple[str, float, str | None]] = []
    async with server_or_environment() as address:
        print(paint(f"Temporal server: {address}", "2"))
        environment = environment_for(address)
        try:
            for name in names:
                started = time.monotonic()
                fault = await demonstrate(name, environment)
                rows.append((name, time.monotonic() - started, fault))
        finally:
            if os.environ.get("TEMPORAL_ADDRESS"):
                await end_what_is_left()

    print(paint("\n━━ summary", "1;36"))
    for name, seconds, fault in rows:
        verdict = paint("FAILED", "1;31") if fault else paint("ok", "1;32")
        print(f"{name:<10}{SCENARIOS[name].title:<60}{seconds:>6.1f} s  {verdict}")
        if fault:
            print(f"{'':<10}{fault}")
    return 1 if any(fault for _, _, fault in rows) else 0


if __name__ == "__main__":
    run(main)
