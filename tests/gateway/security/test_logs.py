"""Logs are one line each, and no token ever stands in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.gateway.telemetry.logs import (
    JsonFormatter,
    TextFormatter,
    UvicornAccessFilter,
    configure_logging,
    mask_server_logs,
    masked,
    masked_query,
)

from .issuing import token
from .layered import Layered
from .wire import exchange, get, serving

TOKEN = token(exp=4_000_000_000)


def record(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "x.y", "levelname": "INFO", "msg": message, "args": args, "created": 0.25}
    )
    made.msecs = 250.0
    made.__dict__.update(extra)
    return made


def test_a_line_of_json_has_time_level_logger_message_and_extras() -> None:
    line = JsonFormatter().format(record("Read %d of %s", 3, "a", request_id="r-1", seconds=0.5))
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "x.y",
        "message": "Read 3 of a",
        "request_id": "r-1",
        "seconds": 0.5,
    }


def test_a_line_of_text_has_the_same() -> None:
    line = TextFormatter().format(record("Read %d", 3, request_id="r-1"))
    assert line == "1970-01-01T00:00:00.250Z INFO    Read 3 request_id=r-1"


def failed(words: str) -> logging.LogRecord:
    try:
        raise ValueError(words)
    except ValueError as err:
        made = record("It failed")
        made.exc_info = (type(err), err, err.__traceback__)
        return made


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}",
        "authorization: Bearer s3cret",
        "authorization: basic s3cret",
        "AUTHORIZATION=s3cret",
        "(b'authorization', b'Bearer s3cret')",
        "{'authorization': 'Bearer s3cret'}",
        '{"Authorization": "s3cret"}',
        "bearer s3cret",
        "/v1/stream/a?access=s3cret",
        "https://h/v1/stream/a?live=sse&access=s3cret&offset=-1",
    ],
)
def test_a_token_shows_nowhere_in_a_line(formatter: logging.Formatter, text: str) -> None:
    lines = [
        formatter.format(record(f"It said {text} and more")),
        formatter.format(record("It said %s", text)),
        formatter.format(record("x", url=text, nested={text: [text, {"a": text}]})),
        formatter.format(failed(f"not {text} here")),
    ]
    for line in lines:
        assert "s3cret" not in line
        assert TOKEN not in line
        assert TOKEN.split(".")[1] not in line
        assert "***" in line
    assert "and more" in lines[0]


@given(st.text(max_size=60), st.text(max_size=20) | st.binary(max_size=20) | st.floats())
def test_whatever_is_said_a_line_of_json_is_one_line_of_json(message: str, extra: Any) -> None:
    for text in (message, f"Bearer {message}", f'"?access={message}"'):
        line = JsonFormatter().format(record("%s", text, extra=extra, nested=[{"a": (extra,)}]))
        assert "\n" not in line
        assert json.loads(line)["logger"] == "x.y"


@given(st.text(max_size=60))
def test_nobody_can_begin_a_new_line_in_the_text(message: str) -> None:
    line = TextFormatter().format(record("%s", message, path=message))
    assert len(line.splitlines()) == 1


@given(st.text("abc=&?; %+.é", max_size=40))
def test_masking_leaves_what_is_no_token(text: str) -> None:
    assert masked(text) == text


def test_of_a_query_only_known_harmless_values_show() -> None:
    shown = masked_query(b"offset=-1&live=sse&topic=a%26b&topic=%E4&access=s3cret&Token=t&x")
    assert shown == "offset=-1&live=sse&topic=a%26b&topic=%EF%BF%BD&access=***&Token=***&x=***"


@given(st.binary(max_size=60))
def test_whatever_the_query_nothing_of_it_breaks_a_line(query: bytes) -> None:
    shown = masked_query(query)
    assert shown.isascii()
    assert shown.isprintable()
    assert masked_query(b"access=" + quote(query).encode()) == "access=***"


@pytest.fixture
def uvicorn_access() -> Iterator[logging.Logger]:
    logger = logging.getLogger("uvicorn.access")
    before = logger.filters[:], logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.filters[:], logger.handlers[:], level, logger.propagate = before
    logger.setLevel(level)


async def test_uvicorns_own_access_log_does_not_show_a_signed_url(
    uvicorn_access: logging.Logger,
) -> None:
    uvicorn_access.filters.clear()
    mask_server_logs()
    mask_server_logs()
    assert [type(f) for f in uvicorn_access.filters] == [UvicornAccessFilter]
    written = io.StringIO()
    layered = Layered()
    for http in ("h11", "httptools"):
        # As a user's own server is set up: uvicorn's log, set up by uvicorn itself.
        config: dict[str, Any] = {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"x": {"()": "uvicorn.logging.AccessFormatter", "fmt": "%(message)s"}},
            "handlers": {"x": {"class": "logging.StreamHandler", "formatter": "x",
                               "stream": written}},
            "loggers": {"uvicorn.access": {"handlers": ["x"], "level": "INFO"}},
        }  # fmt: skip
        async with serving(layered.app, log_config=config, access_log=True, http=http) as port:
            await exchange(port, get("/items/a?live=sse&access=s3cret"))
    assert written.getvalue().count("GET /items/a?live=sse&access=***") == 2
    assert "s3cret" not in written.getvalue()


@pytest.fixture
def root_logging() -> Iterator[None]:
    names = [None, "uvicorn", "uvicorn.error", "uvicorn.access"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(g, g.handlers[:], g.level, g.propagate, g.filters[:]) for g in loggers]
    yield
    for logger, handlers, level, propagate, filters in before:
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.propagate = propagate
        logger.setLevel(level)


async def test_configured_logs_tell_of_requests_in_json(root_logging: None) -> None:
    written = io.StringIO()
    configure_logging(stream=written)
    async with serving(Layered().app) as port:
        await exchange(port, get("/items/a?access=s3cret", "x-request-id: request-1"))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    [line] = [line for line in lines if line["logger"] == "workflow_streams.gateway.access"]
    assert line["message"] == "GET /items/{name} 200"
    assert (line["request_id"], line["query"]) == ("request-1", "access=***")
    assert {line["logger"] for line in lines} == {
        "workflow_streams.gateway.access",
        "uvicorn.error",
    }


async def test_configured_logs_for_people_show_what_is_asked_for(root_logging: None) -> None:
    written = io.StringIO()
    configure_logging(level="WARNING", style="text", stream=written)
    async with serving(Layered().app) as port:
        await exchange(port, get("/items/a"))
        assert written.getvalue() == ""
        await exchange(port, get("/fault"))
    assert " ERROR   A request failed request_id=" in written.getvalue()
    assert "RuntimeError: the database" in written.getvalue()
