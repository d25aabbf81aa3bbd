"""`windvane rules`: the Prometheus rules."""

from __future__ import annotations

from pathlib import Path

import click

from windvane_dashboards.output import deliver
from windvane_dashboards.rules import DEFAULT_METHODS, METHODS, Links, Timings, render

__all__ = ["command"]


@click.group("rules")
def command() -> None:
    """Render the Prometheus rules, the same for every model."""


@command.command("render")
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files into DIR. [default: print them]",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    help=f"Drift statistic to record besides {' and '.join(DEFAULT_METHODS)}; may be repeated.",
)
@click.option(
    "--faster",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="FACTOR",
    help="Shorten every window and wait by FACTOR; names stay. For demonstrations and tests.",
)
@click.option("--runbook-base", default="", metavar="URL", help="Where windvane's own runbooks are published.")
@click.option("--dashboard-base", default="", metavar="URL", help="Address of Grafana, for links from alerts.")
def render_command(
    output: Path | None, methods: tuple[str, ...], faster: float, runbook_base: str, dashboard_base: str
) -> None:
    """Write the recording rules and the alerts as Prometheus rule files."""
    try:
        timings = Timings().faster(faster)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--faster") from error
    links = Links(runbook_base=runbook_base, dashboard_base=dashboard_base)
    deliver(render(timings, methods=(*DEFAULT_METHODS, *methods), links=links), output, separator="---")
