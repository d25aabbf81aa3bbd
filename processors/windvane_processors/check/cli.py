"""`windvane check`: a gate for a batch of data."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from windvane._table import aligned, printable
from windvane.baseline import Baseline
from windvane.errors import BaselineError, WindvaneError
from windvane_processors.check.batch import count_batch
from windvane_processors.check.junit import junit_xml
from windvane_processors.check.report import DEFAULT_FAIL_ON, FAIL_ON, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from windvane_processors.check.report import FeatureReport, Report

__all__ = ["command"]

_FINDINGS: Final = 1
_UNUSABLE: Final = 2
_TEXT_COLUMNS: Final = 3
_HEAD: Final = (
    "feature", "role", "verdict", "contribution", "PSI", "noise floor", "Hellinger", "JS", "KS", "Wasserstein",
    "chi2 p", "missing", "violations",
)  # fmt: skip


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--baseline",
    "baseline_file",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What `windvane baseline build` made.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(FAIL_ON),
    default=DEFAULT_FAIL_ON,
    show_default=True,
    help="What makes the batch fail (repeatable). Drift is any beyond chance; small-drift is PSI above 0.05, "
    "moderate-drift above 0.1, large-drift above 0.25; unexpected are columns that the baseline does not know.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the report as JUnit XML, too.")
def command(
    *, data: tuple[Path, ...], baseline_file: Path, fail_on: tuple[str, ...], as_json: bool, junit: Path | None
) -> None:
    """Check a batch of data against a baseline: DATA are .csv, .csv.gz or .parquet files.

    The exit code is 0 where the batch passes, 1 where it fails, and 2 where it cannot be judged.
    """
    began, started = datetime.now(UTC), time.perf_counter()
    try:
        baseline = Baseline.load(baseline_file)
        with _progress(data) as on_file:
            batch = count_batch(data, baseline, on_file)
        report = judge(batch, baseline, fail_on)
        if junit is not None:
            timestamp = began.strftime("%Y-%m-%dT%H:%M:%S")
            _write(junit, junit_xml(report, seconds=time.perf_counter() - started, timestamp=timestamp))
    except WindvaneError as error:
        click.echo(f"windvane: {error}", err=True)
        sys.exit(_UNUSABLE)
    if as_json:
        click.echo(json.dumps({"data": list(map(str, data)), **report.to_dict()}, allow_nan=False))
    else:
        click.echo(_text(report))
    sys.exit(_FINDINGS if report.failed else 0)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror}; name a file in a directory that exists with --junit"
        raise BaselineError(msg) from error


@contextmanager
def _progress(data: Sequence[Path]) -> Iterator[Callable[[Path], Callable[[int], None]] | None]:
    """Show on standard error how far the reading is; nothing where no terminal is there to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    sizes = {path: path.stat().st_size if path.is_file() else 0 for path in data}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"reading {decimal(sum(sizes.values()))}", total=sum(sizes.values()))

        def on_file(path: Path) -> Callable[[int], None]:
            progress.update(task, completed=sum(sizes[before] for before in data[: data.index(path)]))
            return lambda size: progress.advance(task, size)

        yield on_file


def _text(report: Report) -> str:
    """Lay the report out for people: a table, what was found, and at last the verdict."""
    lines = [aligned([_HEAD, *map(_cells, report.features)], left=_TEXT_COLUMNS), ""]
    found = [(finding, feature.name) for feature in report.features for finding in feature.findings] + [
        (finding, name) for name, finding in report.unexpected_columns.items()
    ]
    for finding, name in sorted(found, key=lambda item: not item[0].fails):
        lines.append(f"{'FAIL' if finding.fails else 'note'}  {printable(name)}: {finding.message}")
    baseline = report.baseline
    of = f"{report.rows:,} rows against {baseline.model_name} {baseline.model_version} (baseline {baseline.id})"
    failing = sum(finding.fails for finding, _ in found)
    verdict = f"FAILED: {failing} {'finding' if failing == 1 else 'findings'}" if failing else "PASSED"
    return "\n".join([*lines, *([""] if found else []), f"{verdict}, {of}"])


def _cells(feature: FeatureReport) -> tuple[str, ...]:
    def number(value: float | None, form: str = ".4f") -> str:
        return "" if value is None else format(value, form)

    violations = ", ".join(
        f"{kind} {found.share:.2%}" for kind, found in feature.violations.items() if found.observations
    )
    return (
        printable(feature.name),
        feature.role,
        _verdict(feature),
        number(feature.contribution, ".1%"),
        number(feature.psi),
        number(feature.noise_floor),
        number(feature.hellinger),
        number(feature.js_divergence),
        number(feature.ks),
        number(feature.wasserstein),
        number(feature.chi_squared.p_value, ".2g"),
        number(feature.missing_share, ".2%"),
        violations,
    )


def _verdict(feature: FeatureReport) -> str:
    broken = any(finding.kind in {"violations", "missing column"} for finding in feature.findings)
    if broken:
        return "broken"
    return f"shifted ({feature.grade})" if feature.shifted else "ok"
