"""Whatever a gateway can be told, it can be told by a variable, an option, or the application."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import MISSING, fields
from typing import Any

import pytest
from starlette.applications import Starlette
from typer.main import get_command

from workflow_streams.cli.app import app as cli
from workflow_streams.errors import UsageError
from workflow_streams.gateway import GatewaySettings, LimitSettings, SecuritySettings, serve
from workflow_streams.gateway.server import server_of

KINDS: list[type[Any]] = [GatewaySettings, LimitSettings, SecuritySettings]
# What is an object of Python, or goes with one, and what has a file of its own.
NO_VALUES = {"security", "limits", "check", "check_headers"}
IN_FILES = {"jwt_secret", "jwt_public_key", "jwks_file", "url_signing_keys"}


def variable(name: str) -> str:
    return f"WORKFLOW_STREAMS_{name.upper()}"


def simple(kind: type[Any]) -> dict[str, Any]:
    """The settings that one value says, with their defaults."""
    return {
        field.name: field.default if field.default is not MISSING else None
        for field in fields(kind)
        if field.name not in NO_VALUES | IN_FILES
    }


def other(name: str, default: Any) -> tuple[str, Any]:
    """Another value than the default: as text, and as it is to be read."""
    match default:
        case bool():
            return str(not default).lower(), not default
        case tuple():
            return "x-a, x-b", ("x-a", "x-b")
        case str() | None if name != "max_requests_per_second":
            return "another", "another"
        case int() | float():
            return str(default + 7), default + 7
        case _:
            return "0.75", 0.75


def read(kind: type[Any], environ: dict[str, str]) -> Any:
    whole = GatewaySettings.from_env(environ)
    return {GatewaySettings: whole, LimitSettings: whole.limits, SecuritySettings: whole.security}[
        kind
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in simple(kind)]
)
def test_every_setting_has_a_variable(kind: type[Any], name: str) -> None:
    text, value = other(name, simple(kind)[name])
    for environ in ({variable(name): text}, {variable(name): f" {text} "}):
        found = read(kind, environ)
        assert getattr(found, name) == value
        rest = {n: getattr(found, n) for n in simple(kind) if n != name}
        assert rest == {n: default for n, default in simple(kind).items() if n != name}
    assert read(kind, {variable(name): ""}) == kind()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in KINDS
        for name, default in simple(kind).items()
        if isinstance(default, int | float)
    ],
)
def test_what_is_no_value_is_refused_with_the_name_of_its_variable(
    kind: type[Any], name: str
) -> None:
    number = not isinstance(simple(kind)[name], bool)
    for text in ("x", "1 2", "0x10", "1s", "nan", "inf", *(["-1", "1e999"] if number else ["2"])):
        with pytest.raises(UsageError, match=variable(name)) as caught:
            GatewaySettings.from_env({variable(name): text})
        assert "Error" not in str(caught.value)


def test_what_the_application_says_wins_over_the_variables() -> None:
    environ = {variable("sse_seconds"): "5", variable("max_url_bytes"): "99"}
    settings = GatewaySettings.from_env(environ, sse_seconds=7.0, host_worker=False)
    assert (settings.sse_seconds, settings.host_worker) == (7.0, False)
    assert settings.limits.max_url_bytes == 99
    given = GatewaySettings.from_env(environ, limits=LimitSettings(), security=SecuritySettings())
    assert given.limits == LimitSettings()
    with pytest.raises(TypeError, match="no_such_setting"):
        GatewaySettings.from_env(environ, no_such_setting=1)


def options() -> dict[str, Any]:
    """The options of ``workflow-streams gateway``, by the variables that they stand for."""
    command = get_command(cli).commands["gateway"]  # type: ignore[attr-defined]
    return {option.envvar: option for option in command.params if option.envvar}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_an_option_that_tells_its_default(kind: type[Any]) -> None:
    found = options()
    for name, default in simple(kind).items():
        if name == "host_worker":
            assert "--worker" in found[variable(name)].opts
            continue
        option = found[variable(name)]
        assert f"--{name.replace('_', '-')}" in option.opts
        if type(default) in (int, float):
            assert option.help.endswith(f"; default {default:,.15g}."), option.help


def test_no_option_stands_for_a_variable_that_nobody_reads() -> None:
    known = {variable(name) for kind in KINDS for name in simple(kind)}
    files = {variable(f"{name}_file") for name in ("jwt_secret", "jwt_public_key")}
    files |= {variable("jwks_file"), variable("url_signing_key_file")}
    own = {name for name in options() if name.startswith("WORKFLOW_STREAMS_")}
    assert own == known | files


def test_serve_takes_the_settings_from_the_application() -> None:
    from workflow_streams.gateway import create_app

    async def connect() -> Any:
        raise AssertionError("it is not to connect")

    settings = GatewaySettings(limits=LimitSettings(max_url_bytes=77), shutdown_seconds=3)
    app = create_app(connect, settings)
    assert "settings" not in inspect.signature(serve).parameters
    config = server_of(app).config
    assert config.h11_max_incomplete_event_size == 77 + 32 * 1024
    assert config.timeout_graceful_shutdown == 3
    assert server_of(app, timeout_graceful_shutdown=9).config.timeout_graceful_shutdown == 9
    with pytest.raises(UsageError, match="create_app"):
        asyncio.run(serve(Starlette()))
