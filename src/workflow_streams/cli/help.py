"""Help pages: plain text, so that they read the same on a terminal, in a pipe and in the docs."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_FIRST = ("Arguments", "Options")


class Command(TyperCommand):
    """A command whose help has a section for each panel of options."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections of arguments and options."""
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in _FIRST}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                usual = _FIRST[parameter.param_type_name != "argument"]
                title = getattr(parameter, "rich_help_panel", None) or usual
                sections.setdefault(title, []).append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
