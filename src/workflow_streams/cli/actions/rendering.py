"""Turns what a reader gets into lines of text or of JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from ...events import End, Gap, Rewind
from ...log.positions import position_at
from ...log.wire import Entry
from ...read.walk import Slice, Step
from ..output import TOPIC_STYLES
from ..text import shown, shown_json
from .executions import iso
from .payloads import Undecodable, members_of, text_of

Style: TypeAlias = Callable[..., str]
"""Styles a text, as ``Output.style`` does."""

_NARROWEST_TOPIC, _WIDEST_TOPIC = 8, 24


class AsText:
    """Lines for people: offset, topic, value. Lines that are not items begin with ``--``.

    Attributes:
        bytes_are_text: Whether the stream was made to hold text, so that bytes are shown as text.
    """

    def __init__(self, topics: Collection[str], style: Style, *, timestamps: bool = False) -> None:
        """Show these topics, or all if there are none given.

        Args:
            topics: Names of topics.
            style: Styles a text.
            timestamps: Whether to show when the server received each item.
        """
        self.bytes_are_text = False
        self._topics = frozenset(topics)
        self._style = style
        self._timestamps = timestamps
        self._styles: dict[str, str] = {}
        self._width = max((len(shown(topic)) for topic in topics), default=_NARROWEST_TOPIC)

    def render(self, step: Step) -> str:
        """Return the lines for one step."""
        match step:
            case Slice(offset, entries, time):
                self._widen(entries)
                return "".join(
                    self._item(offset + index, topic, time, kind, data)
                    for index, (topic, kind, data) in enumerate(entries)
                    if not self._topics or topic in self._topics
                )
            case Gap(start, end, reason):
                return self._mark(f"gap: {_offsets(range(start, end))} {reason}", "yellow")
            case Rewind():
                return self._mark(f"rewind: {_rewound(step)}", "yellow")
            case End(outcome, offset):
                why = f": {shown(causes(step.failure))}" if step.failure else ""
                good = "green" if outcome == "completed" else "red"
                return self._mark(f"end: {outcome}, head {offset}{why}", good)

    def _item(
        self, offset: int, topic: str, time: datetime | None, kind: bytes, data: bytes
    ) -> str:
        column = self._style(shown(topic).ljust(self._width), self._style_of(topic))
        stamp = f"{iso(time) if time else '-':<27}  " if self._timestamps else ""
        value = text_of(kind, data, bytes_are_text=self.bytes_are_text)
        if isinstance(value, Undecodable):
            value = self._style(f"!! undecodable: {shown(value.reason)}", "red")
        return f"{self._style(f'{stamp}{offset:>6}', 'dim')}  {column}  {value}\n"

    def _widen(self, entries: Sequence[Entry]) -> None:
        if not self._topics:
            widest = max((len(topic) for topic, _, _ in entries), default=0)
            self._width = max(self._width, min(widest, _WIDEST_TOPIC))

    def _style_of(self, topic: str) -> str:
        return self._styles.setdefault(topic, TOPIC_STYLES[len(self._styles) % len(TOPIC_STYLES)])

    def _mark(self, text: str, style: str) -> str:
        return self._style(f"-- {text}", style) + "\n"


class AsJson:
    """One JSON object per line; its ``type`` says what it is."""

    def __init__(self, topics: Collection[str]) -> None:
        """Show these topics, or all if there are none given."""
        self._topics = frozenset(topics)

    def render(self, step: Step) -> str:
        """Return the lines for one step."""
        match step:
            case Slice(offset, entries, time, tag):
                stamp = "" if time is None else f',"time":"{iso(time)}"'
                return "".join(
                    _item_line(offset + index, tag, topic, stamp, kind, data)
                    for index, (topic, kind, data) in enumerate(entries)
                    if not self._topics or topic in self._topics
                )
            case Gap(start, end, reason, position):
                return json_line(type="gap", start=start, end=end, reason=reason, position=position)
            case Rewind(ranges, reason, next_offset, activity_id, attempt, position):
                more = (
                    {} if activity_id is None else {"activity_id": activity_id, "attempt": attempt}
                )
                taken_back = [[r.start, r.stop] for r in ranges]
                return json_line(
                    type="rewind",
                    ranges=taken_back,
                    reason=reason,
                    next_offset=next_offset,
                    **more,
                    position=position,
                )
            case End(outcome, offset, run_id, failure, position):
                why = {} if failure is None else {"failure": failure_of(failure)}
                return json_line(
                    type="end",
                    outcome=outcome,
                    offset=offset,
                    run_id=run_id,
                    **why,
                    position=position,
                )


def failure_of(error: BaseException) -> dict[str, Any]:
    """Return a workflow's failure as a JSON object, with its causes."""
    told = {"type": getattr(error, "type", None) or type(error).__name__, "message": str(error)}
    return told if error.__cause__ is None else told | {"cause": failure_of(error.__cause__)}


def _item_line(offset: int, tag: str, topic: str, stamp: str, kind: bytes, data: bytes) -> str:
    members = members_of(kind, data)
    what = "item"
    if isinstance(members, Undecodable):
        what, members = "undecodable", f'{members.members},"error":{quoted(members.reason)}'
    head = f'"type":"{what}","offset":{offset},"topic":{quoted(topic)}{stamp}'
    return f'{{{head},{members},"position":"{position_at(offset + 1, tag)}"}}\n'


def quoted(text: str) -> str:
    """Return ``text`` as readable JSON, without characters that control a terminal."""
    return shown_json(json.dumps(text, ensure_ascii=False))


def json_line(**members: Any) -> str:
    """Return a line with a JSON object of these members."""
    return shown_json(json.dumps(members, ensure_ascii=False, separators=(",", ":"))) + "\n"


def _offsets(offsets: range) -> str:
    if len(offsets) == 1:
        return f"offset {offsets.start} (1 item)"
    return f"offsets {offsets.start} to {offsets.stop - 1} ({len(offsets)} items)"


def _rewound(rewind: Rewind) -> str:
    undone = "; ".join(map(_offsets, rewind.ranges)) or "nothing"
    if rewind.reason == "attempt":
        activity = shown(rewind.activity_id or "")
        return f"{undone} undone, attempt {rewind.attempt} of activity {activity} begins"
    if rewind.reason == "replaced":
        return f"{undone} undone, another workflow has this id now"
    return f"{undone} undone by {rewind.reason}, goes on at offset {rewind.next_offset}"


def causes(error: BaseException) -> str:
    """Return the text of a failure and its causes, the outermost first."""
    cause = f": {causes(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{error}{cause}"
