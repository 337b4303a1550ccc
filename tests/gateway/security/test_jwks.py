"""A JWK set in a file: which keys are taken, and that a renewed file counts at once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from workflow_streams.errors import UsageError
from workflow_streams.gateway.refusals import InvalidCredentialsError
from workflow_streams.gateway.security import SecuritySettings
from workflow_streams.gateway.security.credentials.tokens import TokenVerifier

from .issuing import SECRET, ec_key, jwk_of, private_pem_of, rsa_key, token


def write(path: Path, *keys: Any) -> None:
    """As careful writers do it: beside, and then in place of it."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"keys": keys}))
    beside.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jwks.json"


def verifier(path: Path) -> TokenVerifier:
    return TokenVerifier.from_settings(SecuritySettings(jwks_file=path))


def holds(keys: TokenVerifier, key: Any, algorithm: str, kid: str | None = None) -> bool:
    try:
        keys.verify(token(key, algorithm, headers={"kid": kid} if kid else None))
    except InvalidCredentialsError:
        return False
    return True


def test_a_token_is_verified_by_the_key_that_it_names(path: Path) -> None:
    write(path, jwk_of(rsa_key("a"), kid="a"), jwk_of(rsa_key("b"), kid="b"),
          jwk_of(ec_key("c"), kid="c"))  # fmt: skip
    keys = verifier(path)
    assert holds(keys, rsa_key("a"), "RS256", "a")
    assert holds(keys, rsa_key("b"), "RS256", "b")
    assert holds(keys, ec_key("c"), "ES256", "c")
    assert holds(keys, rsa_key("b"), "RS256")  # names none
    assert not holds(keys, rsa_key("b"), "RS256", "a")
    assert not holds(keys, rsa_key("b"), "RS256", "c")
    assert not holds(keys, rsa_key("a"), "RS256", "z")


def test_a_key_without_a_name_is_for_any_token(path: Path) -> None:
    write(path, jwk_of(rsa_key()))
    assert holds(verifier(path), rsa_key(), "RS256", "whatever")


def test_a_renewed_file_counts_from_the_next_token_on(path: Path) -> None:
    write(path, jwk_of(rsa_key("old"), kid="old"))
    keys = verifier(path)
    write(path, jwk_of(rsa_key("old"), kid="old"), jwk_of(rsa_key("new"), kid="new"))
    assert holds(keys, rsa_key("new"), "RS256", "new")
    write(path, jwk_of(rsa_key("new"), kid="new"))
    assert not holds(keys, rsa_key("old"), "RS256", "old")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}", b'{"keys": []}', b"[" * 100_000, None])
def test_a_broken_or_missing_file_leaves_the_keys_and_is_told_once(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, jwk_of(rsa_key()))
    keys = verifier(path)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert [holds(keys, rsa_key(), "RS256") for _ in range(3)] == [True] * 3
    assert [record.message[:26] for record in caplog.records] == ["The JWK set is kept as it "]
    write(path, jwk_of(rsa_key("next")))
    assert holds(keys, rsa_key("next"), "RS256")
    assert not holds(keys, rsa_key(), "RS256")


def other_uses() -> list[dict[str, Any]]:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key("private")))
    wide = ec.generate_private_key(ec.SECP384R1())
    return [
        jwk_of(rsa_key("encrypts"), use="enc"),
        jwk_of(rsa_key("other"), alg="RS512"),
        jwk_of(rsa_key("pss"), alg="PS256"),
        jwk_of(rsa_key("weak", 1024)),
        jwk_of(rsa_key("numbered"), kid=7),
        jwt.algorithms.ECAlgorithm.to_jwk(wide.public_key(), as_dict=True),
        jwt.algorithms.HMACAlgorithm.to_jwk(SECRET, as_dict=True),
        private,
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB", "e": "!"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "future"},
        {},
    ]


def test_keys_for_other_uses_are_passed_over(path: Path) -> None:
    write(path, *other_uses(), "x", None, jwk_of(ec_key()))
    keys = verifier(path)
    assert holds(keys, ec_key(), "ES256")
    for name in ("encrypts", "other", "pss", "numbered", "private"):
        assert not holds(keys, rsa_key(name), "RS256")
    assert not holds(keys, SECRET, "HS256")
    assert not holds(keys, rsa_key("pss"), "PS256")


def test_a_set_without_a_key_to_use_is_refused_at_the_start(path: Path) -> None:
    write(path, *other_uses())
    with pytest.raises(UsageError, match="no public key"):
        verifier(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "no list 'keys'"),
        (b'{"keys": {}}', "no list 'keys'"),
        (b"\xff\xfe", "jwks_file"),
        (b" " * 1_100_000, "over"),
        (None, "jwks_file"),
    ],
)
def test_what_is_no_set_is_refused_at_the_start(
    path: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        verifier(path)


def test_a_private_key_is_not_shown_by_the_refusal(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa_key("private")))
    write(path, private, jwk_of(ec_key()))
    verifier(path)
    assert "private key" in caplog.text
    assert private["d"] not in caplog.text
    path.write_text(private_pem_of(rsa_key()))
    with pytest.raises(UsageError) as caught:
        verifier(path)
    assert "PRIVATE" not in str(caught.value)
