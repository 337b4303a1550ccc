"""Keys that verify tokens. Each is for one algorithm only, whatever a token's header says."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError
from jwt.algorithms import HMACAlgorithm

from ....errors import UsageError
from ..secrets import Secret

logger = logging.getLogger("workflow_streams.gateway")

Algorithm = Literal["HS256", "RS256", "ES256"]
MIN_RSA_BITS = 2048
MAX_JWKS_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the one algorithm that it is for.

    Attributes:
        algorithm: Tokens with another algorithm are not checked against this key.
        key: The public key, or the shared secret.
        key_id: The ``kid`` that a token must have, if it has one; None for a key without an id.
    """

    algorithm: Algorithm
    key: RSAPublicKey | EllipticCurvePublicKey | Secret = field(repr=False)
    key_id: str | None = None

    def material(self) -> RSAPublicKey | EllipticCurvePublicKey | bytes:
        """Return the key as PyJWT takes it."""
        return self.key.reveal() if isinstance(self.key, Secret) else self.key

    def fits(self, algorithm: object, key_id: object) -> bool:
        """Whether a token with this header may have been signed by the key's owner."""
        named = key_id is None or self.key_id is None or key_id == self.key_id
        return algorithm == self.algorithm and named


def shared_secret(secret: Secret) -> VerificationKey:
    """Make a key for HS256.

    Raises:
        UsageError: The secret is a public key, with which anybody could sign.
    """
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret.reveal())
    except PyJWTError as err:
        raise UsageError(f"jwt_secret: {err}") from None
    return VerificationKey("HS256", secret)


def public_key(pem: str) -> VerificationKey:
    """Read a public key in PEM: RSA keys are for RS256, keys on P-256 for ES256.

    Raises:
        UsageError: It is neither kind of key, or too weak.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UsageError(f"jwt_public_key: not a public key in PEM ({err})") from None
    return _bound(key, None)


def jwks(text: str) -> tuple[VerificationKey, ...]:
    """Read a JWK set. Keys of other kinds or for other uses are ignored, as RFC 7517 says.

    Raises:
        UsageError: It is not a JWK set, or has no key for RS256 or ES256.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise UsageError(f"jwks_file: not JSON ({err})") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UsageError("jwks_file: no list 'keys'")
    keys = tuple(key for entry in entries if (key := _from_jwk(entry)) is not None)
    if not keys:
        raise UsageError("jwks_file: no public key for RS256 or ES256")
    return keys


def _from_jwk(entry: object) -> VerificationKey | None:
    """Return the key; None for one that is not used here. Shared secrets do not belong here."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    kind = (entry.get("kty"), entry.get("crv"))
    algorithm = "RS256" if kind == ("RSA", None) else "ES256" if kind == ("EC", "P-256") else None
    key_id = entry.get("kid")
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if key_id is not None and not isinstance(key_id, str):
        return None
    if "d" in entry:
        logger.warning("A key of the JWK set is not used: it is a private key")
        return None
    try:
        return _bound(PyJWK(entry, algorithm).key, key_id)
    except (PyJWTError, UsageError, KeyError, ValueError) as err:
        logger.warning("A key of the JWK set is not used: %s", err)
        return None


def _bound(key: object, key_id: str | None) -> VerificationKey:
    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise UsageError(f"an RSA key has at least {MIN_RSA_BITS} bits, not {key.key_size}")
        return VerificationKey("RS256", key, key_id)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return VerificationKey("ES256", key, key_id)
    raise UsageError("a public key is RSA or on the curve P-256")


class JwksFile:
    """A JWK set in a file that others update."""

    def __init__(self, path: Path) -> None:
        """Read the file for the first time.

        Raises:
            UsageError: It cannot be read, or has no key that can be used.
        """
        self._path = path
        self._stamp = self._look()
        try:
            self._keys = jwks(self._read())
        except (OSError, UnicodeDecodeError) as err:
            raise UsageError(f"jwks_file: {err}") from err

    def keys(self) -> tuple[VerificationKey, ...]:
        """Return the keys; read them again if the file has changed.

        While the file is missing or broken, the keys stay as they were, and the log says so once.
        """
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._keys = jwks(self._read())
            except (OSError, UnicodeDecodeError, UsageError) as err:
                logger.warning("The JWK set is kept as it was: %s", err)
        return self._keys

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None  # reading the file will say why
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> str:
        with self._path.open("rb") as file:
            content = file.read(MAX_JWKS_BYTES + 1)
        if len(content) > MAX_JWKS_BYTES:
            raise UsageError(f"jwks_file: over {MAX_JWKS_BYTES:,} bytes")
        return content.decode()
