"""Help pages: plain text, so that they read the same on a terminal, in a pipe and in the docs."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from .options import PANEL


class Command(TyperCommand):
    """A command whose help has the options of the connection in a section of their own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            title = getattr(parameter, "rich_help_panel", None) or (
                "Arguments" if is_argument else "Options"
            )
            sections.setdefault(title, []).append(record)
        for title in sorted(sections, key=lambda title: title == PANEL):
            with formatter.section(title):
                formatter.write_dl(sections[title])
