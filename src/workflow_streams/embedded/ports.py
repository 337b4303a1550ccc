"""Ports of the loopback interface."""

from __future__ import annotations

import socket

from .errors import ServerStartError

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port that is not in use at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def require_free(port: int) -> None:
    """Raise :class:`ServerStartError` if the port is in use.

    It may well be used by another Temporal server, which would be mistaken for the one that is
    being started.
    """
    with socket.socket() as probe:
        # The server sets this as well, since connections of an earlier server may still be closing.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as err:
            raise ServerStartError(
                f"Port {port} of {HOST} cannot be used ({err.strerror}). Stop what uses it or "
                "choose another; to use a server that runs there, set TEMPORAL_ADDRESS."
            ) from err
