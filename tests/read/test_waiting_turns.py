"""Who has a waiting call, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from workflow_streams.read.history.waiting_budget import Waiter, WaitingBudget


class Clock:
    """Tells what time a test says it is."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waiters(budget: WaitingBudget, count: int) -> list[Waiter]:
    return [Waiter(budget, f"stream {number}") for number in range(count)]


def holding(waiters: list[Waiter]) -> list[int]:
    return [number for number, waiter in enumerate(waiters) if waiter.holds]


async def test_a_call_changes_hands_when_its_stream_has_been_quiet_for_a_while(
    clock: Clock,
) -> None:
    budget = WaitingBudget(2, clock)
    three = waiters(budget, 3)
    assert [budget.takes(waiter) for waiter in three] == [True, True, False]
    clock.now += 5
    three[2].was_lively(0)
    assert not budget.takes(three[2])  # the others have been lively as well
    clock.now += 4
    three[0].was_lively(0)
    clock.now += 2
    assert budget.takes(three[2])
    assert holding(three) == [0, 2]
    clock.now += 100
    assert not budget.takes(three[1])  # none has been quiet for longer than this one
    three[1].wake()
    assert budget.takes(three[1])
    assert holding(three) == [0, 1]
    assert budget.held == 2


async def test_who_leaves_makes_room(clock: Clock) -> None:
    budget = WaitingBudget(1, clock)
    first, second = waiters(budget, 2)
    assert budget.takes(first)
    assert not budget.takes(second)
    assert budget.pause(second) == 1
    assert (budget.held, budget.looked_at) == (1, 1)
    first.leave()
    assert budget.takes(second)
    assert (budget.held, budget.looked_at) == (1, 0)
    second.leave()
    assert (budget.held, budget.looked_at) == (0, 0)


async def test_refusals_lower_the_budget_to_what_is_let_in_and_it_rises_slowly(
    clock: Clock,
) -> None:
    budget = WaitingBudget(200, clock)
    many = waiters(budget, 60)
    assert all(budget.takes(waiter) for waiter in many)
    for waiter in many[30:]:
        waiter.refused()
        assert budget.held <= budget.allowed
    assert 20 <= budget.allowed <= 30
    lowest = budget.allowed
    clock.now += 59
    assert not budget.takes(many[59])
    assert budget.allowed == lowest
    for step in range(1, 100):
        clock.now += 10
        many[59].leave()
        budget.takes(many[59])
        assert budget.allowed == min(200, lowest + 4 * step)


async def test_no_more_hold_a_call_than_may(clock: Clock) -> None:
    rng = random.Random(1)
    budget = WaitingBudget(5, clock)
    many = waiters(budget, 20)
    for _ in range(5_000):
        waiter = rng.choice(many)
        match rng.randrange(6):
            case 0:
                waiter.leave()
            case 1:
                waiter.was_lively(rng.uniform(0, 20))
            case 2:
                waiter.wake()
            case 3 if rng.random() < 0.05:
                waiter.refused()
            case 4 if rng.random() < 0.05:
                budget.set_most(rng.randrange(1, 10))
            case _:
                if not budget.takes(waiter):
                    budget.pause(waiter)
        clock.now += rng.uniform(0, 5)
        assert budget.held == len(holding(many)) <= budget.allowed
        assert budget.looked_at == sum(waiter.level is not None for waiter in many)


async def test_a_reader_whose_event_loop_is_gone_gives_way(clock: Clock) -> None:
    budget = WaitingBudget(1, clock)

    async def take() -> bool:
        return budget.takes(Waiter(budget, "elsewhere"))

    assert await asyncio.to_thread(asyncio.run, take())
    assert budget.takes(Waiter(budget, "here"))
    assert budget.held == 1


async def test_readers_of_other_threads_are_woken() -> None:
    budget = WaitingBudget(0)
    rests = threading.Event()
    turns: list[bool] = []

    async def look() -> None:
        waiter = Waiter(budget, "stream")
        waiter.was_lively(0)
        asyncio.get_running_loop().call_soon(rests.set)
        turns.append(await waiter.turn())

    async with asyncio.timeout(100):
        looking = asyncio.create_task(asyncio.to_thread(asyncio.run, look()))
        await asyncio.to_thread(rests.wait)
        budget.wake("stream")
        await looking
    assert turns == [False]


async def test_a_woken_reader_looks_again_soon_and_then_as_ever(clock: Clock) -> None:
    budget = WaitingBudget(0, clock)
    waiter = Waiter(budget, "stream")
    waiter.wake()
    assert [waiter._pause() for _ in range(8)] == [0, 0.05, 0.1, 0.2, 0.4, 0.8, 1, 1]
