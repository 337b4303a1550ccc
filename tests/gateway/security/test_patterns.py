"""Patterns match whole ids, literally but for the star; odd ids are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflow_streams.gateway.refusals import InvalidWorkflowIdError
from workflow_streams.gateway.security.patterns import Pattern, check_workflow_id, exactly

few = st.text("ab*\\/.", max_size=8)


def reference(text: str) -> re.Pattern[str]:
    """The same rules by another way: a regular expression."""
    pieces = re.findall(r"\\.|.", text, re.DOTALL)
    return re.compile(
        "".join(".*" if p == "*" else re.escape(p[1] if len(p) == 2 else p) for p in pieces),
        re.DOTALL,
    )


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("order-1", ["order-1"], ["order-11", "xorder-1", "Order-1", "order-1\n", ""]),
        ("order-*", ["order-", "order-1", "order-1/2"], ["order", "xorder-1", "ORDER-1"]),
        ("*", ["a", "", "a/b", "line\nline"], []),
        ("*-eu", ["a-eu", "-eu"], ["a-eu-"]),
        ("a*b*c", ["abc", "a1b2c", "abbcc", "a/b/c"], ["acb", "ab", "abcd"]),
        ("aa*aa", ["aaaa", "aaXaa"], ["aaa", "aa"]),
        ("a*aba*a", ["aabaa", "aXabaXa"], ["aaba"]),
        (r"\*", ["*"], ["a", r"\*"]),
        (r"a\\*", ["a\\", "a\\b"], ["a", "ab"]),
        ("a?[bc]{2}.+$", ["a?[bc]{2}.+$"], ["ab"]),
    ],
)
def test_a_pattern_fits_whole_ids_and_only_the_star_is_special(
    pattern: str, fits: list[str], fits_not: list[str]
) -> None:
    compiled = Pattern(pattern)
    assert [i for i in fits if not compiled.matches(i)] == []
    assert [i for i in fits_not if compiled.matches(i)] == []


@pytest.mark.parametrize("text", ["", "\\", "a\\", "\\a", "a\\b*", "\\\\\\"])
def test_what_is_no_pattern_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        Pattern(text)


@given(few, few)
@example("**a*", "ba")
def test_a_pattern_means_what_its_regular_expression_means(text: str, workflow_id: str) -> None:
    try:
        compiled = Pattern(text)
    except ValueError:
        odd = re.fullmatch(r"(?:\\[\\*]|[^\\])*", text, re.DOTALL) is None
        assert odd or text == ""
        return
    assert compiled.matches(workflow_id) == bool(reference(text).fullmatch(workflow_id))


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_the_pattern_of_one_id_fits_that_id_and_no_other(workflow_id: str, other: str) -> None:
    assert exactly(workflow_id).matches(workflow_id)
    assert exactly(workflow_id).matches(other) == (other == workflow_id)


def test_a_pattern_made_to_be_slow_is_not() -> None:
    # A matcher that tries again from each star would not end before the universe does.
    assert not Pattern("a*" * 400 + "b").matches("a" * 1000)


@pytest.mark.parametrize(
    "workflow_id",
    ["", ".", "..", "a/../b", "../a", "a/..", "a/./b", "a\\..\\b", "a\x00b", "a\nb", "a\x7f",
     "a\x85b", "a\ufffdb", "a\ud800", "x" * 1001],
)  # fmt: skip
def test_an_id_that_cannot_be_or_may_be_read_in_two_ways_is_refused(workflow_id: str) -> None:
    with pytest.raises(InvalidWorkflowIdError):
        check_workflow_id(workflow_id)


@pytest.mark.parametrize(
    "workflow_id",
    [
        "a",
        "a.b",
        "..a",
        "a..",
        "a/b",
        "a//b",
        "a/...",
        "%2e%2e",
        "a b",
        "ä",
        "日本",
        "x" * 1000,
        "*",
    ],
)
def test_any_other_id_may_be_asked_for(workflow_id: str) -> None:
    check_workflow_id(workflow_id)


@given(st.text(alphabet="ab*\\", min_size=1, max_size=6))
def test_the_pattern_of_one_id_fits_it_alone(workflow_id: str) -> None:
    pattern = exactly(workflow_id)
    assert pattern.prefix == workflow_id
    assert pattern.matches(workflow_id)
    assert not pattern.matches(workflow_id + "a")
    assert pattern == Pattern(pattern.text) != Pattern("*")
    assert len({pattern, Pattern(pattern.text), Pattern("*")}) == 2
    assert repr(pattern) == f"Pattern({pattern.text!r})"


def test_ids_that_fit_begin_with_the_prefix() -> None:
    prefixes = {text: Pattern(text).prefix for text in ("*", "a*", "a*b*", r"a\*b*", "a")}
    assert prefixes == {"*": "", "a*": "a", "a*b*": "a", r"a\*b*": "a*b", "a": "a"}
