"""The options that say which rules are meant, the same for every subcommand that takes them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

from windvane_dashboards.rules import DEFAULT_METHODS, METHODS, Links, Timings, render

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["faster_option", "rule_options", "timings"]


def timings(faster: float) -> Timings:
    """Return the timings that `--faster` asks for.

    Raises:
        click.BadParameter: no clock can run that fast.
    """
    try:
        return Timings().faster(faster)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--faster") from error


faster_option = click.option(
    "--faster",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    metavar="FACTOR",
    help="Shorten every window and wait by FACTOR; names stay. For demonstrations and tests.",
)


def rule_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what is rendered, and the text by file name as `files`."""

    @click.option(
        "--method",
        "methods",
        type=click.Choice(METHODS),
        multiple=True,
        help=f"Drift statistic to record besides {' and '.join(DEFAULT_METHODS)}; may be repeated.",
    )
    @faster_option
    @click.option("--runbook-base", default="", metavar="URL", help="Where windvane's own runbooks are published.")
    @click.option("--dashboard-base", default="", metavar="URL", help="Address of Grafana, for links from alerts.")
    @functools.wraps(function)
    def with_files(
        *, methods: tuple[str, ...], faster: float, runbook_base: str, dashboard_base: str, **others: object
    ) -> None:
        links = Links(runbook_base=runbook_base, dashboard_base=dashboard_base)
        function(files=render(timings(faster), methods=(*DEFAULT_METHODS, *methods), links=links), **others)

    return with_files
