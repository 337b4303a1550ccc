"""Options that several commands share, and the decorators that add them to a command."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def utf8(value: str | list[str] | None) -> str | list[str] | None:
    """Check what a parameter was given; use it as the parameter's callback.

    Raises:
        BadParameter: It is not UTF-8, so that no message to the server could hold it.
    """
    for text in [value] if isinstance(value, str) else value or ():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise typer.BadParameter(f"{text!r} is not UTF-8") from None
    return value


def utf8_id(value: str | None) -> str | None:
    """Check the same of an id, which must not be empty.

    Raises:
        BadParameter: It is.
    """
    if value is not None and not value:
        raise typer.BadParameter("it is empty")
    utf8(value)
    return value


WorkflowId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Id of the workflow that hosts the stream.", callback=utf8_id
    ),
]
RunId = Annotated[
    str | None,
    typer.Option(
        "--run-id",
        metavar="RUN",
        help="This run of the workflow and those after it.",
        callback=utf8_id,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, one object per line.")]


class Environment:
    """Options that set environment variables, in a section of their own on help pages.

    An option means exactly what its variable means, here and in every process that the command
    starts. Decorate a command with an instance to give it these options.
    """

    def __init__(self, title: str) -> None:
        """Begin a section."""
        self._parameters: list[inspect.Parameter] = []
        # The variables' names are in docs/cli.md; here they would double the length of help pages.
        self._style: dict[str, Any] = {"rich_help_panel": title, "show_envvar": False}

    def text(self, name: str, variable: str, metavar: str, help: str, *more: str) -> None:
        """Add an option for a text."""
        option = typer.Option(
            name,
            *more,
            envvar=variable,
            metavar=metavar,
            help=help,
            callback=utf8,
            **self._style,
        )
        self._add(variable, Annotated[str | None, option])

    def file(self, name: str, variable: str, help: str) -> None:
        """Add an option for the path of a file, which has to exist."""
        option = typer.Option(
            name,
            envvar=variable,
            metavar="FILE",
            help=help,
            exists=True,
            dir_okay=False,
            **self._style,
        )
        self._add(variable, Annotated[Path | None, option])

    def switch(self, name: str, variable: str, help: str) -> None:
        """Add an option for true, and one for false."""
        both = f"{name}/--no-{name[2:]}"
        option = typer.Option(both, envvar=variable, help=help, **self._style)
        self._add(variable, Annotated[bool | None, option])

    def whole(self, name: str, variable: str, metavar: str, help: str) -> None:
        """Add an option for a whole number."""
        option = typer.Option(name, envvar=variable, metavar=metavar, help=help, **self._style)
        self._add(variable, Annotated[int | None, option])

    def number(self, name: str, variable: str, metavar: str, help: str) -> None:
        """Add an option for a number."""
        option = typer.Option(name, envvar=variable, metavar=metavar, help=help, **self._style)
        self._add(variable, Annotated[float | None, option])

    def _add(self, variable: str, annotation: Any) -> None:
        self._parameters.append(
            inspect.Parameter(
                variable.lower(),
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=annotation,
            )
        )

    def __call__(self, command: Callable[..., None]) -> Callable[..., None]:
        """Return ``command`` with these options as well."""
        signature = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def decorated(**given: Any) -> None:
            for parameter in self._parameters:
                value = given.pop(parameter.name)
                if value is not None:
                    said = str(value).lower() if isinstance(value, bool) else str(value)
                    os.environ[parameter.name.upper()] = said
            command(**given)

        everything = [*signature.parameters.values(), *self._parameters]
        decorated.__signature__ = signature.replace(parameters=everything)  # type: ignore[attr-defined]
        decorated.__annotations__ = {p.name: p.annotation for p in everything}
        return decorated


# The names are those of Temporal's own command. An API key is given by TEMPORAL_API_KEY only, since
# options are visible to everybody on the machine.
connecting = Environment("Connection options")
connecting.text("--address", "TEMPORAL_ADDRESS", "HOST:PORT", "Server; default localhost:7233.")
connecting.text("--namespace", "TEMPORAL_NAMESPACE", "NAME", "Namespace; default default.", "-n")
connecting.text("--profile", "TEMPORAL_PROFILE", "NAME", "Profile of the configuration file.")
connecting.file("--config-file", "TEMPORAL_CONFIG_FILE", "Configuration file.")
connecting.switch("--tls", "TEMPORAL_TLS", "Encrypt; the default with a key or certificate.")
connecting.file("--tls-cert-path", "TEMPORAL_TLS_CLIENT_CERT_PATH", "Client certificate.")
connecting.file("--tls-key-path", "TEMPORAL_TLS_CLIENT_KEY_PATH", "Its private key.")
connecting.file("--tls-ca-path", "TEMPORAL_TLS_SERVER_CA_CERT_PATH", "Certificates to trust.")
connecting.text("--tls-server-name", "TEMPORAL_TLS_SERVER_NAME", "NAME", "Server's name in TLS.")
connecting.text("--codec-endpoint", "TEMPORAL_CODEC_ENDPOINT", "URL", "Codec server, to decrypt.")
connecting.text("--codec-auth", "TEMPORAL_CODEC_AUTH", "TEXT", "Authorization at that server.")
