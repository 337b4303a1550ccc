"""Which forks a host forgets: those that were looked at, and not noted again since."""

from __future__ import annotations

from workflow_streams.hosted.forking.noted import ForkList, NotedForks


def test_notes_of_a_run_are_told_apart_from_those_that_were_handed_on() -> None:
    forks = NotedForks(["b", "a"])
    assert forks.listed(deleted=False) == ForkList(0, ["a", "b"], deleted=False)
    assert forks.note("b")
    forks.forget("b", 0)
    forks.forget("a", 0)
    forks.forget("unknown", 0)
    assert (forks.listed(deleted=False), len(forks)) == (ForkList(1, ["b"], deleted=False), 1)
    forks.forget("b", 1)
    assert len(forks) == 0
    assert not forks.note("x" * 50_000)
    assert forks.listed(deleted=False) == ForkList(1, [], deleted=False)
