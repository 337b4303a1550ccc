"""Tokens of a listing's pages, which tell nothing.

Temporal's own hold run id and start time of the last workflow of a page, which may be one that the
client must not see. And the server takes whatever stands in one. So clients get them encrypted and
authenticated (Fernet).
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
# Where there is no login, everybody may see every stream, and all gateways are to know each
# other's tokens.
_NOTHING_TO_HIDE = Secret("no login")


class PageTokens:
    """Makes tokens of pages, and reads those that a gateway with one of the same keys has made."""

    def __init__(self, keys: Sequence[Secret]) -> None:
        """Encrypt with the first key; decrypt with any."""
        self._keys = MultiFernet([Fernet(_derived(key)) for key in keys])

    @classmethod
    def from_settings(cls, settings: SecuritySettings) -> PageTokens:
        """Take the secrets that the gateways of a service share.

        Those are the keys of signed URLs, or else the secret of bearer tokens. With neither, but
        with a login, the tokens hold with this process only.
        """
        if settings.url_signing_keys:
            return cls(settings.url_signing_keys)
        if settings.jwt_secret is not None:
            return cls([settings.jwt_secret])
        if settings.requires_login:
            return cls([Secret(secrets.token_bytes(MIN_SECRET_BYTES))])
        return cls([_NOTHING_TO_HIDE])

    def seal(self, page: bytes) -> str:
        """Return the token that stands for one of Temporal's."""
        return self._keys.encrypt(page).decode()

    def open(self, token: str) -> bytes:
        """Return what a token stands for.

        Raises:
            InvalidRequestError: It was not made with any of the keys.
        """
        try:
            return self._keys.decrypt(token)
        except (InvalidToken, ValueError):
            raise InvalidRequestError(
                "page is not one that this gateway gave out; begin again without it."
            ) from None


def _derived(key: Secret) -> bytes:
    """Return a key of its own for this purpose."""
    derived = HKDF(SHA256(), length=32, salt=None, info=_PURPOSE).derive(key.reveal())
    return base64.urlsafe_b64encode(derived)
