"""`windvane profile export`: a profile for other programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windvane.errors import ProfileError
from windvane_processors.profile.options import selection_options
from windvane_processors.profile.sources import Selection, check_selection, read_profile, shown, write_file
from windvane_processors.profile.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from windvane.profiles import DatasetProfile

__all__ = ["command"]


@click.command()
@click.argument("source")
@selection_options
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="File to write: .json, .csv, .parquet or .bin.",
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def command(
    *,
    source: str,
    model: str | None,
    version: str | None,
    begin: datetime | None,
    end: datetime | None,
    output: Path,
    force: bool,
) -> None:
    """Write the profile in SOURCE with a row for each column, or as a whylogs file (.bin)."""
    write = _WRITERS.get(output.suffix.lower())
    if write is None:
        msg = f"{shown(str(output))}: cannot tell the format; name it {', '.join(_WRITERS)}"
        raise ProfileError(msg)
    chosen = Selection(model, version, begin, end)
    check_selection(chosen, [source])
    profile = read_profile(source, chosen)
    write_file(output, write(profile), force=force)
    click.echo(f"Wrote {shown(str(output))}: {len(profile.columns):,} columns.")


def _rows(profile: DatasetProfile) -> list[dict[str, Any]]:
    return [column.to_dict() for column in summarize(profile)]


def _json(profile: DatasetProfile) -> bytes:
    return json.dumps(_rows(profile), allow_nan=False, indent=1).encode() + b"\n"


def _csv(profile: DatasetProfile) -> bytes:
    rows = [{**row, "frequent_items": json.dumps(row["frequent_items"])} for row in _rows(profile)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(profile: DatasetProfile) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - the other formats do not need it
    import pyarrow.parquet  # noqa: PLC0415 - likewise

    rows = _rows(profile)
    items = pa.list_(
        pa.struct([("value", pa.string()), ("estimate", pa.int64()), ("lower", pa.int64()), ("upper", pa.int64())])
    )
    integers = {
        "n",
        "missing",
        "nan",
        "infinite",
        "true",
        "integral",
        "fractional",
        "boolean",
        "string",
        "object",
        "tensor",
    }
    types = {"name": pa.string(), "type": pa.string(), "frequent_items": items, **dict.fromkeys(integers, pa.int64())}
    names = list(rows[0]) if rows else []
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in names])
    sink = io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


_WRITERS: dict[str, Callable[[DatasetProfile], bytes]] = {
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".bin": lambda profile: profile.serialize(),
}
