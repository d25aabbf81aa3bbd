"""`windvane dashboards`: the Grafana dashboards."""

from __future__ import annotations

from pathlib import Path

import click

from windvane_dashboards.boards import render
from windvane_dashboards.output import deliver

__all__ = ["command"]


@click.group("dashboards")
def command() -> None:
    """Render the Grafana dashboards."""


@command.command("render")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files into DIR. [default: print them]",
)
def render_command(output: Path | None) -> None:
    """Write the dashboards as classic dashboard JSON, which Grafana 11 to 13 read."""
    deliver(render(), output)
