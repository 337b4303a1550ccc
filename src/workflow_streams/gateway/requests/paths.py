"""Reads from a request's path which workflow it is about, and whether to cancel it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from starlette.types import Scope

from ..refusals.problems import NoStreamError

STREAM_PATH = "/v1/stream/"
_CANCEL = "cancel"
_RESERVED = "__ds"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path under ``/v1/stream/`` names.

    Attributes:
        workflow_id: The workflow id, decoded.
        cancel: Whether the path ends with ``/cancel``. In an id that ends so itself, the slash
            is written as ``%2F``.
        reserved: Whether the path is reserved for the protocol's own use.
    """

    workflow_id: str
    cancel: bool = False
    reserved: bool = False


def parse_target(scope: Scope) -> Target:
    """Read the path as it was sent, since decoding makes ``/`` and ``%2F`` the same.

    Raises:
        NoStreamError: The path, as it was sent, does not begin with ``/v1/stream/``.
    """
    path = _below_mount(scope)
    if not path.startswith(STREAM_PATH):
        raise NoStreamError("There is nothing at this path.")
    return parse_path(path.removeprefix(STREAM_PATH))


def is_literal(scope: Scope) -> bool:
    """Whether a path is written without percent encoding, except in workflow ids.

    No client needs encoded paths such as ``/v1/stream%2Fpublic/v1/stream/secret`` or
    ``/%6Detrics``, and a proxy that lets only some paths pass may read them differently.
    """
    path = _below_mount(scope)
    return path.startswith(STREAM_PATH) or "%" not in path


def _below_mount(scope: Scope) -> str:
    """Return the path below the application's mount point, as it was sent."""
    raw, mount = raw_path(scope), scope.get("root_path", "")
    whole: str = scope["path"]
    if not mount or (whole != mount and not whole.startswith(mount + "/")):
        return raw
    # The mount point may be percent encoded in several ways, too.
    ends = (found.start() for found in re.finditer("/|$", raw))
    return next((raw[end:] for end in ends if unquote(raw[:end]) == mount), raw)


def raw_path(scope: Scope) -> str:
    """Return a request's path as it was sent."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.decode("latin-1").partition("?")[0]


def parse_path(path: str) -> Target:
    """Read the part of a path after ``/v1/stream/``, as it was sent."""
    if path.split("/", 1)[0] == _RESERVED:
        return Target(unquote(path), reserved=True)
    head, slash, tail = path.rpartition("/")
    if slash and tail == _CANCEL:
        return Target(unquote(head), cancel=True)
    return Target(unquote(path))


def path_of(workflow_id: str) -> str:
    """Return the path of a stream; slashes are encoded only where they would be misread."""
    path = quote(workflow_id, safe="/")
    if parse_path(path) != Target(workflow_id):
        path = quote(workflow_id, safe="").replace("__ds", "%5F%5Fds")
    return STREAM_PATH + path
