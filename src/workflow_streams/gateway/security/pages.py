"""Tokens of a listing's pages, which reveal nothing.

Temporal's own page tokens contain the run id and start time of the last workflow on a page, which
may be one that the client must not see. And the server accepts whatever a token contains. So
clients get these tokens encrypted and authenticated (Fernet).
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..refusals.problems import InvalidRequestError
from .secrets import Secret
from .settings import MIN_SECRET_BYTES, SecuritySettings

_PURPOSE = b"workflow-streams page token"
# Without a login, everybody may see every stream. All gateways use this key then, so that they can
# read each other's tokens.
_NOTHING_TO_HIDE = Secret("no login")


class PageTokens:
    """Makes page tokens, and reads those that gateways with one of the same keys have made."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Encrypt with the first key; decrypt with any."""
        self._keys = MultiFernet([Fernet(_derived(key)) for key in keys])

    @classmethod
    def from_settings(cls, settings: SecuritySettings) -> PageTokens:
        """Use the secrets that the gateways of a service share.

        These are the keys of signed URLs, or otherwise the secret of bearer tokens. With a login
        but neither of these, the tokens are valid for this process only.
        """
        if settings.url_signing_keys:
            return cls(settings.url_signing_keys)
        if settings.jwt_secret is not None:
            return cls([settings.jwt_secret])
        if settings.requires_login:
            return cls([Secret(secrets.token_bytes(MIN_SECRET_BYTES))])
        return cls([_NOTHING_TO_HIDE])

    def seal(self, page: bytes) -> str:
        """Return a token that contains one of Temporal's."""
        return self._keys.encrypt(page).decode()

    def open(self, token: str) -> bytes:
        """Return Temporal's token that a token contains.

        Raises:
            InvalidRequestError: The token was not made with any of the keys.
        """
        try:
            return self._keys.decrypt(token)
        except (InvalidToken, ValueError):
            raise InvalidRequestError(
                "page is not one that this gateway gave out; begin again without it."
            ) from None


def _derived(key: Secret) -> bytes:
    """Derive a key that is used for this purpose only."""
    derived = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.reveal())
    return base64.urlsafe_b64encode(derived)
