"""Options that several commands share, and how a command gets them."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

PANEL = "Connection options"

WorkflowId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the workflow that hosts the stream.")
]
RunId = Annotated[
    str | None,
    typer.Option("--run-id", metavar="RUN", help="This run of the workflow and those after it."),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, one object per line.")]

# The variables' names would double the length of each help page; docs/cli.md has them.
_CONNECTS: dict[str, Any] = {"rich_help_panel": PANEL, "show_envvar": False}


def _text(name: str, variable: str, metavar: str, help: str, *more: str) -> inspect.Parameter:
    option = typer.Option(name, *more, envvar=variable, metavar=metavar, help=help, **_CONNECTS)
    return _parameter(variable, Annotated[str | None, option])


def _file(name: str, variable: str, help: str) -> inspect.Parameter:
    option = typer.Option(
        name,
        envvar=variable,
        metavar="FILE",
        help=help,
        exists=True,
        dir_okay=False,
        **_CONNECTS,
    )
    return _parameter(variable, Annotated[Path | None, option])


def _switch(name: str, variable: str, help: str) -> inspect.Parameter:
    option = typer.Option(f"{name}/--no-{name[2:]}", envvar=variable, help=help, **_CONNECTS)
    return _parameter(variable, Annotated[bool | None, option])


def _parameter(variable: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        variable.lower(), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


# Each option is its environment variable: it means the same here, in Temporal's own tools, whose
# names these are, and in every process that a command starts.
_CONNECTION = [
    _text("--address", "TEMPORAL_ADDRESS", "HOST:PORT", "Server; default localhost:7233."),
    _text("--namespace", "TEMPORAL_NAMESPACE", "NAME", "Namespace; default default.", "-n"),
    _text("--profile", "TEMPORAL_PROFILE", "NAME", "Profile of the configuration file."),
    _file("--config-file", "TEMPORAL_CONFIG_FILE", "Configuration file."),
    _switch("--tls", "TEMPORAL_TLS", "Encrypt; on by itself with an API key or a certificate."),
    _file("--tls-cert-path", "TEMPORAL_TLS_CLIENT_CERT_PATH", "Client certificate."),
    _file("--tls-key-path", "TEMPORAL_TLS_CLIENT_KEY_PATH", "Its private key."),
    _file("--tls-ca-path", "TEMPORAL_TLS_SERVER_CA_CERT_PATH", "Certificate of the server's CA."),
    _text("--tls-server-name", "TEMPORAL_TLS_SERVER_NAME", "NAME", "Name in its certificate."),
    _text("--codec-endpoint", "TEMPORAL_CODEC_ENDPOINT", "URL", "Codec server that decrypts."),
    _text("--codec-auth", "TEMPORAL_CODEC_AUTH", "HEADER", "Authorization for the codec server."),
]


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the connection, which set the environment's variables.

    API keys come by ``TEMPORAL_API_KEY`` alone: options are visible to everybody on the machine.
    """
    signature = inspect.signature(command, eval_str=True)

    @functools.wraps(command)
    def with_connection(**given: Any) -> None:
        for parameter in _CONNECTION:
            value = given.pop(parameter.name)
            if value is not None:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                os.environ[parameter.name.upper()] = text
        command(**given)

    parameters = [*signature.parameters.values(), *_CONNECTION]
    with_connection.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_connection.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_connection
