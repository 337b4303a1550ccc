"""A real Temporal server on this machine, started and stopped from Python."""

from .binary import find_binary
from .errors import ServerBinaryNotFoundError, ServerStartError
from .server import EmbeddedServer, server_or_environment

__all__ = [
    "EmbeddedServer",
    "ServerBinaryNotFoundError",
    "ServerStartError",
    "find_binary",
    "server_or_environment",
]
