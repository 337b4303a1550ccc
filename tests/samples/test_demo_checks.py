"""What the demo takes for a success: each check passes what is right, and names what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import demo_checks as checks
import pytest

ORDER = "\n".join(checks.ORDER) + "\n"

PIPELINE = """\
proc=0 avail=1 pend=1         │ offset=0 stage=validating
proc=1 avail=2 pend=1         │ offset=1 stage=loading data
proc=2 avail=4 pend=2         ·
proc=2 avail=4 pend=2         │ offset=2 stage=transforming
proc=3 avail=4 pend=1         │ offset=3 stage=writing output
proc=4 avail=5 pend=1         │ offset=4 stage=verifying
proc=5 avail=6 pend=1         │ offset=5 stage=complete
workflow result: pipeline p done
"""

HUB = "".join(
    f"[publisher] sent: {headline}\n[subscriber] offset={n}: {headline}\n"
    for n, headline in enumerate(checks.HEADLINES)
) + ("[publisher] signaled close\nworkflow result: hub h closed\n")

LANE = " " * 32
TICKER = (
    "".join(f"offset={n} n={n}\n" for n in range(checks.TICKS))
    + f"{LANE}offset=0 n=0\n"
    + f"{LANE}↪ jumped offset=1 → 28 (27 dropped)\n"
    + "".join(f"{LANE}offset={n} n={n}\n" for n in range(28, checks.TICKS))
    + f"end of stream\n{LANE}end of stream\nworkflow result: ticker emitted 30 events\n"
)

LLM = """\
[llm workflow-stream-llm-1f0c9a3e] streaming response from m, awaiting first token...
Half of an
[retry attempt 2] resetting output
A whole answer.
[workflow result: 15 chars]
"""

GOOD = {"order": ORDER, "pipeline": PIPELINE, "hub": HUB, "ticker": TICKER, "llm": LLM}


def without(text: str, *lines: str) -> str:
    """Return a text without these lines, which are there."""
    kept = text.splitlines()
    for line in lines:
        kept.remove(line)
    return "\n".join(kept) + "\n"


def instead(text: str, line: str, *others: str) -> str:
    """Return a text with other lines in place of one."""
    assert text.count(line) == 1
    return text.replace(line, "\n".join(others))


def moved(text: str, line: str, before: str) -> str:
    """Return a text with a line moved up."""
    return instead(without(text, line), before, line, before)


BAD: list[tuple[str, str, str]] = [
    ("order", "", "the lines are not the expected ones"),
    ("order", without(ORDER, "[progress] card charged"), "the lines are not the expected ones"),
    (
        "order",
        ORDER + "[status] complete: order=order-1\n",
        "the lines are not the expected ones",
    ),
    (
        "order",
        moved(ORDER, "[progress] card charged", "[progress] charging card..."),
        "the lines are not the expected ones",
    ),
    ("pipeline", "", "the stages are not those of the pipeline, once each and in order"),
    (
        "pipeline",
        without(PIPELINE, "proc=2 avail=4 pend=2         │ offset=2 stage=transforming"),
        "the stages are not those of the pipeline, once each and in order",
    ),
    (
        "pipeline",
        instead(PIPELINE, "offset=3 stage=writing output", "offset=2 stage=transforming"),
        "the stages are not those of the pipeline, once each and in order",
    ),
    (
        "pipeline",
        PIPELINE.replace("pend=1", "pend=0").replace("pend=2", "pend=0"),
        "nothing was pending during the disconnect",
    ),
    ("hub", "", "the publisher did not send all the news"),
    (
        "hub",
        without(HUB, "[publisher] sent: earnings beat"),
        "the publisher did not send all the news",
    ),
    (
        "hub",
        without(HUB, "[subscriber] offset=2: outage resolved"),
        "the subscriber did not receive the news, once each and in order",
    ),
    (
        "hub",
        instead(
            HUB,
            "[subscriber] offset=2: outage resolved",
            "[subscriber] offset=2: outage resolved",
            "[subscriber] offset=2: outage resolved",
        ),
        "the subscriber did not receive the news, once each and in order",
    ),
    ("hub", without(HUB, "[publisher] signaled close"), "the hub was not closed"),
    ("hub", without(HUB, "workflow result: hub h closed"), "the hub was not closed"),
    ("ticker", "", "the fast reader did not get every tick, once each and in order"),
    (
        "ticker",
        without(TICKER, "offset=7 n=7"),
        "the fast reader did not get every tick, once each and in order",
    ),
    (
        "ticker",
        instead(TICKER, "jumped offset=1 → 28 (27 dropped)", "jumped offset=2 → 28 (26 dropped)"),
        "the slow reader was not told of every tick, received or lost",
    ),
    (
        "ticker",
        instead(TICKER, f"{LANE}offset=29 n=29", f"{LANE}offset=28 n=28"),
        "the slow reader was not told of every tick, received or lost",
    ),
    (
        "ticker",
        instead(
            TICKER,
            f"{LANE}↪ jumped offset=1 → 28 (27 dropped)",
            *(f"{LANE}offset={n} n={n}" for n in range(1, 28)),
        ),
        "the slow reader did not jump",
    ),
    ("llm", "", "no first attempt was seen"),
    (
        "llm",
        without(LLM, "Half of an"),
        "no first attempt was seen",
    ),
    (
        "llm",
        without(LLM, "[retry attempt 2] resetting output"),
        "the first attempt was not taken back",
    ),
    ("llm", without(LLM, "[workflow result: 15 chars]"), "there is no result"),
    (
        "llm",
        instead(LLM, "A whole answer.", "Half of an", "A whole answer."),
        "the second attempt shows 27 characters, the result has 15",
    ),
    (
        "llm",
        instead(LLM, "A whole answer.", "A whole"),
        "the second attempt shows 8 characters, the result has 15",
    ),
]


def check(name: str) -> Callable[[str], str | None]:
    found: Callable[[str], str | None] = getattr(checks, name)
    return found


@pytest.mark.parametrize("name", GOOD)
def test_a_right_transcript_passes(name: str) -> None:
    assert check(name)(GOOD[name]) is None


@pytest.mark.parametrize(("name", "text", "fault"), BAD)
def test_a_wrong_transcript_does_not_pass_and_says_why(name: str, text: str, fault: str) -> None:
    assert check(name)(text) == fault


@pytest.mark.parametrize("other", GOOD)
@pytest.mark.parametrize("name", GOOD)
def test_no_check_takes_another_scenario_for_its_own(name: str, other: str) -> None:
    assert (check(name)(GOOD[other]) is None) == (name == other)
