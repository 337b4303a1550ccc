"""A real Temporal server on this machine, started and stopped from Python."""

from .binary import ServerBinaryNotFoundError, find_binary
from .server import EmbeddedServer, ServerStartError, server_or_environment

__all__ = [
    "EmbeddedServer",
    "ServerBinaryNotFoundError",
    "ServerStartError",
    "find_binary",
    "server_or_environment",
]
