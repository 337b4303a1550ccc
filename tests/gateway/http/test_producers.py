"""What a producer is told whose earlier batches the stream does not know."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from .test_writes import TEXT


def producing(epoch: int, number: int) -> dict[str, str]:
    return {
        **TEXT,
        "producer-id": "p",
        "producer-epoch": str(epoch),
        "producer-seq": str(number),
    }


async def test_a_producer_that_may_have_been_forgotten_is_told_so_and_how_to_go_on(
    http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    assert (await http.put(url, headers=TEXT)).status_code == 201
    forgotten = await http.post(url, headers=producing(0, 2), content="a")
    assert (forgotten.status_code, forgotten.headers["producer-expected-seq"]) == (409, "0")
    assert "has forgotten the producer" in forgotten.json()["detail"]
    assert "new epoch" in forgotten.json()["detail"]
    assert (await http.post(url, headers=producing(1, 0), content="b")).status_code == 200
    missing = await http.post(url, headers=producing(1, 2), content="c")
    assert (missing.status_code, missing.headers["producer-expected-seq"]) == (409, "1")
    assert "missing" in missing.json()["detail"]
    assert "forgotten" not in missing.json()["detail"]
    assert (await http.get(url)).text == "b"
