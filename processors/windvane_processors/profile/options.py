"""What the subcommands of `windvane profile` share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import click
from rich.console import Console

from windvane_processors.profile.sources import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TIME", "console", "selection_options"]

_Command = TypeVar("_Command", bound="Callable[..., object]")
_PLAIN_WIDTH: Final = 180


class _Time(click.ParamType[datetime]):
    """A time as `parse_time` reads it."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_time(str(value), datetime.now(UTC))
        except ValueError:
            self.fail(f"{value!r:.80} is no time; write 2026-11-23T14:00Z, or 24h for so long ago", param, ctx)


TIME: Final = _Time()


def selection_options(command: _Command) -> _Command:
    """Add the options that choose from a store."""
    for option in (
        click.option("--to", "end", type=TIME, help="End of the time to take, likewise."),
        click.option("--from", "begin", type=TIME, help="Begin of the time to take, such as 24h or 2026-11-23T14:00Z."),
        click.option("--version", help="Version of the model to take of a store that has several."),
        click.option("--model", help="Model to take of a store that has several."),
    ):
        command = option(command)
    return command


def console() -> Console:
    """Print to a terminal as wide as it is, and elsewhere so wide that nothing is cut."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_PLAIN_WIDTH)
