"""A token is taken if all of it holds, by a key that was set up for its algorithm."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workflow_streams.errors import UsageError
from workflow_streams.gateway.refusals import (
    AmbiguousCredentialsError,
    ExpiredCredentialsError,
    InvalidCredentialsError,
)
from workflow_streams.gateway.security import Secret, SecuritySettings
from workflow_streams.gateway.security.credentials.tokens import TokenVerifier, bearer_token

from . import issuing
from .issuing import SECRET, claims, ec_key, part, pem_of, raw_token, rsa_key, token


def verifier(**settings: Any) -> TokenVerifier:
    return TokenVerifier.from_settings(SecuritySettings(**settings))


def by_secret(**settings: Any) -> TokenVerifier:
    return verifier(jwt_secret=Secret(SECRET), **settings)


def refused(verifier: TokenVerifier, token: str) -> str:
    """Verify a token that must not hold; return what the log gets to know."""
    with pytest.raises(InvalidCredentialsError) as caught:
        verifier.verify(token)
    assert type(caught.value) is InvalidCredentialsError
    assert caught.value.detail == "The credentials are not valid here."
    return caught.value.cause_for_log


@pytest.mark.parametrize(
    ("settings", "key", "algorithm"),
    [
        ({"jwt_secret": Secret(SECRET)}, SECRET, "HS256"),
        ({"jwt_public_key": pem_of(rsa_key())}, rsa_key(), "RS256"),
        ({"jwt_public_key": pem_of(ec_key())}, ec_key(), "ES256"),
    ],
)
def test_a_token_of_each_kind_of_key_holds(
    settings: dict[str, Any], key: Any, algorithm: str
) -> None:
    expires = int(time.time()) + 60
    read = verifier(**settings).verify(token(key, algorithm, exp=expires))
    assert read.subject == "ann"
    assert read.expires_at == expires + 10  # the leeway
    assert [rule.actions for rule in read.rules] == [{"read"}]


def test_several_kinds_of_keys_hold_side_by_side() -> None:
    both = by_secret(jwt_public_key=pem_of(rsa_key()))
    assert both.verify(token()).subject == both.verify(token(rsa_key(), "RS256")).subject == "ann"
    assert "no key" in refused(both, token(ec_key(), "ES256"))
    assert "Signature" in refused(both, token(rsa_key("other"), "RS256"))


def test_a_token_signed_by_another_key_is_refused() -> None:
    assert "Signature" in refused(by_secret(), token("another secret of more than 32 bytes"))
    keys = verifier(jwt_public_key=pem_of(ec_key()))
    assert "Signature" in refused(keys, token(ec_key("other"), "ES256"))


def hmac_signed(header: dict[str, Any], key: bytes) -> str:
    signed = f"{part(header)}.{part(claims())}"
    return f"{signed}.{part(hmac.digest(key, signed.encode(), hashlib.sha256))}"


@pytest.mark.parametrize("key", [rsa_key(), ec_key()])
def test_a_public_key_is_not_a_shared_secret(key: issuing.PrivateKey) -> None:
    pem = pem_of(key)
    for spelling in (pem, pem.strip(), pem.replace("\n", "\r\n")):
        forged = hmac_signed({"alg": "HS256", "typ": "JWT"}, spelling.encode())
        assert "no key" in refused(verifier(jwt_public_key=pem), forged)
        # Nor with a secret beside it: the key of HS256 is the secret, whatever else there is.
        assert "Signature" in refused(by_secret(jwt_public_key=pem), forged)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 0, [], {}])
def test_a_token_without_signature_is_refused(algorithm: Any) -> None:
    for signature in (b"", b"x"):
        assert refused(by_secret(), raw_token({"alg": algorithm}, claims(), signature))
    assert refused(by_secret(), raw_token({}, claims()))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_the_algorithms_that_were_set_up_count(algorithm: str) -> None:
    key = SECRET * 2
    keys = verifier(jwt_secret=Secret(key))
    assert keys.verify(token(key)).subject == "ann"
    assert "no key" in refused(keys, token(key, algorithm))
    rsa = verifier(jwt_public_key=pem_of(rsa_key()))
    assert "no key" in refused(rsa, token(rsa_key(), "RS512"))
    assert "no key" in refused(rsa, token(rsa_key(), "PS256"))


def test_keys_that_the_token_brings_along_are_not_used() -> None:
    own = {"jwk": issuing.jwk_of(rsa_key("forger")), "jku": "http://127.0.0.1/", "x5u": "file:///"}
    forged = token(rsa_key("forger"), "RS256", headers=own)
    assert "Signature" in refused(verifier(jwt_public_key=pem_of(rsa_key())), forged)


def test_what_a_token_marks_critical_must_be_understood() -> None:
    assert refused(by_secret(), token(headers={"crit": ["x"], "x": 1}))


def test_a_signed_urls_token_is_no_bearer_token() -> None:
    typ = "workflow-streams-url+jwt"
    assert "another use" in refused(by_secret(), token(headers={"typ": typ}))


def test_an_expired_token_says_so_once_the_leeway_is_over() -> None:
    now = int(time.time())
    assert by_secret(leeway_seconds=60).verify(token(exp=now - 30)).expires_at == now + 30
    with pytest.raises(ExpiredCredentialsError):
        by_secret(leeway_seconds=60).verify(token(exp=now - 61))
    with pytest.raises(ExpiredCredentialsError):
        by_secret(leeway_seconds=0).verify(token(exp=now - 1))


def test_a_truth_value_is_no_expiry() -> None:
    with pytest.raises(InvalidCredentialsError):
        by_secret(leeway_seconds=10**10).verify(token(exp=True))


def test_that_a_forged_token_has_expired_is_not_told() -> None:
    assert refused(by_secret(), token("another secret of more than 32 bytes", exp=1))


@pytest.mark.parametrize(
    "payload",
    [
        {"exp": None},
        {"exp": "soon"},
        {"exp": "9999999999"},
        {"exp": [9999999999]},
        {"exp": {}},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": 9999999999},
        {"nbf": "x"},
        {"iat": 9999999999},
        {"sub": 7},
        {"sub": ["ann"]},
        {"aud": "somebody else"},
        {"streams": None},
        {"streams": "*"},
        {"streams": [{"ids": ["*"], "actions": ["everything"]}]},
    ],
)
def test_a_token_that_says_something_odd_is_refused(payload: dict[str, Any]) -> None:
    assert refused(by_secret(), token(**payload))


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"1", b'"a"', b"{", b"\xff", b"[" * 4000])
def test_a_signed_payload_that_is_no_object_is_refused(content: bytes) -> None:
    signed = f"{part({'alg': 'HS256'})}.{part(content)}"
    signature = hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256)
    assert refused(by_secret(), f"{signed}.{part(signature)}")


@pytest.mark.parametrize(
    ("settings", "payload"),
    [
        ({"jwt_audience": "streams"}, {"aud": None}),
        ({"jwt_audience": "streams"}, {"aud": "other"}),
        ({"jwt_audience": "streams"}, {"aud": "streamsx"}),
        ({"jwt_audience": "streams"}, {"aud": ["other"]}),
        ({"jwt_audience": "streams"}, {"aud": []}),
        ({"jwt_audience": "streams"}, {"aud": 7}),
        ({"jwt_issuer": "https://issuer"}, {"iss": None}),
        ({"jwt_issuer": "https://issuer"}, {"iss": "https://issuer/"}),
        ({"jwt_issuer": "https://issuer"}, {"iss": ["https://issuer"]}),
    ],
)
def test_a_token_for_or_from_somebody_else_is_refused(
    settings: dict[str, Any], payload: dict[str, Any]
) -> None:
    assert refused(by_secret(**settings), token(**payload))


def test_a_token_for_and_from_the_right_ones_holds() -> None:
    keys = by_secret(jwt_audience="streams", jwt_issuer="https://issuer")
    for audience in ("streams", ["other", "streams"]):
        assert keys.verify(token(aud=audience, iss="https://issuer")).subject == "ann"


def test_the_claims_name_can_be_set() -> None:
    keys = by_secret(jwt_claim="https://example.com/streams")
    assert keys.verify(token(streams=None, **{"https://example.com/streams": issuing.READ_ALL}))
    assert refused(keys, token())


def test_a_token_over_the_limit_is_not_even_read() -> None:
    long = token(padding="x" * 400)
    assert "length" in refused(by_secret(max_token_bytes=len(long) - 1), long)
    assert by_secret(max_token_bytes=len(long)).verify(long).subject == "ann"


KEYS = by_secret(jwt_public_key=pem_of(rsa_key()))
GOOD = token(exp=4_000_000_000)


@given(st.text(max_size=200) | st.text("eyJ.-_=AQ", max_size=60))
@example("..")
@example("eyJ9.." + "A" * 8)
def test_whatever_the_text_it_is_refused_in_the_same_words(text: str) -> None:
    refused(KEYS, text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "exp", "sub", "zip", "enc"])
objects = st.dictionaries(names, json_values, max_size=5)


@given(objects | json_values, objects | json_values, st.binary(max_size=40))
@example({"alg": "HS256", "b64": False, "crit": ["b64"]}, {}, b"")
@example({"alg": "HS256", "kid": 7}, {}, b"")
def test_whatever_an_unsigned_token_holds_it_is_refused(
    header: object, payload: object, signature: bytes
) -> None:
    refused(KEYS, raw_token(header, payload, signature))


@given(st.dictionaries(names | st.just("streams"), json_values, max_size=5))
def test_whatever_a_signed_token_says_it_holds_or_is_refused(payload: dict[str, Any]) -> None:
    signed = f"{part({'alg': 'HS256'})}.{part(payload)}"
    signature = hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256)
    try:
        KEYS.verify(f"{signed}.{part(signature)}")
    except InvalidCredentialsError:
        return
    assert payload["exp"] > time.time() - 10
    assert payload["streams"] == []


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("AZaz09-_.=+/ ~\n"))
def test_one_changed_character_breaks_a_token(at: int, character: str) -> None:
    changed = GOOD[:at] + character + GOOD[at + 1 :]
    if changed == GOOD:
        assert KEYS.verify(changed).subject == "ann"
    else:
        refused(KEYS, changed)


@given(st.sampled_from(["HS256", "RS256", "ES256"]), st.binary(max_size=300))
def test_a_made_up_signature_does_not_hold(algorithm: str, signature: bytes) -> None:
    refused(KEYS, raw_token({"alg": algorithm}, claims(), signature))


def header(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"authorization", value)]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_is_found_whatever_the_case_of_its_scheme(scheme: str) -> None:
    assert bearer_token(header(f"{scheme} {GOOD}".encode())) == GOOD
    assert bearer_token(header(f"{scheme}   {GOOD} ".encode())) == GOOD
    assert bearer_token([(b"host", b"x"), (b"x-authorization", b"Bearer a.b.c")]) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer a.b",
        b"Bearer a.b.c.d",
        b"Bearer a..c",
        b"Bearer a.b.c d",
        b"Bearer a.b.c, Bearer d.e.f",
        b"Bearer\ta.b.c",
        b"Bearera.b.c",
        b"Basic YW5uOnB3",
        b"Bearer \xff.b.c",
        b"Bearer a.b.c\x00",
        b" Bearer a.b.c",
        b"a.b.c",
    ],
)
def test_another_authorization_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidCredentialsError):
        bearer_token(header(value))


def test_two_authorizations_are_refused() -> None:
    with pytest.raises(AmbiguousCredentialsError):
        bearer_token(header(b"Bearer a.b.c") + header(b"Bearer a.b.c"))


@given(st.binary(max_size=60))
def test_whatever_the_header_it_gives_a_token_or_is_refused(value: bytes) -> None:
    for text in (value, b"Bearer " + value):
        try:
            found = bearer_token(header(text))
        except InvalidCredentialsError:
            continue
        assert found is not None
        assert found.encode() in text
        assert found.count(".") == 2


def test_weak_or_misplaced_keys_are_refused_at_the_start(tmp_path: Path) -> None:
    for pem, words in [
        (pem_of(rsa_key("weak", 1024)), "2048"),
        (issuing.private_pem_of(rsa_key()), "not a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----", "not a public key"),
        ("", "not a public key"),
    ]:
        with pytest.raises(UsageError, match=words):
            verifier(jwt_public_key=pem)
    for secret in (pem_of(rsa_key()), issuing.private_pem_of(ec_key()),
                   json.dumps({"keys": [issuing.jwk_of(rsa_key())]})):  # fmt: skip
        with pytest.raises(UsageError, match="jwt_secret"):
            verifier(jwt_secret=Secret(secret))
    with pytest.raises(UsageError, match="32 bytes"):
        SecuritySettings(jwt_secret=Secret("too short"))


def test_base64_with_other_alphabets_or_bits_left_over_is_refused() -> None:
    start, _, signature = GOOD.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=")
    plain = base64.b64encode(raw).decode().rstrip("=")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    sibling = signature[:-1] + last[last.index(signature[-1]) + 1]
    assert base64.urlsafe_b64decode(sibling + "=") == raw
    refused(KEYS, f"{start}.{sibling}")
    if plain != signature:
        refused(KEYS, f"{start}.{plain}")
