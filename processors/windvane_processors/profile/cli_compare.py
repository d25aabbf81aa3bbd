"""`windvane profile compare`: what has drifted between two profiles, or since a baseline."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.table import Table
from rich.text import Text

from windvane._table import printable
from windvane.errors import ProfileError
from windvane_processors.profile.comparison import compare, sentence
from windvane_processors.profile.options import TIME, console, selection_options
from windvane_processors.profile.page import html_page
from windvane_processors.profile.sources import (
    STDIN,
    Selection,
    check_selection,
    read_profile,
    read_reference,
    write_file,
)

if TYPE_CHECKING:
    from datetime import datetime

    from windvane_processors.profile.comparison import ColumnComparison, Comparison

__all__ = ["command"]

_DRIFTED: Final = 2
_HEAD: Final = (
    "column", "type", "verdict", "contribution", "PSI", "noise floor", "JS", "Hellinger", "KS", "Wasserstein", "chi2 p",
    "missing",
)  # fmt: skip
_TEXT_COLUMNS: Final = 3


@click.command()
@click.argument("reference")
@click.argument("current")
@selection_options
@click.option("--reference-version", help="Version to take of the reference's store; by default --version.")
@click.option("--reference-from", "reference_begin", type=TIME, help="Begin of the time to take of it.")
@click.option("--reference-to", "reference_end", type=TIME, help="End of that time.")
@click.option("--fail-on-drift", is_flag=True, help="Exit with 2 where a column has shifted or is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as one JSON object.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="Write it as one HTML page, too.")
def command(
    *,
    reference: str,
    current: str,
    model: str | None,
    version: str | None,
    begin: datetime | None,
    end: datetime | None,
    reference_version: str | None,
    reference_begin: datetime | None,
    reference_end: datetime | None,
    fail_on_drift: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    """Compare the profile in CURRENT with REFERENCE: another profile, or a baseline (.json).

    The options choose from a store: --model of both, --version, --from and --to of CURRENT.
    """
    if reference == current == STDIN:
        msg = "standard input: cannot be both sides; name a file for one of them"
        raise ProfileError(msg)
    before = Selection(model, reference_version or version, reference_begin, reference_end)
    now = Selection(model, version, begin, end)
    check_selection(before._replace(model=None, version=reference_version), [reference])
    check_selection(now._replace(model=None, version=None), [current])
    check_selection(now, [reference, current])
    comparison = compare(read_reference(reference, before), read_profile(current, now))
    if html is not None:
        write_file(html, html_page(comparison).encode(), force=True)
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), allow_nan=False))
    else:
        _print(comparison)
    if fail_on_drift and comparison.drifted:
        sys.exit(_DRIFTED)


def _print(comparison: Comparison) -> None:
    """Lay the comparison out for people: a table, what was found, and at last how many have drifted."""
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(_HEAD):
        table.add_column(head, justify="left" if i < _TEXT_COLUMNS else "right", overflow="fold", no_wrap=i > 0)
    for column in comparison.columns:
        table.add_row(*map(Text, _cells(column)))
    screen = console()
    screen.print(table)
    found = [(column.name, finding) for column in comparison.columns for finding in column.findings]
    if found:
        screen.print()
    for name, finding in found:
        screen.print(Text(f"{printable(name)}: {finding}"))
    screen.print()
    screen.print(Text(sentence(comparison)))


def _cells(column: ColumnComparison) -> tuple[str, ...]:
    def number(value: float | None, form: str = ".4f") -> str:
        return "" if value is None else format(value, form)

    side = column.reference or column.current
    missing = "" if column.current is None else f"{column.current.missing_share:.2%}"
    if column.missing_change:
        missing = f"{column.missing_change * 100:+.2f} to {missing}"
    return (
        printable(column.name),
        "" if side is None else side.type,
        f"{column.verdict} ({column.grade})" if column.grade else column.verdict,
        number(column.contribution, ".1%"),
        number(column.psi),
        number(column.noise_floor),
        number(column.js_divergence),
        number(column.hellinger),
        number(column.ks),
        number(column.wasserstein),
        "" if column.chi_squared is None else f"{column.chi_squared.p_value:.2g}",
        missing,
    )
