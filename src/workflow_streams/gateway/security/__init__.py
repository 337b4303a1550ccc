"""Who may do what: tokens, signed URLs, the user's own check, and this machine only."""

from __future__ import annotations

from .authority import Authority, authorize
from .claims import Action, Rule
from .credentials.signed_urls import sign_url
from .grants import Access, Check, Grant
from .local import InsecureListenError, check_listening
from .patterns import Pattern
from .secrets import Secret
from .settings import SecuritySettings

__all__ = [
    "Access",
    "Action",
    "Authority",
    "Check",
    "Grant",
    "InsecureListenError",
    "Pattern",
    "Rule",
    "Secret",
    "SecuritySettings",
    "authorize",
    "check_listening",
    "sign_url",
]
