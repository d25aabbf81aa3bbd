"""`windvane outcomes`: report outcomes that stand in files."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from windvane._key_sender import PROCESS_TOKEN
from windvane_dashboards.server import Server
from windvane_processors.outcomes.sending import Columns, OutcomeFile, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["command"]


@click.group()
def command() -> None:
    """Report what became of predictions."""


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--actual-column", required=True, metavar="COLUMN", help="What came true; rows without it are left out.")
@click.option("--token-column", metavar="COLUMN", help="The tokens that the predictions came with.")
@click.option("--key-column", metavar="COLUMN", help="Your own keys of the predictions, with --model.")
@click.option("--model", metavar="NAME", help="Name of the model, with --key-column.")
@click.option("--time-column", metavar="COLUMN", help="When an outcome became known: seconds since 1970, or ISO 8601.")
@click.option(
    "--endpoint",
    default="http://127.0.0.1:4320",
    show_default=True,
    metavar="URL",
    help=f"The service of `windvane process`. Its bearer token is read from {PROCESS_TOKEN}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def report(
    *,
    files: tuple[Path, ...],
    actual_column: str,
    token_column: str | None,
    key_column: str | None,
    model: str | None,
    time_column: str | None,
    endpoint: str,
    as_json: bool,
) -> None:
    """Report the outcomes in .csv, .csv.gz or .parquet files of any size.

    With a store behind the service the same file may be sent again, as after a fault: what is known counts once.
    Without one it counts twice.

    Ends with exit code 1 where an outcome was refused.
    """
    if (token_column is None) == (key_column is None):
        msg = "name the predictions by --token-column, or by --key-column and --model"
        raise click.UsageError(msg)
    if (key_column is None) != (model is None):
        msg = "--key-column and --model belong together"
        raise click.UsageError(msg)
    columns = Columns(actual_column, token_column, key_column, time_column)
    secret = os.environ.get(PROCESS_TOKEN, "").strip()
    server = Server(
        "the service",
        endpoint,
        headers={"authorization": f"Bearer {secret}"} if secret else {},
        refused=f"{PROCESS_TOKEN} must hold the service's bearer token",
        missing="start `windvane process` there with WINDVANE_TOKEN_KEYS set, or name it with --endpoint",
    )
    opened = [OutcomeFile(path, columns) for path in files]
    with _progress(sum(file.size for file in opened)) as advance:
        summary = send(opened, columns, server, model=model, advance=advance)
    refused = summary.refused.total()
    if as_json:
        click.echo(json.dumps(summary.as_dict()))
    else:
        click.echo(
            f"{summary.read:,} rows: {summary.counted:,} outcomes counted, {summary.waiting:,} waiting, "
            f"{summary.duplicates:,} known before, {summary.empty:,} rows without an outcome, {refused:,} refused"
        )
        for reason, number in summary.refused.most_common():
            click.echo(f"  refused as {reason}: {number:,}")
    if refused:
        raise SystemExit(1)


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error how far the reading is; nothing where no terminal is there to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _size: None
        return
    columns = (TextColumn("reporting"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reporting", total=size)
        yield lambda read: progress.advance(task, read)
