"""A group of commands that end in one line and exit code 2 where they cannot do what they are for."""

from __future__ import annotations

import click

from windvane.errors import WindvaneError

__all__ = ["CommandGroup"]


class CommandGroup(click.Group):
    """Says what went wrong in place of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except WindvaneError as error:
            click.echo(f"windvane: {error}", err=True)
            ctx.exit(2)
