"""Turns go to each client in order, and to the clients in rotation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from workflow_streams.gateway.reading.turns import Turn, Turns
from workflow_streams.gateway.refusals import NoTurnError
from workflow_streams.gateway.refusals.problems import UnavailableError

PATIENT = 1000.0


class Story:
    """Requests that say when it is their turn, and hold it until they are told to end."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.began: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._over: dict[str, asyncio.Event] = {}

    async def ask(self, *names: str) -> None:
        """Have requests ask, each named by its client and a number."""
        for name in names:
            self._over[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._hold(name))
            await settled()

    async def _hold(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.began.append(name)
            await self._over[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self._over[name].set()
            await self._tasks[name]
            await settled()

    async def leave(self, name: str) -> None:
        self._tasks[name].cancel()
        await settled()
        assert self._tasks[name].cancelled()

    def error(self, name: str) -> BaseException | None:
        return self._tasks[name].exception()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def story(most: int, most_per_client: int, wait: float = PATIENT) -> AsyncIterator[Story]:
    told = Story(Turns(most, most_per_client, wait))
    yield told
    assert told.turns.taken == told.turns.waiting == 0


async def test_a_client_with_many_requests_leaves_room_for_others() -> None:
    async with story(3, 2) as told:
        await told.ask("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        assert told.began == ["a1", "a2", "b1"]
        assert (told.turns.taken, told.turns.waiting) == (3, 4)
        await told.end("b1")
        assert told.began[3:] == ["b2"]
        # The third turn could not be a client's that has two.
        await told.end("b2")
        assert told.began[4:] == ["c1"]
        await told.end("c1")
        assert told.began[5:] == []
        await told.end("a1", "a2")
        assert told.began[5:] == ["a3", "a4"]
        await told.end("a3", "a4")


async def test_clients_that_wait_have_turns_in_rotation() -> None:
    async with story(1, 1) as told:
        await told.ask("a1", "a2", "a3", "b1", "b2", "c1")
        for name in ("a1", "a2", "b1", "c1", "a3", "b2"):
            assert told.began[-1] == name
            await told.end(name)


async def test_those_that_leave_are_passed_over() -> None:
    async with story(1, 1) as told:
        await told.ask("a1", "a2", "b1", "b2")
        await told.leave("a2")
        await told.leave("b1")
        await told.leave("a1")
        assert told.began == ["a1", "b2"]
        await told.end("b2")


async def test_a_turn_that_comes_as_its_client_leaves_goes_to_the_next() -> None:
    async with story(1, 1) as told:
        first = Turn(told.turns, "a")
        await first.take()
        await told.ask("a2", "b1")
        first.give_back()  # to a2, which is cancelled before it hears of it
        await told.leave("a2")
        assert told.began == ["b1"]
        await told.end("b1")


async def test_a_turn_that_does_not_come_in_time_is_refused() -> None:
    async with story(1, 1, wait=0.01) as told:
        async with told.turns.turn("a"):
            with pytest.raises(NoTurnError) as refused:
                async with told.turns.turn("b"):
                    raise AssertionError
        assert refused.value.status == 503
        assert dict(refused.value.headers)["retry-after"] == "5"


async def test_at_the_end_those_that_wait_are_sent_away() -> None:
    async with story(1, 1) as told:
        await told.ask("a1", "a2", "b1")
        told.turns.close()
        await settled()
        assert isinstance(told.error("a2"), UnavailableError)
        assert isinstance(told.error("b1"), UnavailableError)
        with pytest.raises(UnavailableError):
            await told.turns.take("c")
        await told.end("a1")
        assert told.began == ["a1"]


async def test_a_turn_may_be_given_back_early_and_taken_again() -> None:
    async with story(1, 1) as told:
        turn = Turn(told.turns, "a")
        turn.give_back()
        await turn.take()
        await turn.take()
        await told.ask("b1")
        assert told.began == []
        turn.give_back()
        turn.give_back()
        await settled()
        assert told.began == ["b1"]
        await told.end("b1")
        await turn.take()
        assert told.turns.taken == 1
        turn.give_back()
