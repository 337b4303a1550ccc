"""Hypothesis strategies: what may stand in a stream's history, few names so that they meet."""

from __future__ import annotations

from hypothesis import strategies as st

from .fold_model import (
    Batch,
    FoldModel,
    FromActivity,
    FromWorkflow,
    Garbage,
    Own,
    Plain,
    Session,
    Step,
    Truncate,
    Who,
)

plain = st.builds(Plain, st.sampled_from(["", "gateway", "1ed0bb1141444a45", "wfs1/not/ours"]))
from_activity = st.builds(
    FromActivity,
    run=st.sampled_from(["run-a", "run-b"]),
    name=st.sampled_from(["1", "charge/card"]),
    scheduled=st.integers(0, 2),
    number=st.integers(1, 3),
    nonce=st.sampled_from(["x", "y"]),
)
first_attempt = st.builds(
    FromActivity,
    run=st.just("run-a"),
    name=st.sampled_from(["1", "charge/card"]),
    scheduled=st.just(0),
    number=st.just(1),
    nonce=st.sampled_from(["x", "y"]),
)
session = st.builds(Session, st.sampled_from(["browser", "a/b"]), epoch=st.integers(0, 3))
runs = st.sampled_from(["run-a", "run-b", "run-c"])
from_workflow = st.builds(
    FromWorkflow,
    first=st.sampled_from(["run-a", "run-b"]),
    name=st.sampled_from(["1", "ship/it"]),
    begun=st.integers(0, 3),
    number=st.integers(1, 4),
    run=runs,
    before=runs,
    nonce=st.just("x"),
)
who: st.SearchStrategy[Who] = plain | from_activity | from_workflow | session
batches = st.builds(Batch, who, sequence=st.integers(1, 4), count=st.integers(0, 3))
with_rules = st.builds(
    Batch,
    who,
    sequence=st.integers(1, 4),
    count=st.integers(0, 3),
    close=st.integers(0, 9).map(lambda n: n == 0),
    order=st.none() | st.sampled_from(["", "a", "b", "ba"]),
)
steps: st.SearchStrategy[Step] = (
    batches
    | batches
    | with_rules
    | st.builds(Own, st.integers(1, 3))
    | st.builds(Truncate, st.integers(-1, 30))
    | st.builds(Garbage)
)
stories = st.lists(steps, max_size=40)


@st.composite
def openings(
    draw: st.DrawFn, *, fences: bool | None = None, closable: bool | None = None
) -> FoldModel:
    """A run's opening: head, base, publishers known from before, perhaps a ring buffer."""
    first = draw(st.integers(0, 10))
    return FoldModel(
        first=first,
        base=draw(st.integers(0, first)),
        carried=draw(
            st.lists(
                st.tuples(who.filter(lambda w: w.id != ""), st.integers(1, 3)),
                unique_by=lambda pair: pair[0],
                max_size=4,
            )
        ),
        keep_last=draw(st.none() | st.integers(1, 5)),
        fences=draw(st.booleans()) if fences is None else fences,
        closable=draw(st.booleans()) if closable is None else closable,
        order=draw(st.sampled_from(["", "a"])),
    )
