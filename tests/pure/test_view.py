"""What a feed shows of its reading follows from the moments alone."""

from __future__ import annotations

from workflow_streams.events import End, Rewind
from workflow_streams.log.fold import Accepted
from workflow_streams.log.intake import Judged
from workflow_streams.log.wire import Rules, RunRef
from workflow_streams.read.feeds.view import View
from workflow_streams.read.moments import BEFORE_ALL, Chunk, Moment, Opened, Page

FIRST = RunRef("first", 0)
SECOND = RunRef("second", 2)
RULES = Rules("text/plain")


def page(run_id: str, seen_id: int, **what: object) -> Page:
    known = {"polled": False, "line": (FIRST,), "restarting": False, "holds_early": False}
    return Page((), run_id, BEFORE_ALL, seen_id, held_bytes=0, unreadable=False, **known | what)  # type: ignore[arg-type]


def opened(*line: RunRef, keep_last: int | None = None) -> Opened:
    return Opened(line, RULES, keep_last)


def test_each_moment_moves_the_view_on_and_leaves_the_one_before_as_it_was() -> None:
    begun = View("first")
    assert (begun.tag, begun.head, begun.opened) == ("", 0, False)
    one = begun.after(Moment("first", 5, 0, 0, opened=opened(FIRST, keep_last=3)))
    two = one.after(Moment("first", 9, 2, 1, chunk=Chunk(0, [("t", b"", b"x")] * 2, 2)))
    assert (one.head, one.place, one.opened, one.keeps_last) == (0, (5, 0), True, True)
    assert (two.head, two.base, two.place, two.line, two.rules) == (2, 1, (9, 0), (FIRST,), RULES)
    # The base never goes down within a run.
    assert two.after(Moment("first", 12, 3, 0)).base == 1


def test_entering_a_run_keeps_what_is_known_of_the_stream() -> None:
    view = View("first").after(Moment("first", 5, 2, 1, opened=opened(FIRST)))
    view = view.at_end_of(page("first", 8, holds_early=True, polled=True, restarting=True))
    assert view.entering("first") is view
    entered = view.entering("second")
    assert (entered.run_id, entered.place, entered.seen_id) == ("second", BEFORE_ALL, 0)
    assert not (entered.opened or entered.polled or entered.holds_early)
    assert (entered.head, entered.base, entered.rules, entered.line) == (2, 1, RULES, (FIRST,))
    assert entered.restarting


def test_a_restart_takes_base_and_end_back() -> None:
    end = End("failed", 2, "first")
    view = View("first").after(Moment("first", 5, 2, 1, opened=opened(FIRST)))
    view = view.after(Moment("first", 7, 2, 1, end=end))
    assert (view.end, view.closed_by) == (end, None)
    rewind = Rewind((range(2),), "retry", 0)
    again = view._replace(restarting=True).after(
        Moment("second", 5, 0, 0, opened=opened(FIRST, SECOND), rewind=rewind)
    )
    assert (again.head, again.base, again.end, again.restarting) == (0, 0, None, False)


def test_the_batch_that_closed_the_stream_is_known_in_later_runs() -> None:
    end = End("completed", 1, "first")
    judged = Judged(Accepted(0, 1), [], "writer", 4)
    view = View("first").after(Moment("first", 5, 0, 0, opened=opened(FIRST)))
    closed = view.after(Moment("first", 7, 1, 0, judged=judged, end=end))
    assert (closed.closed_by, closed.end) == (("writer", 4), end)
    carried = Opened((FIRST, SECOND), RULES, closed_by=("writer", 4))
    later = View("first").after(Moment("second", 5, 1, 0, opened=carried, end=end))
    assert (later.closed_by, later.end) == (("writer", 4), end)
