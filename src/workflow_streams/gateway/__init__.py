"""Streams over HTTP: the Durable Streams protocol in front of Temporal.

An ASGI application (:func:`create_app`) to be served by :func:`serve` or mounted into another.
"""

from .app import create_app
from .layers.limit_settings import LimitSettings
from .security import SecuritySettings
from .server import serve
from .settings import GatewaySettings

__all__ = ["GatewaySettings", "LimitSettings", "SecuritySettings", "create_app", "serve"]
