"""`windvane profile show`: what a profile says of each column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from windvane._table import printable
from windvane_processors.profile.comparison import describe
from windvane_processors.profile.options import console, selection_options
from windvane_processors.profile.sources import Selection, check_selection, read_profile
from windvane_processors.profile.summary import QUANTILES, summarize

if TYPE_CHECKING:
    from datetime import datetime

    from windvane_processors.profile.summary import ColumnSummary

__all__ = ["command"]

_SHOWN_RANKS: Final = (0.05, 0.5, 0.95)
_SHOWN_ITEMS: Final = 3
_HEAD: Final = ("column", "type", "n", "missing", "mean", "sd", "min", "5 %", "median", "95 %", "max", "distinct")


@click.command()
@click.argument("source")
@selection_options
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(
    *, source: str, model: str | None, version: str | None, begin: datetime | None, end: datetime | None, as_json: bool
) -> None:
    """Print what the profile in SOURCE says of each column."""
    chosen = Selection(model, version, begin, end)
    check_selection(chosen, [source])
    profile = read_profile(source, chosen)
    columns = summarize(profile)
    about = describe(profile)
    if as_json:
        document = {
            **about,
            "created": profile.creation_timestamp.isoformat(timespec="seconds"),
            "metadata": dict(profile.metadata),
            "columns": [column.to_dict() for column in columns],
        }
        click.echo(json.dumps(document, allow_nan=False))
        return
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(_HEAD):
        table.add_column(head, justify="left" if i < 2 else "right", overflow="fold", no_wrap=i > 0)  # noqa: PLR2004 - texts
    table.add_column("most frequent", overflow="fold")
    for column in columns:
        table.add_row(*map(Text, _cells(column)))
    screen = console()
    screen.print(table)
    of = " ".join(printable(part) for part in (about["model"], about["version"]) if part)
    screen.print(
        Text(f"{f'{of}: ' if of else ''}{about['rows']:,} rows, {len(columns):,} columns, of {about['time']}.")
    )


def _cells(column: ColumnSummary) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.5g}"

    low, middle, high = (number(column.quantiles[QUANTILES.index(rank)]) for rank in _SHOWN_RANKS)
    shown = [f"{printable(item.value)} {item.estimate / column.n:.1%}" for item in column.frequent_items[:_SHOWN_ITEMS]]
    more = len(column.frequent_items) - len(shown)
    return (
        printable(column.name),
        column.type,
        f"{column.n:,}",
        f"{column.missing_share:.2%}",
        number(column.mean),
        number(column.standard_deviation),
        number(column.minimum),
        low,
        middle,
        high,
        number(column.maximum),
        "" if column.distinct is None else f"{column.distinct:,.0f}",
        ", ".join(shown) + (f" and {more} more" if more else ""),
    )
