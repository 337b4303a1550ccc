"""Requests that ask for the same share an answer, unless it misses what they have to be shown."""

from __future__ import annotations

import asyncio

import pytest

from workflow_streams.errors import StreamCorruptedError
from workflow_streams.gateway.layers.outgoing import PIECE_BYTES, Share, UnreadAnswers
from workflow_streams.gateway.reading.shared_answers import Made, SharedAnswers
from workflow_streams.gateway.refusals import NoTurnError

BODY = b"x" * (PIECE_BYTES + 1)


def answer(body: bytes = BODY, *, is_part: bool = True) -> Made:
    return Made(body, {}, False, "", True, is_part, items=1, size=len(body), notices=())


class Making:
    """Makes answers when it is told to."""

    def __init__(self) -> None:
        self.unread = UnreadAnswers(1 << 30)
        self.answers = SharedAnswers(self.unread)
        self.made = 0
        self.next: asyncio.Future[Made] = asyncio.get_running_loop().create_future()

    async def make(self, share: Share) -> Made:
        self.made += 1
        made = await asyncio.shield(self.next)
        share.hold(made.body, lambda: len(made.body))
        return made

    def ask(
        self, key: str = "same", *, length: int = 1, patience: float = 100
    ) -> asyncio.Task[tuple[Made, Share]]:
        async def ask() -> tuple[Made, Share]:
            share = self.unread.share()
            got = await self.answers.get(key, self.make, share, length=length, patience=patience)
            return got, share

        return asyncio.create_task(ask())

    async def asked(self, waiting: int) -> None:
        while self.answers.waiting != waiting:
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)  # what is to be made has begun

    def settle(self, result: Made | Exception) -> None:
        done, self.next = self.next, asyncio.get_running_loop().create_future()
        if isinstance(result, Made):
            done.set_result(result)
        else:
            done.set_exception(result)


async def test_it_is_made_once_and_counts_once() -> None:
    making = Making()
    tasks = [making.ask() for _ in range(5)]
    other = making.ask("other")
    await making.asked(6)
    assert ("same" in making.answers, "third" in making.answers) == (True, False)
    made = answer()
    making.settle(made)
    got = [await task for task in (*tasks, other)]
    assert all(each is made for each, _ in got)
    assert making.made == 2
    assert making.unread.held == len(BODY)
    for _, share in got:
        share.close()
    assert making.unread.held == making.answers.waiting == 0


async def test_what_reaches_to_the_head_is_shared_with_those_who_came_no_later() -> None:
    making = Making()
    first, same, later = making.ask(), making.ask(), making.ask(length=2)
    await making.asked(3)
    made, newer = answer(is_part=False), answer(b"newer", is_part=False)
    making.settle(made)
    assert [(await task)[0] for task in (first, same)] == [made, made]
    await making.asked(1)
    making.settle(newer)
    assert (await later)[0] is newer
    assert making.made == 2


async def test_an_error_is_that_of_all() -> None:
    making = Making()
    tasks = [making.ask() for _ in range(3)]
    await making.asked(3)
    making.settle(StreamCorruptedError("news", "broken"))
    for task in tasks:
        with pytest.raises(StreamCorruptedError):
            await task
    assert making.answers.waiting == 0


async def test_who_waited_for_the_turn_of_another_waits_for_one_of_its_own() -> None:
    making = Making()
    first, second, hasty = making.ask(), making.ask(), making.ask(patience=0)
    await making.asked(3)
    making.settle(NoTurnError())
    for refused in (first, hasty):
        with pytest.raises(NoTurnError):
            await refused
    await making.asked(1)
    making.settle(made := answer())
    assert (await second)[0] is made


async def test_it_goes_on_as_long_as_somebody_waits() -> None:
    making = Making()
    first, second = making.ask(), making.ask()
    await making.asked(2)
    first.cancel()
    await making.asked(1)
    making.settle(made := answer())
    assert (await second)[0] is made
    last = making.ask()
    await making.asked(1)
    last.cancel()
    await asyncio.wait({first, last})
    assert "same" not in making.answers
    assert making.made == 2
