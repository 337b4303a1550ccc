"""What rules allow, and that a claim which is not understood allows nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.gateway.refusals import ForbiddenError
from workflow_streams.gateway.security import Grant
from workflow_streams.gateway.security.claims import Action, decide, is_limited, parse_rules

RULES = parse_rules(
    [
        {"ids": ["order-*"], "actions": ["read"], "topics": ["status", "progress"]},
        {"ids": ["order-7"], "actions": ["read", "write"]},
        {"ids": ["order-8"], "actions": ["write"], "topics": ["notes"]},
        {"ids": ["order-8"], "actions": ["read"], "topics": ["notes"]},
        {"ids": ["chat-*"], "actions": ["cancel"], "topics": ["x"]},
    ]
)


@pytest.mark.parametrize(
    ("action", "workflow_id", "topics", "allowed"),
    [
        # No topic named: those that may be read.
        ("read", "order-1", [], {"status", "progress"}),
        ("read", "order-1", ["status"], {"status"}),
        # Rules of the same id add up; one for all topics lifts the others' limits.
        ("read", "order-8", [], {"status", "progress", "notes"}),
        ("read", "order-8", ["notes", "status"], {"notes", "status"}),
        ("read", "order-7", [], None),
        ("read", "order-7", ["anything"], {"anything"}),
        ("write", "order-7", [], None),
        ("write", "order-8", ["notes"], {"notes"}),
        ("cancel", "chat-1", [], None),
        ("list", "", [], None),
    ],
)
def test_rules_allow(
    action: Action, workflow_id: str, topics: list[str], allowed: set[str] | None
) -> None:
    assert decide(RULES, action, workflow_id, topics) == allowed


@pytest.mark.parametrize(
    ("action", "workflow_id", "topics"),
    [
        ("read", "order-1", ["secret"]),
        ("read", "order-1", ["status", "secret"]),  # not cut down in silence
        ("read", "other", []),
        ("read", "chat-1", []),
        ("write", "order-1", ["status"]),
        ("write", "order-8", []),  # the stream as a whole
        ("write", "order-8", ["notes", "status"]),
        ("cancel", "order-7", []),
        ("metrics", "", []),
    ],
)
def test_rules_do_not_allow(action: Action, workflow_id: str, topics: list[str]) -> None:
    with pytest.raises(ForbiddenError):
        decide(RULES, action, workflow_id, topics)


@pytest.mark.parametrize("action", ["read", "write", "cancel", "list", "metrics"])
def test_without_rules_nothing_is_allowed(action: Action) -> None:
    with pytest.raises(ForbiddenError):
        decide((), action, "a", [])


@pytest.mark.parametrize("action", ["read", "write"])
def test_a_rule_with_no_topics_does_not_mean_all(action: Action) -> None:
    rules = parse_rules([{"ids": ["*"], "actions": [action], "topics": []}])
    for topics in ([], ["a"]):
        with pytest.raises(ForbiddenError):
            decide(rules, action, "a", topics)


def test_metrics_need_a_rule_of_their_own() -> None:
    rules = parse_rules([{"actions": ["metrics"]}])
    assert decide(rules, "metrics", "", []) is None
    for action in ("read", "write", "cancel", "list"):
        with pytest.raises(ForbiddenError):
            decide(rules, action, "a", [])


rule = {"ids": ["a"], "actions": ["read"]}


@pytest.mark.parametrize(
    "claim",
    [
        None,
        {},
        "read",
        [None],
        ["a"],
        [[]],
        [{}],
        [{**rule, "offsets": [1, 2]}],  # a restriction of another version
        [{**rule, "topic": ["a"]}],
        [{**rule, "ids": []}],
        [{**rule, "ids": "a"}],
        [{**rule, "ids": [1]}],
        [{**rule, "ids": [""]}],
        [{**rule, "ids": ["\\"]}],
        [{**rule, "ids": None}],
        [{**rule, "topics": None}],
        [{**rule, "topics": "a"}],
        [{**rule, "topics": [["a"]]}],
        [{**rule, "actions": []}],
        [{**rule, "actions": "read"}],
        [{**rule, "actions": ["read", "rule"]}],
        [{**rule, "actions": ["list"]}],
        [{"actions": ["read"]}],
        [{"actions": ["read", "metrics"]}],
        [rule, {}],
    ],
)
def test_a_claim_that_is_not_understood_whole_is_not_taken_in_part(claim: Any) -> None:
    with pytest.raises(ValueError):
        parse_rules(claim)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["ids", "actions", "topics", "x"]), inner, max_size=3
    ),
    max_leaves=12,
)  # fmt: skip


@given(json)
def test_whatever_the_claim_it_gives_rules_or_is_refused(claim: object) -> None:
    try:
        rules = parse_rules(claim)
    except ValueError:
        return
    assert all(rule.actions and (rule.ids or rule.actions == {"metrics"}) for rule in rules)


names = st.frozensets(st.sampled_from("abcd"))


@given(st.lists(st.tuples(st.sampled_from("xy"), st.none() | names), max_size=4), names)
def test_the_topics_of_a_read_are_never_more_than_allowed_and_never_empty(
    limits: list[tuple[str, frozenset[str] | None]], asked: frozenset[str]
) -> None:
    claim = [
        {"ids": [i], "actions": ["read"], **({} if t is None else {"topics": sorted(t)})}
        for i, t in limits
    ]
    mine = [topics for workflow_id, topics in limits if workflow_id == "x"]
    allowed = frozenset("abcde") if None in mine else frozenset().union(*(t for t in mine if t))
    try:
        answer = decide(parse_rules(claim), "read", "x", asked)
    except ForbiddenError:
        assert not allowed or not asked <= allowed
        return
    if answer is None:
        assert None in mine
        assert not asked
    else:
        assert answer
        assert answer <= allowed
        assert answer == (asked or allowed)


def test_a_grant_only_narrows() -> None:
    grant = Grant(topics=frozenset("ab"), expires_at=100.0, rules=RULES)
    assert grant.narrowed(topics="bc").topics == {"b"}
    assert grant.narrowed(expires_at=200.0).expires_at == 100.0
    assert grant.narrowed(expires_at=50.0).expires_at == 50.0
    assert Grant(topics=None, expires_at=None).narrowed(topics="a", expires_at=1.0) == Grant(
        topics=frozenset("a"), expires_at=1.0
    )
    with pytest.raises(ForbiddenError):
        grant.narrowed(topics="c")
    assert [i for i in ("order-1", "order-2", "chat-1") if grant.may_list(i)] == [
        "order-1",
        "order-2",
    ]
    once = grant.narrowed(visible=lambda i: i != "order-1")
    twice = once.narrowed(visible=lambda i: i != "order-2")
    assert [i for i in ("order-1", "order-2", "order-3") if twice.may_list(i)] == ["order-3"]


def test_a_grant_knows_how_long_it_holds() -> None:
    assert Grant(topics=None, expires_at=None).seconds_left(5.0) is None
    grant = Grant(topics=None, expires_at=100.0)
    assert [grant.seconds_left(now) for now in (90.0, 100.0, 110.0)] == [10.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("action", "workflow_id", "limited"),
    [
        ("read", "order-1", True),
        ("read", "order-7", False),  # one of its two rules is for all topics
        ("write", "order-7", False),
        ("write", "order-8", True),
        ("cancel", "chat-1", False),
        ("list", "", False),
    ],
)
def test_rules_limit_topics_if_none_of_them_is_for_all(
    action: Action, workflow_id: str, limited: bool
) -> None:
    assert is_limited(RULES, action, workflow_id) is limited
