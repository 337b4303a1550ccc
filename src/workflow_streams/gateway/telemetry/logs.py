"""Structured logs, with secrets masked."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, TextIO
from urllib.parse import parse_qsl, quote

MASK = "***"

_SHOWN_PARAMETERS = frozenset(
    {"cursor", "include", "limit", "live", "offset", "page", "pageSize", "state", "topic"}
)
# Tokens in headers and URLs, and JWTs anywhere.
_SECRETS = re.compile(
    r"(?P<before>\bauthorization[\"']?\s*[:=,]\s*(?:b?[\"'])?(?:(?:bearer|basic)\s+)?"
    r"|\b(?:bearer|basic)\s+"
    r"|[?&;]access=)[^\s&\"',;]+"
    r"|\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*",
    re.IGNORECASE,
)
# Characters that end a line for some readers, or that control a terminal.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


def masked(text: str) -> str:
    """Return ``text`` with everything masked that looks like a token."""
    return _SECRETS.sub(lambda found: (found["before"] or "") + MASK, text)


def masked_query(query: bytes) -> str:
    """Return a query string that shows only the values of parameters known to be harmless."""
    shown = []
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        kept = quote(value, safe="*") if name in _SHOWN_PARAMETERS else MASK
        shown.append(f"{quote(name)}={kept}")
    return "&".join(shown)


def _without_secrets(value: object) -> object:
    """Return ``value`` in a form that JSON can express, with all text masked."""
    if isinstance(value, Mapping):
        return {masked(str(key)): _without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return masked(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, Any] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= _extras(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(_without_secrets(entry))


class TextFormatter(logging.Formatter):
    """One line for people: time, level, message, and the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        extras = "".join(f" {name}={value}" for name, value in _extras(record).items())
        line = f"{_time_of(record)} {record.levelname:<7} {record.getMessage()}{extras}"
        line = _BREAKS.sub(lambda found: ascii(found[0])[1:-1], line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return masked(line)


class UvicornAccessFilter(logging.Filter):
    """Masks queries in uvicorn's own access log, which would show each URL in full."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the URL in the record, and let the record pass."""
        arguments = record.args
        if isinstance(arguments, tuple) and len(arguments) > 2 and isinstance(arguments[2], str):
            path, mark, query = arguments[2].partition("?")
            url = path + mark + masked_query(query.encode("latin-1", "replace"))
            record.args = (*arguments[:2], url, *arguments[3:])
        return True


class UnfinishedFilter(logging.Filter):
    """Drops uvicorn's messages about answers that the gateway left unfinished.

    Leaving an answer unfinished is the only way to give up on a client that reads nothing. It is
    not an error, and the metrics count it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is about something else, and so passes."""
        return record.msg != "ASGI callable returned without completing response."


def mask_server_logs() -> None:
    """Keep signed URLs out of uvicorn's access log, in case the server writes one."""
    _filter_once("uvicorn.access", UvicornAccessFilter)


def accept_unfinished_answers() -> None:
    """Silence uvicorn about unfinished answers, if it serves nothing but the gateway."""
    _filter_once("uvicorn.error", UnfinishedFilter)


def configure_logging(
    *,
    level: str = "INFO",
    style: Literal["json", "text"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Send all logs of this process to a stream, in one style; for a process that is a gateway.

    Start uvicorn with ``log_config=None`` and ``access_log=False`` then, since the gateway writes a
    line of its own for each request.

    Args:
        level: The lowest level that is shown, such as ``"DEBUG"``.
        style: JSON for machines, text for people.
        stream: Where the logs go; standard error by default.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    mask_server_logs()


def _filter_once(name: str, kind: type[logging.Filter]) -> None:
    logger = logging.getLogger(name)
    if not any(isinstance(known, kind) for known in logger.filters):
        logger.addFilter(kind())


def _extras(record: logging.LogRecord) -> dict[str, object]:
    fields = record.__dict__.items()
    return {k: v for k, v in fields if k not in _STANDARD and not k.startswith("_")}


def _time_of(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03}Z"
