"""`windvane rules`: the Prometheus rules, from their rendering to where their alerts end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from windvane_dashboards.cli_rules import backtest, check, explain, push, routing
from windvane_dashboards.cli_rules.formats import FORMATS
from windvane_dashboards.cli_rules.options import rule_options
from windvane_dashboards.command_group import CommandGroup
from windvane_dashboards.output import deliver

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["command"]


@click.group("rules", cls=CommandGroup)
def command() -> None:
    """Render the rules, which are the same for every model; compare, send, explain and try them."""


@command.command("render")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files into DIR. [default: print them]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="prometheus",
    show_default=True,
    help="Rule files of Prometheus, one file with a namespace as mimirtool reads it, or PrometheusRule objects.",
)
@rule_options
def render_command(*, output: Path | None, form: str, files: Mapping[str, str]) -> None:
    """Write the recording rules and the alerts as files."""
    deliver(FORMATS[form](files), output, separator="---")


for _module in (backtest, check, explain, push, routing):
    command.add_command(_module.command)
