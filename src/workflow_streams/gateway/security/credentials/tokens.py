"""Bearer tokens: finds them in requests, verifies them, and reads their claims."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt

from ...refusals import AmbiguousCredentialsError, ExpiredCredentialsError, InvalidCredentialsError
from ..claims import Rule, parse_rules
from ..settings import SecuritySettings
from .keys import JwksFile, VerificationKey, public_key, shared_secret

# RFC 6750, section 2.1; a JWT has three parts of base64url.
_BEARER = re.compile(r"bearer +([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+) *", re.IGNORECASE)
_BEARER_SCHEME = re.compile(r"bearer( |$)", re.IGNORECASE)

_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)

SIGNED_URL_TYPE = "workflow-streams-url+jwt"
"""The ``typ`` of signed URLs' tokens, which are not bearer tokens (RFC 8725, section 3.11)."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says.

    Attributes:
        subject: Its ``sub``, or an empty string.
        expires_at: Unix time in seconds after which it is refused, including the leeway.
        rules: What it allows.
    """

    subject: str
    expires_at: float
    rules: tuple[Rule, ...]


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the token of the ``Authorization`` header; None without this header.

    Raises:
        AmbiguousCredentialsError: There are several such headers.
        InvalidCredentialsError: The header is not ``Bearer`` and a JWT.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise AmbiguousCredentialsError("There is more than one Authorization header.")
    text = values[0].decode("latin-1")
    found = _BEARER.fullmatch(text)
    if found is None:
        what = "not a JWT" if _BEARER_SCHEME.match(text) else "another scheme than Bearer"
        raise InvalidCredentialsError(cause_for_log=what)
    return found[1]


class TokenVerifier:
    """Verifies tokens with the keys that were set up, each for one algorithm.

    The algorithm in a token's header only selects among the keys for that algorithm. So a token
    cannot have a public key used as a shared secret, and ``none`` selects no key.
    """

    def __init__(
        self,
        keys: tuple[VerificationKey, ...] = (),
        *,
        jwks_file: JwksFile | None = None,
        claim: str,
        audience: str | None = None,
        issuer: str | None = None,
        leeway_seconds: float = 0,
        max_bytes: int = 8192,
        token_type: str | None = None,
    ) -> None:
        """Set the keys, and what a token must say; see :class:`SecuritySettings`.

        ``token_type`` is the ``typ`` that tokens must have. None accepts any except that of signed
        URLs.
        """
        self._fixed = keys
        self._jwks_file = jwks_file
        self._claim = claim
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds
        self._max_bytes = max_bytes
        self._type = token_type

    @classmethod
    def from_settings(cls, settings: SecuritySettings) -> TokenVerifier:
        """Load the keys of the settings.

        Raises:
            UsageError: A key cannot be used.
        """
        keys = []
        if settings.jwt_secret is not None:
            keys.append(shared_secret(settings.jwt_secret))
        if settings.jwt_public_key is not None:
            keys.append(public_key(settings.jwt_public_key))
        return cls(
            tuple(keys),
            jwks_file=None if settings.jwks_file is None else JwksFile(settings.jwks_file),
            claim=settings.jwt_claim,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            leeway_seconds=settings.leeway_seconds,
            max_bytes=settings.max_token_bytes,
        )

    def verify(self, token: str) -> Claims:
        """Return what the token says, if it is valid in every respect.

        Raises:
            ExpiredCredentialsError: The token was valid, but has expired.
            InvalidCredentialsError: Anything else is wrong with it.
        """
        if len(token) > self._max_bytes:
            raise InvalidCredentialsError(cause_for_log="over the limit of a token's length")
        # Until its signature has been checked, a token is JSON that anybody may have made. What
        # errors reading it raises differs between versions of the library.
        try:
            payload = self._decode(token)
            return Claims(
                subject=str(payload.get("sub", "")),
                expires_at=_expiry(payload["exp"]) + self._leeway,
                rules=parse_rules(payload.get(self._claim)),
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredCredentialsError from None
        except _UNREADABLE as err:
            raise InvalidCredentialsError(cause_for_log=f"{type(err).__name__}: {err}") from None

    def _decode(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        named_type = header.get("typ")
        if (named_type == SIGNED_URL_TYPE) != (self._type == SIGNED_URL_TYPE):
            raise jwt.InvalidTokenError("a token for another use")
        candidates = self._fixed + (self._jwks_file.keys() if self._jwks_file else ())
        fitting = [k for k in candidates if k.fits(header.get("alg"), header.get("kid"))]
        failure: jwt.PyJWTError = jwt.InvalidKeyError("no key for its algorithm and key id")
        for key in fitting:
            try:
                return jwt.decode(
                    token,
                    key.material(),
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=self._leeway,
                    options={"require": ["exp"], "enforce_minimum_key_length": True},
                )
            except jwt.InvalidSignatureError as err:
                failure = err
        raise failure


def _expiry(value: object) -> float:
    """Return ``exp``. PyJWT also accepts strings, which are not a NumericDate (RFC 7519)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("exp is not a number")
    return float(value)
