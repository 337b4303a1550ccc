"""Settings that say who may use the gateway."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UsageError
from ..environment import text_in, values_in
from .grants import Check
from .secrets import Secret

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)

MIN_SECRET_BYTES = 32
"""The length of HMAC-SHA256's output, as RFC 7518, section 3.2 requires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuritySettings:
    """Who may use the gateway, and from where.

    Without any of ``jwt_secret``, ``jwt_public_key``, ``jwks_file`` and ``check`` there is no
    login: the gateway then serves this machine only, unless ``allow_anonymous``.

    Attributes:
        allow_anonymous: Serve anybody who can reach the gateway, with no login at all.
        jwt_secret: Shared secret of bearer tokens signed with HS256; at least 32 bytes.
        jwt_public_key: Public key, in PEM, of bearer tokens signed with RS256 or ES256, as the
            key's kind says.
        jwks_file: File with public keys (RFC 7517) of such tokens; read again when it changes.
        jwt_audience: What a token's ``aud`` must name. Without this setting, tokens with ``aud``
            are refused, since they are meant for somebody else.
        jwt_issuer: What a token's ``iss`` must be; None for any.
        jwt_claim: The claim that holds the rules.
        leeway_seconds: By how much the clocks of issuer and gateway may differ.
        max_token_bytes: Longer tokens are refused without being read.
        url_signing_keys: Secrets of signed URLs, each at least 32 bytes: the first signs, all
            verify. Without one, a key is created when the process starts, and signed URLs are
            valid for this process only.
        signed_url_seconds: How long a signed URL is valid if its maker names no time.
        max_signed_url_seconds: How long it may be valid at most.
        check: The user's own check; see :data:`Check`.
        check_headers: Header fields by which the check tells users apart. They keep a browser's
            cache from giving what one user has read to the next.
        allowed_hosts: Host names by which a gateway without login may be called, in addition to
            those of the loopback. Any other ``Host`` is refused, against DNS rebinding.
        cors_origins: Origins (``https://app.example.com``) whose pages may use the gateway;
            ``*`` for all.
        cors_credentials: Let those pages send cookies; not together with ``*``.
        frame_ancestors: Origins whose pages may show the viewer in a frame.
    """

    allow_anonymous: bool = False
    jwt_secret: Secret | None = None
    jwt_public_key: str | None = field(default=None, repr=False)
    jwks_file: Path | None = None
    jwt_audience: str | None = None
    jwt_issuer: str | None = None
    jwt_claim: str = "streams"
    leeway_seconds: float = 10.0
    max_token_bytes: int = 8192
    url_signing_keys: tuple[Secret, ...] = ()
    signed_url_seconds: float = 300.0
    max_signed_url_seconds: float = 3600.0
    check: Check | None = None
    check_headers: tuple[str, ...] = ("Cookie",)
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    cors_credentials: bool = False
    frame_ancestors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse settings that would be unsafe, or that contradict each other.

        Raises:
            UsageError: It says which setting is wrong, and why.
        """
        if self.allow_anonymous and self.requires_login:
            raise UsageError("allow_anonymous and a login (token keys or check) exclude each other")
        for name, secret in [
            ("jwt_secret", self.jwt_secret),
            *(("url_signing_keys", key) for key in self.url_signing_keys),
        ]:
            if secret is not None and len(secret) < MIN_SECRET_BYTES:
                raise UsageError(f"{name}: a secret has at least {MIN_SECRET_BYTES} bytes")
        if self.jwt_secret is not None and self.jwt_secret in self.url_signing_keys:
            raise UsageError("jwt_secret and url_signing_keys must differ: one key, one purpose")
        if not 0 <= self.leeway_seconds < math.inf or self.max_token_bytes <= 0:
            raise UsageError("leeway_seconds is at least 0, max_token_bytes more")
        if not 0 < self.signed_url_seconds <= self.max_signed_url_seconds < math.inf:
            raise UsageError("signed_url_seconds is over 0 and at most max_signed_url_seconds")
        if any(_FIELD_NAME.fullmatch(name) is None for name in self.check_headers):
            raise UsageError("check_headers are names of header fields")
        if self.cors_credentials and "*" in self.cors_origins:
            raise UsageError("cors_credentials needs the origins by name, not '*'")

    @property
    def has_token_keys(self) -> bool:
        """Whether bearer tokens are required."""
        keys = (self.jwt_secret, self.jwt_public_key, self.jwks_file)
        return any(key is not None for key in keys)

    @property
    def requires_login(self) -> bool:
        """Whether a request needs credentials, or is decided by the user's own check."""
        return self.has_token_keys or self.check is not None

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] = os.environ, *, check: Check | None = None
    ) -> SecuritySettings:
        """Read settings from environment variables; none of them is required.

        A variable's name is ``WORKFLOW_STREAMS_`` and the setting's name. Lists are written with
        commas, switches as ``true`` or ``false``. Keys are read from the files that these variables
        name: ``..._JWT_SECRET_FILE``, ``..._JWT_PUBLIC_KEY_FILE``, ``..._JWKS_FILE``,
        ``..._URL_SIGNING_KEY_FILE``. Secrets may also be given in ``..._JWT_SECRET`` and
        ``..._URL_SIGNING_KEY``.

        Raises:
            UsageError: The settings are unsafe or contradict each other.
            OSError: A file cannot be read.
        """

        def get(name: str) -> str | None:
            return text_in(environ, name)

        public_key_file, jwks_file = get("jwt_public_key_file"), get("jwks_file")
        signing_key = _secret(get("url_signing_key"), get("url_signing_key_file"))
        return cls(
            **values_in(environ, cls, omit=("jwt_public_key", "check_headers")),
            jwt_secret=_secret(get("jwt_secret"), get("jwt_secret_file")),
            jwt_public_key=Path(public_key_file).read_text() if public_key_file else None,
            jwks_file=Path(jwks_file) if jwks_file else None,
            url_signing_keys=() if signing_key is None else (signing_key,),
            check=check,
        )


def _secret(value: str | None, path: str | None) -> Secret | None:
    if value and path:
        raise UsageError("a secret is given both by itself and as a file; give one")
    if path:
        return Secret.from_file(path)
    return Secret(value) if value else None
