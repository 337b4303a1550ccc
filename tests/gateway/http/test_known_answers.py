"""Which answer a client has already, by the tags that it names."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from workflow_streams.gateway.reading import caching
from workflow_streams.gateway.requests.reads import ReadQuery
from workflow_streams.gateway.security import Grant
from workflow_streams.gateway.temporal.streams import Stream

STREAM = cast("Stream", SimpleNamespace(running=False, described=SimpleNamespace(run_id="the.run")))
TOPICS = frozenset(f"topic {number}" for number in range(1_000))
QUERY = ReadQuery(3, None, None, TOPICS)
GRANT = Grant(TOPICS, None)


def tag(end: int, **how: Any) -> str:
    how = {"start": 3, "topics": TOPICS, "closed": True, **how}
    return caching.etag_of(STREAM, end=end, **how)


@pytest.mark.parametrize("written", ["{}", "W/{}", '"other", {} ,"more"', '"::0""::0"{}'])
def test_the_tag_of_what_cannot_change_is_found(written: str) -> None:
    known = written.format(tag(7).removeprefix("W/"))
    assert caching.still_true(known, STREAM, QUERY, GRANT) == tag(7)


@pytest.mark.parametrize(
    "known",
    [
        "",
        "*",
        tag(7, start=4),
        tag(7, topics=frozenset({"topic 1"})),
        tag(7, closed=False),
        tag(7, notices=1),
        tag(7).replace(":7:", ":07:"),
        tag(7).replace(":7:", ":\u0667:"),
        tag(7).replace("the.run", "the-run"),
    ],
)
def test_any_other_is_not(known: str) -> None:
    assert caching.still_true(known, STREAM, QUERY, GRANT) is None


def test_thousands_of_tags_cost_one_look_at_the_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    digest = caching._digest

    def counted(topics: frozenset[str]) -> str:
        asked.append(topics)
        return digest(topics)

    monkeypatch.setattr(caching, "_digest", counted)
    assert caching.still_true('"::0"' * 6_000, STREAM, QUERY, GRANT) is None
    assert len(asked) == 1
