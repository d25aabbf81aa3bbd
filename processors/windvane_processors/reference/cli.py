"""`windvane baseline`: makes the reference that live traffic is compared with, and shows it."""

from __future__ import annotations

import json
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from windvane import _baseline_builder as builder
from windvane import semconv
from windvane.baseline import Baseline, Feature
from windvane.bins import DistanceBins, LengthBins, NumericBins, TimeBins
from windvane.errors import BaselineError
from windvane.outcomes import Outcomes
from windvane_processors.reference.files import DataFiles, build_baseline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from windvane.calibration import Calibration
    from windvane.outcomes import Kind

__all__ = ["command"]

_IMPORTANCES: Final = '{"distance": 0.7}'
_ABOUT: Final = '{"distance": {"unit": "mi", "source": "schedule", "team": "data-platform"}}'
_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_WIDTH: Final = 160
_SHOWN_CATEGORIES: Final = 3
_SHOWN_CATEGORY_LENGTH: Final = 16


@click.group(name="baseline", help="Build and read reference statistics.")
def command() -> None:
    """Group the subcommands."""


@command.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", required=True, help="Name of the model.")
@click.option("--version", required=True, help="Version of the model.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="File to write.")
@click.option("--output", metavar="COLUMN", help="Column that holds what the model returned.")
@click.option(
    "--actual",
    metavar="COLUMN",
    help="Column that holds what came true, for estimates of quality; the rows must be new to the model.",
)
@click.option(
    "--outcomes", type=click.Choice(["binary", "multiclass", "regression"]), help="With --actual, what was predicted."
)
@click.option("--threshold", type=float, metavar="SCORE", help="Binary: score from which a prediction is positive.")
@click.option("--tolerance", type=float, metavar="X", help="Regression: by how much a right number may miss.")
@click.option(
    "--probability",
    "probabilities",
    metavar="COLUMN",
    multiple=True,
    help="Multiclass: column with the probability of class 0, then 1 ... (repeatable).",
)
@click.option("--exclude", metavar="COLUMN", multiple=True, help="Column that is not to be watched (repeatable).")
@click.option(
    "--categorical", metavar="COLUMN", multiple=True, help="Integer column that holds names, not amounts (repeatable)."
)
@click.option(
    "--importances",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON object with the importance of every input, in any unit.",
)
@click.option(
    "--about",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="JSON object with unit, source and team of columns, whichever are known.",
)
@click.option("--bins", default=10, show_default=True, metavar="N", help="Bins of a numeric feature, at most.")
@click.option(
    "--min-category-count",
    default=5,
    show_default=True,
    metavar="N",
    help="Categories that occur less often are not written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def build(  # noqa: PLR0913 - one for each option
    *,
    data: tuple[Path, ...],
    model: str,
    version: str,
    out: Path,
    output: str | None,
    actual: str | None,
    outcomes: Kind | None,
    threshold: float | None,
    tolerance: float | None,
    probabilities: tuple[str, ...],
    exclude: tuple[str, ...],
    categorical: tuple[str, ...],
    importances: Path | None,
    about: Path | None,
    bins: int,
    min_category_count: int,
    as_json: bool,
) -> None:
    """Make a baseline of DATA: .csv, .csv.gz or .parquet files, whose rows are in the order they were recorded.

    Files are read twice, in bounded memory. Empty fields, NA, N/A, NaN and null of a CSV file are missing values.
    """
    _check_out(out, data)
    if outcomes is None and (threshold is not None or tolerance is not None):
        msg = "--threshold and --tolerance belong to --outcomes; say what was predicted, such as --outcomes binary"
        raise click.UsageError(msg)
    options = builder.Options(
        model=model,
        version=version,
        output=output,
        actual=actual,
        outcomes=None if outcomes is None else Outcomes(outcomes, threshold=threshold, tolerance=tolerance),
        probabilities=probabilities,
        exclude=exclude,
        categorical=categorical,
        importances=_read_object(importances, _IMPORTANCES) if importances is not None else None,
        about=_read_object(about, _ABOUT) if about is not None else None,
        bins=bins,
        min_category_count=min_category_count,
    )
    names = [*categorical, output] if output is not None and options.is_categorical(output) else categorical
    files = DataFiles(data, exclude=exclude, categorical=names)
    with _progress(files) as on_pass:
        baseline, notes = build_baseline(files, options, on_pass)
    baseline.save(out)
    if as_json:
        click.echo(json.dumps({"path": str(out), **_summary(baseline), "warnings": list(notes)}, allow_nan=False))
        return
    console = _console()
    console.print(_table(baseline))
    _print_calibration(console, baseline)
    for note in notes:
        click.echo(f"warning: {_printable(note)}", err=True)
    console.print(Text(f"Wrote {out} ({decimal(out.stat().st_size)}), id {baseline.id}."))
    console.print(
        Text(f'Next: windvane.Model("{baseline.model_name}", version="{baseline.model_version}", baseline="{out}")')
    )
    console.print(Text(f"Look again: windvane baseline show {shlex.quote(str(out))}"))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON.")
def show(*, file: Path, as_json: bool) -> None:
    """Print what the baseline in FILE says of each feature."""
    baseline = Baseline.load(file)
    if as_json:
        click.echo(json.dumps({"path": str(file), **_summary(baseline)}, allow_nan=False))
        return
    console = _console()
    console.print(_table(baseline))
    _print_calibration(console, baseline)
    if baseline.ignored_columns:
        console.print(Text(f"Not watched: {', '.join(map(_printable, baseline.ignored_columns))}"))
    console.print(Text(f"Made {baseline.created}, id {baseline.id}."))


def _check_out(out: Path, data: tuple[Path, ...]) -> None:
    """Refuse before the data is read what would fail after it."""
    if out.is_dir() or not out.parent.is_dir():
        problem = "is a directory" if out.is_dir() else "its directory does not exist"
        msg = f"{out}: cannot be written: {problem}; name a file with -o"
        raise BaselineError(msg)
    if out.resolve() in {path.resolve() for path in data}:
        msg = f"{out}: is one of the data files; name another file with -o"
        raise BaselineError(msg)


def _read_object(path: Path, example: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        msg = f"{path}: cannot be read: {error.strerror}; check the path"
        raise BaselineError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path}: is no JSON; write an object such as {example}"
        raise BaselineError(msg) from error
    if not isinstance(document, dict) or not document:
        msg = f"{path}: must be a JSON object by column, such as {example}"
        raise BaselineError(msg)
    return document


@contextmanager
def _progress(files: DataFiles) -> Iterator[Callable[[int], Callable[[int], None]]]:
    """Show on standard error how far the two passes are: a bar on a terminal, one line per pass elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:

        def on_pass(number: int) -> Callable[[int], None]:
            click.echo(f"pass {number} of 2: reading {decimal(files.size)}", err=True)
            return lambda _: None

        yield on_pass
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task: TaskID | None = None

        def on_pass_bar(number: int) -> Callable[[int], None]:
            nonlocal task
            if task is None:
                task = progress.add_task("", total=2 * files.size)
            progress.update(task, description=f"pass {number} of 2", completed=(number - 1) * files.size)
            this = task
            return lambda size: progress.advance(this, size)

        yield on_pass_bar


def _console() -> Console:
    """Print to a terminal as wide as it is, and elsewhere so wide that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)


def _table(baseline: Baseline) -> Table:
    title = f"{baseline.model_name} {baseline.model_version}: {len(baseline.features)} features, {baseline.rows:,} rows"
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    table.add_column("feature", overflow="fold")
    table.add_column("role")
    table.add_column("type")
    table.add_column("missing", justify="right")
    table.add_column("values", overflow="fold")
    table.add_column("bins", justify="right")
    table.add_column("histogram")
    table.add_column("dispersion", justify="right")
    importances = any(feature.importance is not None for feature in baseline.features)
    if importances:
        table.add_column("importance", justify="right")
    units = any(feature.unit for feature in baseline.features)
    if units:
        table.add_column("unit")
    sources = any(feature.source or feature.team for feature in baseline.features)
    if sources:
        table.add_column("source", overflow="fold")
    for feature in baseline.features:
        cells = [
            _printable(feature.name),
            feature.role,
            feature.type,
            f"{feature.missing_share:.2%}",
            _values(feature),
            str(len(feature.counts)),
            _histogram(feature),
            f"{feature.dispersion:.4g}",
        ]
        if importances:
            cells.append("" if feature.importance is None else f"{feature.importance:.1%}")
        if units:
            cells.append(_printable(feature.unit or ""))
        if sources:
            owner = f"({feature.team})" if feature.team else ""
            cells.append(_printable(f"{feature.source or ''} {owner}".strip()))
        table.add_row(*map(Text, cells))
    return table


def _print_calibration(console: Console, baseline: Baseline) -> None:
    if baseline.calibration is None:
        return
    quality = ", ".join(f"{name} {value:.4g}" for name, value in _quality(baseline.calibration).items())
    of = baseline.calibration.outcomes
    console.print(Text(f"Quality of the reference ({of.kind}, {baseline.calibration.rows} rows): {quality}"))


def _quality(of: Calibration) -> dict[str, float]:
    """Say how good the reference's own predictions were."""
    found: dict[str, float] = {}
    for cell, value in of.reference:
        if semconv.OUTCOME_RESULT.values[0] in cell.attributes.values():
            found["right"] = value / of.rows
        elif cell.metric is semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR:
            found["mean absolute error"] = value / of.rows
    return found


def _values(feature: Feature) -> str:
    """Write a feature's range, or its most frequent categories."""
    if isinstance(feature.bins, NumericBins):
        return f"{feature.bins.minimum:.6g} to {feature.bins.maximum:.6g}"
    if isinstance(feature.bins, LengthBins):
        return f"{feature.bins.minimum:.6g} to {feature.bins.maximum:.6g} characters"
    if isinstance(feature.bins, DistanceBins):
        return f"{len(feature.bins.centroid)} dimensions, up to {feature.bins.maximum:.6g} from the centroid"
    if isinstance(feature.bins, TimeBins):
        return "times, by the part of the week"
    shown = [
        category if len(category) <= _SHOWN_CATEGORY_LENGTH else category[: _SHOWN_CATEGORY_LENGTH - 1] + "…"
        for category in feature.bins.vocabulary[:_SHOWN_CATEGORIES]
    ]
    more = len(feature.bins.vocabulary) - len(shown)
    return _printable(", ".join(shown)) + (f" and {more} more" if more else "") or "no categories"


def _histogram(feature: Feature) -> str:
    """Draw the counts of the bins, without `null`, relative to the largest."""
    counts = [
        count for label, count in zip(feature.bins.labels, feature.counts, strict=True) if label != semconv.BIN_NULL
    ]
    largest = max(counts)
    return "".join(" " if not count else _BARS[count * (len(_BARS) - 1) // largest] for count in counts)


def _summary(baseline: Baseline) -> dict[str, Any]:
    return {
        "id": baseline.id,
        "model": {"name": baseline.model_name, "version": baseline.model_version},
        "created": baseline.created,
        "rows": baseline.rows,
        "ignored_columns": list(baseline.ignored_columns),
        "calibration": None if baseline.calibration is None else _calibration(baseline.calibration),
        "features": [
            {
                "name": feature.name,
                "role": feature.role,
                "type": feature.type,
                "missing_share": feature.missing_share,
                "values": _values(feature),
                "bins": len(feature.counts),
                "dispersion": feature.dispersion,
                "importance": feature.importance,
                "unit": feature.unit,
                "source": feature.source,
                "team": feature.team,
            }
            for feature in baseline.features
        ],
    }


def _calibration(of: Calibration) -> dict[str, Any]:
    return {
        "kind": of.outcomes.kind,
        "threshold": of.outcomes.threshold,
        "tolerance": of.outcomes.tolerance,
        "rows": of.rows,
        "quality": _quality(of),
    }


def _printable(text: str) -> str:
    """Show what would steer the terminal as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
