"""`windvane budget`: how many series a model costs, and what a limit leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from windvane._table import aligned, printable
from windvane.baseline import Baseline
from windvane.budget import SERIES_LIMIT, Budget, budget
from windvane.outcomes import KINDS, Kind, Outcomes, check_fit

__all__ = ["command"]


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path), required=False)
@click.option(
    "--feature",
    "features",
    multiple=True,
    metavar="NAME",
    help="An input of a model without a baseline; once for each.",
)
@click.option(
    "--event-time",
    "event_times",
    multiple=True,
    metavar="[FEATURE=]COLUMN",
    help="A column of event times, and the feature whose age it gives; once for each.",
)
@click.option("--outcomes", "kind", type=click.Choice(KINDS), help="The kind of outcomes that the model declares.")
@click.option("--segment", metavar="NAME", help="The input by whose bins outcomes are told apart.")
@click.option(
    "--replicas",
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that serve the model: pods times workers of each.",
)
@click.option(
    "--limit", type=int, metavar="N", help=f"Series allowed per process; by default {SERIES_LIMIT}, else 10,000."
)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def command(
    baseline: Path | None,
    features: tuple[str, ...],
    event_times: tuple[str, ...],
    kind: Kind | None,
    segment: str | None,
    replicas: int,
    limit: int | None,
    *,
    as_json: bool,
) -> None:
    """Compute how many time series a model costs, before it runs.

    BASELINE is the file that `windvane baseline build` made; for a model without one, name its inputs. Features
    that a service leaves out to hold the limit are marked and named; the least important ones go first.
    """
    if (baseline is None) == (not features):
        msg = "give the BASELINE, or for a model without one each input as --feature"
        raise click.UsageError(msg)
    if segment is not None and kind is None:
        msg = "--segment goes with --outcomes"
        raise click.UsageError(msg)
    loaded = None if baseline is None else Baseline.load(baseline)
    outcomes = None if kind is None else Outcomes(kind, segment=segment)
    if outcomes is not None:
        check_fit(outcomes, loaded, None)
    computed = budget(
        loaded,
        features=features,
        event_times=dict(map(_feature_and_column, event_times)),
        outcomes=outcomes,
        limit=limit,
        replicas=replicas,
    )
    click.echo(json.dumps(_document(computed), indent=2) if as_json else _text(computed))


def _feature_and_column(text: str) -> tuple[str, str]:
    feature, _, column = text.partition("=")
    return feature, column or feature


def _document(of: Budget) -> dict[str, object]:
    return {
        "limit": of.limit,
        "replicas": of.replicas,
        "model": of.model,
        "errors_at_most": of.errors,
        "per_process": of.per_process,
        "total": of.total,
        "needed": of.needed,
        "left_out": of.left_out,
        "features": [{**feature._asdict(), "series": feature.series} for feature in of.features],
    }


def _text(of: Budget) -> str:
    rows = [("feature", "role", "", "observations", "violations", "reference", "series")]
    rows += [
        (
            printable(feature.name),
            feature.role,
            "" if feature.kept else "left out",
            f"{feature.observations:,}",
            f"{feature.violations:,}",
            f"{feature.reference:,}",
            f"{feature.series:,}",
        )
        for feature in of.features
    ]
    lines = [
        aligned(rows, left=3),
        "",
        f"of the model itself: {of.model:,}",
        f"per process: {of.per_process:,}, the limit is {of.limit:,}",
        f"over {of.replicas:,} replicas: {of.total:,}",
        f"on top, where calls fail: {of.errors:,} per process at most, by type of error",
    ]
    if of.left_out:
        names = ", ".join(map(printable, of.left_out))
        lines += [
            "",
            f"{len(of.left_out):,} of {len(of.features):,} features are left out: {names}",
            f"{SERIES_LIMIT}={of.needed} keeps all",
        ]
    return "\n".join(lines)
