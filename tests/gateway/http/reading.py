"""Reads a JSON stream with the protocol's Python client and prints each batch as a line.

Arguments: URL, offset, and the live mode of the client ("long-poll" or "sse"). The client does
not know of closed streams, nor does it reconnect event streams; so this goes on until the
stream's tail is closed.
"""

from __future__ import annotations

import json
import sys

import httpx
from durable_streams import stream


def main(url: str, offset: str, live: str) -> None:
    while True:
        with stream(url, offset=offset, live=live) as response:  # type: ignore[arg-type]
            for event in response.iter_events(mode="json"):
                items = event.data if isinstance(event.data, list) else [event.data]
                print(json.dumps({"items": items, "offset": event.next_offset}), flush=True)
                offset = event.next_offset
                if live == "long-poll" and is_over(url, offset):
                    return
        if is_over(url, offset):
            return


def is_over(url: str, offset: str) -> bool:
    headers = httpx.head(url).headers
    return "stream-closed" in headers and headers["stream-next-offset"] == offset


if __name__ == "__main__":
    main(*sys.argv[1:])
