"""`windvane profile build`: profile files."""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from windvane import semconv
from windvane.errors import ProfileError
from windvane_processors.profile.build import Options, build_profiles, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["command"]

_SHOWN: Final = 5


@click.command(name="build")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The file to write, usually .bin; with --segment the folder of the files.",
)
@click.option("--model", metavar="NAME", help="Name of the model, kept in the profile.")
@click.option("--version", metavar="TEXT", help="Version of the model, kept in the profile.")
@click.option("--segment", metavar="COLUMN", help="Make a profile for each value of this column.")
@click.option("--frequent-items/--no-frequent-items", default=True, help="Keep frequent values as they are.")
@click.option(
    "--frequent-items-minimum",
    default=1,
    show_default=True,
    metavar="K",
    type=click.IntRange(1),
    help="Leave out values that came less often (k-anonymity).",
)
@click.option("--processes", metavar="N", type=click.IntRange(1), help="As many as there are processors by default.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
def command(
    *,
    data: tuple[Path, ...],
    output: Path,
    model: str | None,
    version: str | None,
    segment: str | None,
    frequent_items: bool,
    frequent_items_minimum: int,
    processes: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Profile .csv, .csv.gz or .parquet files of any size, and write a whylogs file."""
    if not force and (output.is_file() or (segment is None and output.exists())):
        msg = f"{output}: is there already; name another file, or add --force"
        raise ProfileError(msg)
    metadata = {semconv.MODEL_NAME.name: model, semconv.MODEL_VERSION.name: version}
    options = Options(
        segment=segment,
        frequent_items=frequent_items,
        frequent_items_minimum=frequent_items_minimum,
        metadata={name: text for name, text in metadata.items() if text is not None},
    )
    with _progress(size_of(data)) as advance:
        profiles = build_profiles(data, options, processes=processes, advance=advance)
    written = []
    for name, profile in profiles.items():
        path = output if name is None else output / f"{quote(f'{segment}={name}', safe='=')}.bin"
        _write(path, profile.serialize())
        rows = max((column.counts.n for column in profile.columns.values()), default=0)
        written.append({"file": str(path), "segment": name, "rows": rows, "columns": len(profile.columns)})
    if as_json:
        click.echo(json.dumps({"profiles": written}))
        return
    for entry in written[:_SHOWN]:
        click.echo(f"{entry['file']}: {entry['rows']:,} rows, {entry['columns']} columns")
    if len(written) > _SHOWN:
        click.echo(f"... and {len(written) - _SHOWN} more files in {output}")


def _write(path: Path, content: bytes) -> None:
    """Write a file that is whole as soon as it has its name."""
    unfinished = path.with_name(f".{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        msg = f"{path}: cannot be written: {error.strerror}; name another place with --output"
        raise ProfileError(msg) from error


@contextmanager
def _progress(size: int) -> Iterator[Callable[[int], None]]:
    """Show on standard error how far the reading is; nothing where no terminal is there to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _size: None
        return
    columns = (TextColumn("profiling"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("profiling", total=size)
        yield lambda read: progress.advance(task, read)
