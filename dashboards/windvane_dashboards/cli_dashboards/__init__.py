"""`windvane dashboards`: the Grafana dashboards, from their rendering to what each panel finds."""

from __future__ import annotations

from pathlib import Path

import click

from windvane_dashboards.boards import render
from windvane_dashboards.cli_dashboards import check, push
from windvane_dashboards.cli_dashboards.formats import FORMATS
from windvane_dashboards.command_group import CommandGroup
from windvane_dashboards.output import deliver

__all__ = ["command"]


@click.group("dashboards", cls=CommandGroup)
def command() -> None:
    """Render the Grafana dashboards, send them, and tell which panels would be empty."""


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
    default="grafana",
    show_default=True,
    help="Dashboard JSON, or ConfigMaps that the sidecar of Grafana's Helm chart loads.",
)
def render_command(*, output: Path | None, form: str) -> None:
    """Write the dashboards as classic dashboard JSON, which Grafana 11 to 13 read."""
    deliver(FORMATS[form](render()), output, separator="---" if form == "kubernetes" else "")


for _one in (push.diff, push.push, check.check):
    command.add_command(_one)
