"""This machine only: the address to listen on without login, and requests that come from here."""

from __future__ import annotations

import ipaddress
import socket

from starlette.requests import HTTPConnection

from ...errors import UsageError
from ..refusals import LocalOnlyError
from .forwarding import forwarded_by
from .settings import SecuritySettings

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class InsecureListenError(UsageError):
    """The gateway would be open to the network without login."""

    def __init__(self, host: str) -> None:
        """Record the address."""
        super().__init__(
            f"Refusing to listen on {host!r} without login: anybody who can reach it could read "
            "and write every stream. Set a token key (jwt_secret, jwt_public_key, jwks_file) or "
            "a check of your own, listen on 127.0.0.1, or say allow_anonymous "
            "(--allow-anonymous) if that is what you want."
        )
        self.host = host


def check_listening(host: str, settings: SecuritySettings) -> None:
    """Refuse to listen beyond this machine without login.

    Args:
        host: The address or name that the server is about to bind; empty for all.
        settings: What login there is.

    Raises:
        InsecureListenError: There is none, nor ``allow_anonymous``, and not all addresses of
            ``host`` are loopback ones.
    """
    if settings.requires_login or settings.allow_anonymous or _resolves_to_loopback(host):
        return
    raise InsecureListenError(host)


def check_local(request: HTTPConnection, settings: SecuritySettings) -> None:
    """Refuse a request that does not come from this machine, by one of its own names.

    For gateways without login. A mounted gateway does not know what its server listens on, so
    both ends of the connection are looked at. The ``Host`` is, because a web page can have its
    own name resolve to 127.0.0.1 (DNS rebinding) and then reads as if it were local. And a proxy
    on this machine passes on what comes from others, as far as it shows.

    Raises:
        LocalOnlyError: One of them is another, or a proxy passed the request on.
    """
    for end in (request.scope.get("client"), request.scope.get("server")):
        # A connection by a Unix socket has no client, and a server without a port.
        if end is not None and end[1] is not None and not is_loopback(end[0]):
            raise LocalOnlyError(
                "There is no login here, so other machines are not served.",
                cause_for_log=f"address {end[0]}",
            )
    if proxy := forwarded_by(request):
        raise LocalOnlyError(
            "There is no login here, so what a proxy passes on is not served.",
            cause_for_log=f"passed on by a proxy: {proxy}",
        )
    host = host_name(request.headers.get("host", ""))
    if host not in _LOOPBACK_NAMES and host not in settings.allowed_hosts:
        raise LocalOnlyError(
            "There is no login here, so this host name is not served.",
            cause_for_log="the Host is neither loopback nor among allowed_hosts",
        )


def host_name(host: str) -> str:
    """Return a ``Host`` header's name in lower case, without port and brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def is_loopback(address: str) -> bool:
    """Whether a numeric address is a loopback one; False for anything else."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _resolves_to_loopback(host: str) -> bool:
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(is_loopback(str(entry[4][0])) for entry in found)
