"""Unsafe settings are refused at the start, and secrets show nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from workflow_streams.errors import UsageError
from workflow_streams.gateway.security import (
    Grant,
    InsecureListenError,
    Secret,
    SecuritySettings,
    check_listening,
)
from workflow_streams.gateway.security.settings import MIN_SECRET_BYTES

from .issuing import SECRET, pem_of, private_pem_of, rsa_key


async def allow(access: Any) -> Grant | None:
    return access.grant


LOGINS: list[dict[str, Any]] = [
    {"jwt_secret": Secret(SECRET)},
    {"jwt_public_key": pem_of(rsa_key())},
    {"jwks_file": Path("jwks.json")},
    {"check": allow},
]
BEYOND = ["", "0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "nowhere.invalid",
          "127.0.0.1.nip.invalid", "0", "*", "a b"]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3", "::ffff:127.0.0.1"])
def test_without_login_it_may_listen_on_this_machine(host: str) -> None:
    check_listening(host, SecuritySettings())


@pytest.mark.parametrize("host", BEYOND)
def test_without_login_it_refuses_to_listen_beyond_this_machine(host: str) -> None:
    with pytest.raises(InsecureListenError, match="allow_anonymous") as caught:
        check_listening(host, SecuritySettings(allowed_hosts=("any",)))
    assert caught.value.host == host
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("host", BEYOND)
def test_with_a_login_or_told_in_as_many_words_it_listens_anywhere(host: str) -> None:
    for login in LOGINS:
        check_listening(host, SecuritySettings(**login))
    check_listening(host, SecuritySettings(allow_anonymous=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *(({**login, "allow_anonymous": True}, "exclude each other") for login in LOGINS),
        ({"jwt_secret": Secret("x" * (MIN_SECRET_BYTES - 1))}, "at least 32 bytes"),
        ({"url_signing_keys": (Secret(SECRET), Secret(""))}, "at least 32 bytes"),
        ({"jwt_secret": Secret(SECRET), "url_signing_keys": (Secret(SECRET),)}, "differ"),
        ({"leeway_seconds": -1}, "leeway"),
        ({"max_token_bytes": 0}, "max_token_bytes"),
        ({"signed_url_seconds": 0}, "signed_url_seconds"),
        ({"signed_url_seconds": 10, "max_signed_url_seconds": 5}, "signed_url_seconds"),
        ({"cors_origins": ("*",), "cors_credentials": True}, "by name"),
    ],
)
def test_settings_that_contradict_or_weaken_each_other_are_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        SecuritySettings(**settings)


def test_secrets_show_nowhere() -> None:
    secret = Secret(SECRET)
    settings = SecuritySettings(
        jwt_secret=secret,
        jwt_public_key=private_pem_of(rsa_key()),  # by mistake
        url_signing_keys=(Secret(b"k" * 32),),
    )
    for shown in (repr(settings), str(secret), f"{secret!r} {secret}", repr([secret])):
        assert SECRET not in shown
        assert "PRIVATE" not in shown
        assert "kkk" not in shown
    assert "Secret('***')" in repr(settings)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert [name for name in dir(secret) if not name.startswith("_")] == ["from_file", "reveal"]


def test_secrets_compare_by_value() -> None:
    assert Secret("a" * 32) == Secret(b"a" * 32)
    assert Secret("a" * 32) != Secret("b" * 32)
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("ä").reveal() == "ä".encode()


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET.encode() + b"\r\n")
    (tmp_path / "key.pem").write_text(pem_of(rsa_key()))
    prefix = "WORKFLOW_STREAMS_"
    settings = SecuritySettings.from_env(
        {
            f"{prefix}JWT_SECRET_FILE": str(tmp_path / "secret"),
            f"{prefix}JWT_PUBLIC_KEY_FILE": str(tmp_path / "key.pem"),
            f"{prefix}JWKS_FILE": str(tmp_path / "jwks.json"),
            f"{prefix}JWT_AUDIENCE": "streams",
            f"{prefix}JWT_ISSUER": "https://issuer",
            f"{prefix}JWT_CLAIM": "https://example.com/streams",
            f"{prefix}URL_SIGNING_KEY": "k" * 32,
            f"{prefix}ALLOWED_HOSTS": "a.local, b.local,",
            f"{prefix}CORS_ORIGINS": "https://a.example",
            f"{prefix}FRAME_ANCESTORS": "https://b.example",
            f"{prefix}ALLOW_ANONYMOUS": "false",
            "JWT_SECRET": "not ours",
        }
    )
    assert settings == SecuritySettings(
        jwt_secret=Secret(SECRET),
        jwt_public_key=pem_of(rsa_key()),
        jwks_file=tmp_path / "jwks.json",
        jwt_audience="streams",
        jwt_issuer="https://issuer",
        jwt_claim="https://example.com/streams",
        url_signing_keys=(Secret("k" * 32),),
        allowed_hosts=("a.local", "b.local"),
        cors_origins=("https://a.example",),
        frame_ancestors=("https://b.example",),
    )
    assert SecuritySettings.from_env({}) == SecuritySettings()
    assert SecuritySettings.from_env({f"{prefix}ALLOW_ANONYMOUS": "TRUE"}).allow_anonymous
    assert SecuritySettings.from_env({f"{prefix}JWT_SECRET": SECRET}).jwt_secret == Secret(SECRET)


@pytest.mark.parametrize(
    "environ",
    [
        {"WORKFLOW_STREAMS_ALLOW_ANONYMOUS": "perhaps"},
        {"WORKFLOW_STREAMS_JWT_SECRET": SECRET, "WORKFLOW_STREAMS_JWT_SECRET_FILE": "x"},
        {"WORKFLOW_STREAMS_JWT_SECRET": "short"},
    ],
)
def test_an_environment_that_is_not_clear_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        SecuritySettings.from_env(environ)
