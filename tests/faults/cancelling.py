"""Cancels an operation at each place where it can be cancelled, one run for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

Operation = Callable[[], Coroutine[Any, Any, None]]

# Loop iterations after which to cancel: dense where much happens, sparse while a call is out.
ITERATIONS = [*range(8), *(8 * 2**i for i in range(8))]


@dataclass(frozen=True)
class Cut:
    """Where an operation is cancelled.

    `waiting`: at its n-th suspension. `arriving`: there, too, but when what it waits for has
    come and the operation has not yet gone on. `iterations`: after n turns of the event loop.
    """

    how: str
    n: int


async def everywhere(run: Callable[[Cut], Awaitable[bool]]) -> list[Cut]:
    """Call `run` with each cut until it says that the operation came to its end before it."""
    done: list[Cut] = []
    for how in ("waiting", "arriving"):
        n = 0
        while await run(cut := Cut(how, n)):
            done.append(cut)
            n += 1
            assert n < 200
    for n in ITERATIONS:
        if not await run(cut := Cut("iterations", n)):
            break
        done.append(cut)
    return done


async def cancelled(cut: Cut, operation: Operation) -> bool:
    """Run an operation and cancel it at the cut; return whether it had not ended before.

    A cancellation that does not come out fails the test.
    """
    if cut.how == "iterations":
        task = asyncio.create_task(operation())
        for _ in range(cut.n):
            await asyncio.sleep(0)
        requested = task.cancel()
    else:
        fired: list[bool] = []
        task = asyncio.create_task(_driven(operation(), cut, fired))
        await asyncio.wait([task])
        requested = bool(fired)
    await asyncio.wait([task])
    if requested:
        assert task.cancelled(), f"{cut}: the cancellation was swallowed"
        return True
    task.result()
    return False


async def _driven(operation: Coroutine[Any, Any, None], cut: Cut, fired: list[bool]) -> None:
    await _Steps(operation, cut, fired)


class _Steps:
    """Drives an operation from suspension to suspension, as its task would."""

    def __init__(self, operation: Coroutine[Any, Any, None], cut: Cut, fired: list[bool]) -> None:
        self._operation = operation
        self._cut = cut
        self._fired = fired

    def __await__(self) -> Generator[Any, Any, None]:
        step = 0
        resume = _bound(self._operation.send, None)
        while True:
            try:
                waited_for = resume()
            except StopIteration:
                return
            if step == self._cut.n:
                self._cancel(waited_for)
            step += 1
            try:
                resume = _bound(self._operation.send, (yield waited_for))
            except BaseException as err:
                resume = _bound(self._operation.throw, err)

    def _cancel(self, waited_for: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None

        def cancel(*_: object) -> None:
            self._fired.append(True)
            task.cancel()

        if self._cut.how == "arriving" and waited_for is not None:
            # Added before the task's own callback, so called before it.
            waited_for.add_done_callback(cancel)
        else:
            asyncio.get_running_loop().call_soon(cancel)


def _bound(call: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: call(argument)


async def no_task_named(start: str) -> None:
    """Wait until no task is left whose name starts like this."""
    async with asyncio.timeout(100):
        while any(t.get_name().startswith(start) for t in asyncio.all_tasks()):
            await asyncio.sleep(0.001)
