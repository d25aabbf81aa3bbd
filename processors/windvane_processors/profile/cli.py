"""`windvane profile`: builds, shows, compares, merges and exports profiles."""

from __future__ import annotations

import importlib
from typing import Final

import click

__all__ = ["command"]

_SUBCOMMANDS: Final = {
    # name: (module with a click command called `command`, help)
    "build": ("windvane_processors.profile.cli_build", "Profile files of any size."),
    "compare": ("windvane_processors.profile.cli_compare", "Compare a profile with another one, or a baseline."),
    "export": ("windvane_processors.profile.cli_export", "Write a profile as JSON, CSV, Parquet or whylogs file."),
    "merge": ("windvane_processors.profile.cli_merge", "Merge profiles into one."),
    "show": ("windvane_processors.profile.cli_show", "Print what a profile says of each column."),
}


class _LazyGroup(click.Group):
    """A group that imports a subcommand when it is called; its listing needs no import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(_SUBCOMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in sorted(_SUBCOMMANDS.items())])


@click.group(name="profile", cls=_LazyGroup)
def command() -> None:
    """Build, show, compare, merge and export profiles of data sets.

    A SOURCE is a whylogs file, - for standard input, or the folder or address of a store that `windvane process`
    writes.
    """
