"""Hub: publisher and subscriber apart, and a host that rolls over by itself."""

from __future__ import annotations

import re

import pytest

from .conftest import Start

HEADLINES = [
    "rates held",
    "merger announced",
    "outage resolved",
    "earnings beat",
    "regulator opens probe",
]


@pytest.mark.usefixtures("worker")
def test_hub_passes_on_all_news_and_closes(start: Start) -> None:
    lines = start("run_external_publisher.py").finish()

    publisher = [line for line in lines if line.startswith("[publisher] ")]
    assert publisher == [
        *(f"[publisher] sent: {headline}" for headline in HEADLINES),
        "[publisher] signaled close",
    ]
    subscriber = [line for line in lines if line.startswith("[subscriber] ")]
    assert subscriber == [
        f"[subscriber] offset={n}: {headline}" for n, headline in enumerate(HEADLINES)
    ]
    for sent, received in zip(publisher, subscriber, strict=False):
        assert lines.index(sent) < lines.index(received)
    assert len(lines) == len(publisher) + len(subscriber) + 1
    assert re.fullmatch(r"workflow result: hub workflow-stream-hub-[0-9a-f]{8} closed", lines[-1])
