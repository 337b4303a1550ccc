"""Keeps a gateway without login to this machine: where it listens, and which requests it takes."""

from __future__ import annotations

import ipaddress
import socket

from starlette.requests import HTTPConnection

from ...errors import UsageError
from ..refusals import LocalOnlyError
from ..requests.forwarding import forwarded_by
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
        host: The address or name that the server is about to bind; empty for all addresses.
        settings: Say whether there is a login.

    Raises:
        InsecureListenError: There is neither a login nor ``allow_anonymous``, and some address of
            ``host`` is not a loopback address.
    """
    if settings.requires_login or settings.allow_anonymous or _resolves_to_loopback(host):
        return
    raise InsecureListenError(host)


def check_local(request: HTTPConnection, settings: SecuritySettings) -> None:
    """Refuse a request that does not come from this machine, or does not use one of its own names.

    This is for gateways without login. A mounted gateway does not know where its server listens, so
    both ends of the connection are checked. ``Host`` is checked because a web page's own name may
    resolve to 127.0.0.1 (DNS rebinding), so that its requests look local. And a request that shows
    signs of a proxy is refused, since a proxy on this machine forwards what others send.

    Raises:
        LocalOnlyError: An end of the connection is another machine, the host name is not a local
            one, or a proxy has forwarded the request.
    """
    for end in (request.scope.get("client"), request.scope.get("server")):
        # For a Unix socket there is no client, and the server has no port.
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
    """Return the name in a ``Host`` header, in lower case, without port and brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def is_loopback(address: str) -> bool:
    """Whether this is a numeric loopback address; false for anything else."""
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
