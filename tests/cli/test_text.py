"""What others wrote is shown on one line, and nothing of it is obeyed; input is cut into lines."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.cli.columns import Columns
from workflow_streams.cli.lines import Lines
from workflow_streams.cli.text import shown, shown_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.text())
def test_shown_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    result = shown(text)
    assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in result)
    assert not set(result) & set("\u2028\u2029\u202a\u202e\u2066\u2069\u200f")
    result.encode()


def test_shown_text_tells_what_was_there() -> None:
    assert shown("a\tb\r\n\x1b[0m\x9b \u202e\ud800 ü€🙂\\n") == (
        "a\\tb\\r\\n\\x1b[0m\\x9b \\u202e\\ud800 ü€🙂\\n"
    )


@given(VALUES, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_shown_json_is_the_same_json_on_one_line(
    value: object, ascii_only: bool, indent: int | str | None
) -> None:
    result = shown_json(json.dumps(value, ensure_ascii=ascii_only, indent=indent))
    assert json.loads(result) == value
    assert result == shown(result)


@given(st.lists(st.binary(max_size=8)), st.data())
def test_input_is_cut_into_the_same_lines_however_it_arrives(
    lines: list[bytes], data: st.DataObject
) -> None:
    clean = [line.replace(b"\n", b"").rstrip(b"\r") for line in lines]
    ends = [data.draw(st.sampled_from([b"\n", b"\r\n"])) for _ in clean]
    whole = b"".join(line + end for line, end in zip(clean, ends, strict=True))
    cutter, found = Lines(1000), []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        found += cutter.feed(whole[:size])
        whole = whole[size:]
    assert found + cutter.feed(b"") == clean


def test_the_last_line_needs_no_end_and_a_long_one_is_noticed() -> None:
    lines = Lines(4)
    assert lines.feed(b"a\nlong") == [b"a"]
    assert not lines.overlong
    assert lines.feed(b"er") == []
    assert lines.overlong
    assert lines.feed(b"") == [b"longer"]
    assert lines.feed(b"") == []


def test_columns_are_as_wide_as_what_stands_in_them_page_by_page() -> None:
    table = Columns("NAME", "N", "LAST", right=["N"])
    assert table.lines([["a", "10", ""], ["longer", "5", "x"]]) == (
        "NAME     N  LAST\na       10\nlonger   5  x\n"
    )
    assert table.lines([["b", "100", "y"]], head=False) == "b       100  y\n"
    assert Columns("A").lines([], style=lambda text, *styles: f"<{text} {styles}>") == (
        "<A ('bold',)>\n"
    )
