"""What a stream's content type says. Pure."""

from __future__ import annotations

JSON_TYPE = "application/json"


def media_type(content_type: str) -> str:
    """Return type and subtype in lower case, without parameters."""
    return content_type.partition(";")[0].strip().lower()
