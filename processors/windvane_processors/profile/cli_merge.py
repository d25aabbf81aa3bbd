"""`windvane profile merge`: one profile of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from windvane.errors import ProfileError
from windvane_processors.profile.options import selection_options
from windvane_processors.profile.sources import (
    Selection,
    check_absent,
    check_selection,
    read_profile,
    shown,
    write_file,
)
from windvane_processors.profile.summary import rows_of

if TYPE_CHECKING:
    from datetime import datetime

    from windvane.profiles import DatasetProfile

__all__ = ["command"]


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@selection_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def command(
    *,
    sources: tuple[str, ...],
    model: str | None,
    version: str | None,
    begin: datetime | None,
    end: datetime | None,
    output: Path,
    force: bool,
) -> None:
    """Merge the profiles in each SOURCE into one whylogs file.

    Where stores are among them, the options choose from each of these.
    """
    check_absent(output, force=force)  # before everything is read
    chosen = Selection(model, version, begin, end)
    check_selection(chosen, sources)
    merged: DatasetProfile | None = None
    for source in sources:
        profile = read_profile(source, chosen)
        try:
            merged = profile if merged is None else merged + profile
        except ProfileError as error:
            msg = f"{shown(source)}: {error}; merge fewer profiles"
            raise ProfileError(msg) from error
    if merged is not None:
        write_file(output, merged.serialize(), force=force)
        size = f"{rows_of(merged):,} rows, {len(merged.columns):,} columns"
        click.echo(f"Wrote {shown(str(output))}: {len(sources)} profiles, {size}.")
