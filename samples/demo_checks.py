"""What each scenario must have printed. A check returns what is wrong, or None."""

from __future__ import annotations

import re

ORDER = """\
[status] received: order=order-1
[progress] charging card...
[progress] card charged
[status] shipped: order=order-1
[progress] charge id: charge-order-1
[status] complete: order=order-1
workflow result: charge-order-1""".splitlines()

STAGES = ["validating", "loading data", "transforming", "writing output", "verifying", "complete"]

HEADLINES = [
    "rates held",
    "merger announced",
    "outage resolved",
    "earnings beat",
    "regulator opens probe",
]

TICKS = 30


def order(text: str) -> str | None:
    """Every line, in order."""
    if text.splitlines() != ORDER:
        return "the lines are not the expected ones"
    return None


def pipeline(text: str) -> str | None:
    """Every stage once and in order, and something pending while the reader was away."""
    if re.findall(r"offset=(\d+) stage=(.+)", text) != [(str(n), s) for n, s in enumerate(STAGES)]:
        return "the stages are not those of the pipeline, once each and in order"
    if all(int(pending) == 0 for pending in re.findall(r"pend=(\d+)", text)):
        return "nothing was pending during the disconnect"
    return None


def hub(text: str) -> str | None:
    """Everything sent, everything received, in order and to the end."""
    if re.findall(r"\[publisher\] sent: (.+)", text) != HEADLINES:
        return "the publisher did not send all the news"
    received = re.findall(r"\[subscriber\] offset=(\d+): (.+)", text)
    if received != [(str(n), headline) for n, headline in enumerate(HEADLINES)]:
        return "the subscriber did not receive the news, once each and in order"
    if "[publisher] signaled close" not in text or "workflow result: hub" not in text:
        return "the hub was not closed"
    return None


def ticker(text: str) -> str | None:
    """The fast lane has every tick; the slow lane's ticks and jumps add up to every tick."""
    ticks = list(range(TICKS))
    if [int(n) for n in re.findall(r"^offset=(\d+)", text, re.MULTILINE)] != ticks:
        return "the fast reader did not get every tick, once each and in order"
    told: list[int] = []
    jumps = 0
    for offset, start, end in re.findall(
        r"^ +(?:offset=(\d+)|↪ jumped offset=(\d+) → (\d+))", text, re.MULTILINE
    ):
        jumps += bool(start)
        told += range(int(start), int(end)) if start else [int(offset)]
    if told != ticks:
        return "the slow reader was not told of every tick, received or lost"
    if not jumps:
        return "the slow reader did not jump"
    return None


def llm(text: str) -> str | None:
    """A first attempt, taken back, and a second one that is the result."""
    header, _, rest = text.partition("\n")
    first, retried, rest = rest.partition("[retry attempt 2] resetting output\n")
    second, ended, rest = rest.partition("[workflow result: ")
    if "awaiting first token..." not in header or not first.strip():
        return "no first attempt was seen"
    if not retried:
        return "the first attempt was not taken back"
    result = re.match(r"(\d+) chars\]", rest)
    if not ended or result is None:
        return "there is no result"
    # Not to the character: tabs are shown as spaces.
    length = int(result[1])
    if abs(len(second.rstrip("\n")) - length) > 1 + length // 20:
        return f"the second attempt shows {len(second)} characters, the result has {length}"
    return None
