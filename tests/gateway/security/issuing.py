"""Keys and tokens as an issuer would make them, and as a forger would."""

from __future__ import annotations

import base64
import functools
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

SECRET = "a shared secret of more than 32 bytes"
READ_ALL = [{"ids": ["*"], "actions": ["read"]}]
DO_ALL = [{"ids": ["*"], "actions": ["read", "write", "cancel", "metrics"]}]


@functools.cache
def rsa_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same name."""
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(name: str = "first") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: PrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem_of(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk_of(key: PrivateKey, **more: Any) -> dict[str, Any]:
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True), **more}
    return {**jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True), **more}


def claims(**more: Any) -> dict[str, Any]:
    """What a good token says, for a minute; a value of None leaves a claim out."""
    all_claims = {"sub": "ann", "exp": int(time.time()) + 60, "streams": READ_ALL, **more}
    return {name: value for name, value in all_claims.items() if value is not None}


def token(
    key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **more: Any
) -> str:
    # Not by jwt.encode, which would refuse the odder claims.
    return jwt.PyJWS().encode(json.dumps(claims(**more)).encode(), key, algorithm, headers=headers)


def part(content: object) -> str:
    """One part of a token: an object as JSON, or bytes as they are."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw_token(header: object, payload: object, signature: bytes = b"") -> str:
    return f"{part(header)}.{part(payload)}.{part(signature)}"
