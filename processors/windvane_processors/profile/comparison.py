"""Compares a profile with a reference, column by column: what has drifted, how much, and what it may be."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from windvane import semconv
from windvane._table import printable
from windvane.baseline import Baseline, Feature
from windvane.bins import CategoryBins, LengthBins, NumericBins, TimeBins
from windvane.errors import ProfileError
from windvane.snapshot import MIN_OBSERVATIONS
from windvane_processors import statistics
from windvane_processors.check.batch import similar_name
from windvane_processors.check.report import GRADES
from windvane_processors.profile.distributions import (
    Categories,
    category_counts,
    count_numbers,
    dispersion_of_sketches,
    number_edges,
    sample_of,
    share_error,
)
from windvane_processors.profile.summary import QUANTILES, rows_of, summarize_column, value_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from windvane.profiles import ColumnProfile, DatasetProfile
    from windvane_processors.statistics import ChiSquared, Conversion

__all__ = [
    "CategoryShare",
    "ColumnComparison",
    "Comparison",
    "Curve",
    "Histogram",
    "Side",
    "compare",
    "describe",
    "sentence",
]

_NUMBERS: Final = frozenset({"float", "integer", "boolean"})
_NOTHING: Final = np.empty(0)
_SHOWN_NAMES: Final = 5
_SHOWN_CATEGORIES: Final = 10
_EXPECTED: Final = 10
"""So often a category must have been expected where it is missing: chance leaves it out once in 20,000 times."""

_DEVIATIONS: Final = 4.0
"""So many standard deviations the counts of a category must be apart; hundreds of rare ones are looked at."""

_MISSING_ROSE: Final = 3.29
"""Standard deviations that a share of missing values moves by chance once in a thousand times."""

_CURVE_RANKS: Final = (0.001, 0.005, *(i / 30 for i in range(1, 30)), 0.995, 0.999)
_MUCH_LEFT_OUT: Final = 0.05
_TINY: Final = 1e-300
_CUT: Final = 128
"""Characters of a text that a profile keeps as a frequent item."""

_NO_BINS: Final = {
    LengthBins: "free text is watched by its length, which profiles do not hold",
    TimeBins: "times are watched by the part of the week, which profiles do not hold",
}


class Side(NamedTuple):
    """What one side says of a column; what it does not know is None.

    Attributes:
        type: what most values are, as of `ColumnSummary`.
        observations: values, missing ones included.
        missing_share: share of values that are missing.
        mean: of the numbers.
        standard_deviation: of the numbers.
        minimum: least number.
        median: of the numbers.
        maximum: greatest number.
        distinct: distinct values, estimated.
    """

    type: str
    observations: int
    missing_share: float
    mean: float | None = None
    standard_deviation: float | None = None
    minimum: float | None = None
    median: float | None = None
    maximum: float | None = None
    distinct: float | None = None


class Histogram(NamedTuple):
    """Shares of the values of both sides in the same bins.

    Attributes:
        kind: `numeric`, in the order of the numbers, or `categorical`, most frequent first.
        bins: what each bin holds; the last two are missing values and all others.
        reference: shares of the reference, shape (B,).
        current: shares of the current values, shape (B,).
        edges: inner edges of numeric bins, shape (B - 3,); none for categories.
    """

    kind: str
    bins: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    edges: tuple[float, ...]


class Curve(NamedTuple):
    """Points of a distribution function: the share of numbers up to each value.

    Attributes:
        values: not decreasing, shape (n,).
        shares: likewise.
    """

    values: tuple[float, ...]
    shares: tuple[float, ...]


class CategoryShare(NamedTuple):
    """A category and its share of the values."""

    value: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnComparison:
    """How a column compares with the reference.

    docs/statistics.md says what each statistic means.

    Attributes:
        name: name of the column.
        verdict: `shifted` or `stable`; `missing` where the current profile, `new` where the reference does not
            have the column; `too few` below 100 values; `not compared` where there is nothing to compare by.
        note: what a person should know beside it; empty where there is nothing.
        reference: what the reference says of it; None where it does not have it.
        current: what the current profile says of it; likewise.
        importance: the input's share in the model's decisions; None where it is not known.
        contribution: the column's share of all drift beyond chance, PSI above the noise floor weighted by
            importance (equally where there is none); None where PSI is, and for a model's output.
        psi: population stability index; this and what follows is None where there is nothing to compare by.
        noise_floor: the PSI that chance alone passes once in a thousand times.
        grade: how large a shift is: slight, small, moderate or large; None where there is none.
        js_divergence: Jensen-Shannon divergence in bits, 0 to 1.
        hellinger: Hellinger distance, 0 to 1.
        chi_squared: Pearson's test.
        ks: Kolmogorov-Smirnov statistic; None for categories.
        wasserstein: Wasserstein distance in standard deviations of the reference; None for categories, and
            where the reference does not vary.
        unit_change: conversions of units that map the reference onto the current values.
        new_categories: categories that the reference, had they been as frequent, would have shown; at most 10.
        vanished_categories: those of the reference that the current values would show; at most 10.
        histogram: both sides by bins.
        curves: distribution functions of reference and current numbers; None for categories.
    """

    name: str
    verdict: str
    note: str = ""
    reference: Side | None = None
    current: Side | None = None
    importance: float | None = None
    contribution: float | None = None
    psi: float | None = None
    noise_floor: float | None = None
    grade: str | None = None
    js_divergence: float | None = None
    hellinger: float | None = None
    chi_squared: ChiSquared | None = None
    ks: float | None = None
    wasserstein: float | None = None
    unit_change: tuple[Conversion, ...] = ()
    new_categories: tuple[CategoryShare, ...] = ()
    vanished_categories: tuple[CategoryShare, ...] = ()
    histogram: Histogram | None = None
    curves: tuple[Curve, Curve] | None = None

    @property
    def drifted(self) -> bool:
        """Whether the column has shifted, or is gone."""
        return self.verdict in {"shifted", "missing"}

    @property
    def missing_change(self) -> float | None:
        """By how much the share of missing values has changed; None where one side is unknown."""
        if self.reference is None or self.current is None:
            return None
        return self.current.missing_share - self.reference.missing_share

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in words; none for a column that is as it was."""
        found = []
        if self.verdict == "shifted":
            found.append(
                f"{self.grade} shift: PSI {self.psi:.3g}, of which chance explains up to {self.noise_floor:.3g}"
            )
        if self.unit_change:
            found.append(f"a change of unit? {' or '.join(str(unit).rstrip('?') for unit in self.unit_change)}")
        if self.note:
            found.append(self.note)
        if self._missing_changed():
            found.append(f"missing values {_percent(self.reference)} before, {_percent(self.current)} now")
        for categories, verb in ((self.new_categories, "new"), (self.vanished_categories, "vanished")):
            if categories:
                listed = ", ".join(f"{printable(value)} ({share:.2%})" for value, share in categories)
                found.append(f"{verb}: {listed}")
        return tuple(found)

    def _missing_changed(self) -> bool:
        if self.reference is None or self.current is None or self.verdict == "too few":
            return False
        n, m = self.current.observations, self.reference.observations
        if not n or not m:
            return False
        share = (n * self.current.missing_share + m * self.reference.missing_share) / (n + m)
        chance = math.sqrt(share * (1 - share) * (1 / n + 1 / m))
        return abs(self.current.missing_share - self.reference.missing_share) > _MISSING_ROSE * chance

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON; docs/profile-command.md describes it."""
        document = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "curves"}
        for part in ("reference", "current", "chi_squared", "histogram"):
            document[part] = None if document[part] is None else document[part]._asdict()
        for part in ("new_categories", "vanished_categories"):
            document[part] = [category._asdict() for category in document[part]]
        document["unit_change"] = [
            {"factor": unit.factor, "offset": unit.offset, "units": [list(pair) for pair in unit.units]}
            for unit in self.unit_change
        ]
        return {**document, "missing_change": self.missing_change, "findings": list(self.findings)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a profile compares with a reference.

    Attributes:
        reference: the profile or baseline that was compared with.
        current: the profile that was compared.
        columns: those that are missing first, then by contribution, then by PSI over its noise floor.
    """

    reference: DatasetProfile | Baseline
    current: DatasetProfile
    columns: tuple[ColumnComparison, ...]

    @property
    def drifted(self) -> bool:
        """Whether any column has shifted, or is gone."""
        return any(column.drifted for column in self.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON; docs/profile-command.md describes it."""
        return {
            "drifted": self.drifted,
            "reference": describe(self.reference),
            "current": describe(self.current),
            "columns": [column.to_dict() for column in self.columns],
        }


def describe(side: DatasetProfile | Baseline) -> dict[str, Any]:
    """Say what one side is: of which model and time it is, and how many rows it has."""
    if isinstance(side, Baseline):
        return {
            "kind": "baseline",
            "model": side.model_name,
            "version": side.model_version,
            "time": side.created,
            "rows": side.rows,
        }
    return {
        "kind": "profile",
        "model": side.metadata.get(semconv.MODEL_NAME.name),
        "version": side.metadata.get(semconv.MODEL_VERSION.name),
        "time": side.dataset_timestamp.isoformat(timespec="seconds"),
        "rows": rows_of(side),
    }


def moment(time: str) -> str:
    """Write an ISO 8601 time with a zone for people, in UTC to the minute."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def sentence(comparison: Comparison) -> str:
    """Say in one sentence how many columns have drifted, and what was compared with what."""

    def name(side: DatasetProfile | Baseline) -> str:
        about = describe(side)
        of = " ".join(printable(about[part]) for part in ("model", "version") if about[part])
        return f"{f'{of}, ' if of else ''}{about['rows']:,} rows of {moment(about['time'])}"

    verdicts = Counter(column.verdict for column in comparison.columns)
    compared = verdicts["shifted"] + verdicts["stable"]
    parts = [f"{verdicts['shifted']} of {compared} columns shifted"]
    parts += [f"{verdicts[kind]} {kind}" for kind in ("missing", "new", "too few", "not compared") if verdicts[kind]]
    return f"{', '.join(parts)}: {name(comparison.current)} against {name(comparison.reference)}."


def compare(reference: DatasetProfile | Baseline, current: DatasetProfile) -> Comparison:
    """Compare a profile with another one, or with a baseline.

    Numbers are counted in the reference's deciles, from the sketches of both sides; with a baseline, in its own
    bins. Categories are counted by the frequent items of both sides: the reference's 20 most frequent ones, and
    all others together.

    Args:
        reference: what is compared with.
        current: what is compared.

    Raises:
        ProfileError: one side has no columns, or both have none in common.
    """
    known = (
        {f.name: f for f in reference.features if f.role == "input" or f.name in current.columns}
        if isinstance(reference, Baseline)
        else dict(reference.columns)
    )
    ignored = set(reference.ignored_columns) if isinstance(reference, Baseline) else set[str]()
    unknown = [name for name in current.columns if name not in known and name not in ignored]
    if not set(known) & set(current.columns):
        msg = (
            f"reference and current profile have no column in common ({_some(known)} and {_some(current.columns)}); "
            "check that they are of the same model"
        )
        raise ProfileError(msg)
    columns = [_compare_column(name, side, current.columns.get(name), unknown) for name, side in known.items()]
    columns += [_new_column(name, current.columns[name], set(known) - set(current.columns)) for name in unknown]
    columns = _with_contributions(columns, reference)
    columns.sort(key=_rank, reverse=True)
    return Comparison(reference=reference, current=current, columns=tuple(columns))


def _rank(column: ColumnComparison) -> tuple[bool, float, float, bool]:
    beyond = column.psi / column.noise_floor if column.psi is not None and column.noise_floor else 0.0
    return column.verdict == "missing", column.contribution or 0.0, beyond, column.verdict == "new"


def _with_contributions(
    columns: list[ColumnComparison], reference: DatasetProfile | Baseline
) -> list[ColumnComparison]:
    """Share the drift beyond chance among the columns; a model's output explains none of it."""
    outputs = {f.name for f in reference.features if f.role == "output"} if isinstance(reference, Baseline) else set()
    beyond = {}
    for column in columns:
        if column.psi is not None and column.noise_floor is not None and column.name not in outputs:
            excess = max(0.0, column.psi - column.noise_floor) if column.verdict == "shifted" else 0.0
            beyond[column.name] = excess * (1.0 if column.importance is None else column.importance)
    total = sum(beyond.values())
    return [
        replace(column, contribution=beyond[column.name] / total if total else 0.0) if column.name in beyond else column
        for column in columns
    ]


class _Reference(NamedTuple):
    """What a reference knows of a column.

    Attributes:
        side: what it says of it.
        kind: `numeric` or `categorical`; None where there is nothing to compare by.
        note: why not.
        importance: the input's share in the model's decisions.
        dispersion: how many times more blocks of its rows differ than independent rows would.
        edges: inner edges of numeric bins.
        counts: of numeric bins.
        sample: finite numbers; empty where the counts are all there is.
        share_error: of its sketch of numbers.
        categories: of a categorical column.
        names: categories with a bin of their own.
        vocabulary: all categories that it knows.
    """

    side: Side
    kind: str | None = None
    note: str = ""
    importance: float | None = None
    dispersion: float = 1.0
    edges: tuple[float, ...] = ()
    counts: NDArray[np.float64] = _NOTHING
    sample: NDArray[np.float64] = _NOTHING
    share_error: float = 0.0
    categories: Categories | None = None
    names: tuple[str, ...] = ()
    vocabulary: frozenset[str] = frozenset()


def _reference_of(side: ColumnProfile | Feature) -> _Reference:
    return _of_feature(side) if isinstance(side, Feature) else _of_profile(side)


def _of_profile(column: ColumnProfile) -> _Reference:
    side = _side(column)
    if column.quantiles is not None and side.type in _NUMBERS:
        sample = sample_of(column)
        edges = number_edges(sample, whole=side.type != "float")
        return _Reference(
            side,
            "numeric",
            edges=edges,
            counts=count_numbers(column, edges),
            sample=sample,
            share_error=share_error(column),
        )
    if side.type == "string":
        if column.frequent_items is None:
            return _Reference(
                side, note="the profile was made without frequent items, which categories are compared by"
            )
        categories = Categories.of(column)
        return _Reference(
            side,
            "categorical",
            categories=categories,
            names=categories.most_frequent(),
            vocabulary=frozenset(categories.counts),
        )
    note = "the reference has no values" if side.type == "empty" else f"values of type {side.type} are only counted"
    return _Reference(side, note=note)


def _of_feature(feature: Feature) -> _Reference:
    bins = feature.bins
    side = Side(feature.type, feature.rows, feature.missing_share)
    if isinstance(bins, NumericBins):
        return _Reference(
            side._replace(minimum=bins.minimum, maximum=bins.maximum),
            "numeric",
            importance=feature.importance,
            dispersion=feature.dispersion,
            edges=bins.edges,
            counts=np.array(feature.counts, dtype=np.float64),
        )
    if isinstance(bins, CategoryBins):
        counts: Counter[str] = Counter()
        for category, count in zip(bins.vocabulary, feature.counts[: bins.size], strict=False):
            counts[category[:_CUT]] += count
        unlisted = feature.violations[semconv.VIOLATION_KIND.values.index("category")]
        categories = Categories(
            n=feature.rows,
            null=feature.counts[-2],
            counts={name: (count, count) for name, count in counts.items()},
            absent=unlisted,
            left_out=0,
        )
        return _Reference(
            side,
            "categorical",
            importance=feature.importance,
            dispersion=feature.dispersion,
            categories=categories,
            names=tuple(counts),
            vocabulary=frozenset(category[:_CUT] for category in bins.vocabulary),
        )
    note = next((note for kind, note in _NO_BINS.items() if isinstance(bins, kind)), "")
    return _Reference(side, note=note, importance=feature.importance)


def _side(column: ColumnProfile) -> Side:
    summary = summarize_column("", column)
    return Side(
        summary.type,
        summary.n,
        summary.missing_share,
        summary.mean,
        summary.standard_deviation,
        summary.minimum,
        summary.quantiles[QUANTILES.index(0.5)],
        summary.maximum,
        summary.distinct,
    )


def _new_column(name: str, column: ColumnProfile, missing: Collection[str]) -> ColumnComparison:
    similar = similar_name(name, sorted(missing))
    note = f"the reference has no such column; was it {printable(similar)!r}?" if similar else ""
    return ColumnComparison(
        name=name, verdict="new", note=note or "the reference has no such column", current=_side(column)
    )


def _compare_column(
    name: str, side: ColumnProfile | Feature, column: ColumnProfile | None, unknown: Sequence[str]
) -> ColumnComparison:
    reference = _reference_of(side)
    if column is None:
        similar = similar_name(name, unknown)
        hint = f"; was it renamed to {printable(similar)!r}?" if similar else ""
        return ColumnComparison(
            name=name,
            verdict="missing",
            note=f"the current profile has no such column{hint}",
            reference=reference.side,
            importance=reference.importance,
        )
    current = _side(column)
    result = ColumnComparison(
        name=name,
        verdict="not compared",
        note=reference.note,
        reference=reference.side,
        current=current,
        importance=reference.importance,
    )
    least = min(reference.side.observations, current.observations)
    if not least:
        return replace(result, verdict="too few", note="one side has no values at all")
    if reference.kind is None:
        return result
    categorical = column.types.string + column.types.integral + column.types.boolean
    if reference.kind == "categorical" and column.frequent_items is None and categorical:
        return replace(result, note="the profile was made without frequent items, which categories are compared by")
    result = _judged(result, reference, column)
    if least < MIN_OBSERVATIONS:
        note = f"less than {MIN_OBSERVATIONS} values say nothing about a distribution"
        return replace(result, verdict="too few", grade=None, unit_change=(), note=note)
    return result


def _judged(result: ColumnComparison, reference: _Reference, column: ColumnProfile) -> ColumnComparison:
    """Compute the statistics of a column that both sides have values of."""
    current_type = value_type(column)
    note = ""
    if reference.categories is None:
        before, now = reference.counts, count_numbers(column, reference.edges)
        error = share_error(column)
        dispersion = reference.dispersion * dispersion_of_sketches(before[:-2], now[:-2], reference.share_error, error)
        labels = _number_labels(reference.edges, whole=reference.side.type in {"integer", "boolean"})
        result = _with_numbers(result, reference, column, before, now)
    else:
        current = Categories.of(column)
        before, now = category_counts(reference.categories, current, reference.names)
        dispersion = reference.dispersion
        labels = reference.names
        left_out = max(side.left_out / side.n for side in (reference.categories, current))
        if left_out > _MUCH_LEFT_OUT:
            note = f"{left_out:.0%} of the values were too rare to be named and may be of any category"
        result = replace(
            result,
            new_categories=_unexpected(current, reference.categories, reference.vocabulary),
            vanished_categories=_unexpected(reference.categories, current, frozenset(current.counts)),
        )
    psi = statistics.psi(now, before)
    floor = statistics.noise_floor(now, before, dispersion=dispersion)
    shifted = psi > floor
    changed_type = _group(current_type) != _group(reference.side.type) and current_type != "empty"
    return replace(
        result,
        verdict="shifted" if shifted else "stable",
        note=f"values were of type {reference.side.type} and now are of type {current_type}" if changed_type else note,
        psi=psi,
        noise_floor=floor,
        grade=next(grade for grade, least in reversed(GRADES.items()) if psi > least) if shifted else None,
        js_divergence=statistics.js_divergence(now, before),
        hellinger=statistics.hellinger(now, before),
        chi_squared=statistics.chi_squared(now, before, dispersion=dispersion),
        unit_change=result.unit_change if shifted else (),
        histogram=Histogram(
            reference.kind or "",
            (*labels, "missing", "other"),
            tuple((before / before.sum()).tolist()),
            tuple((now / now.sum()).tolist()),
            reference.edges,
        ),
    )


def _with_numbers(
    result: ColumnComparison,
    reference: _Reference,
    column: ColumnProfile,
    before: NDArray[np.float64],
    now: NDArray[np.float64],
) -> ColumnComparison:
    """Add what only numbers have: statistics of their order, curves, and whether their unit has changed."""
    sample = sample_of(column)
    if not sample.size or not before[:-2].any():
        return result
    curve = _curve(sample)
    if reference.sample.size:
        scale = reference.side.standard_deviation or 0.0
        return replace(
            result,
            ks=statistics.ks_of_samples(sample, reference.sample),
            wasserstein=statistics.wasserstein_of_samples(sample, reference.sample, scale=scale) if scale > 0 else None,
            unit_change=statistics.unit_change_of_samples(sample, reference.sample),
            curves=(_curve(reference.sample), curve),
        )
    edges = reference.edges
    cumulative = np.cumsum(before[:-2]) / before[:-2].sum()
    limits = (reference.side.minimum, *edges, reference.side.maximum)
    known = Curve(tuple(float(limit or 0.0) for limit in limits), (0.0, *cumulative.tolist()))
    wasserstein = None
    if len(edges) > 1:
        places = (edges[0], *edges, edges[-1])
        deviation = statistics.standard_deviation(before[:-2], places)
        if deviation and now[:-2].any():
            wasserstein = statistics.wasserstein(now[:-2], before[:-2], places, scale=deviation)
    return replace(
        result,
        ks=statistics.ks(now[:-2], before[:-2]) if now[:-2].any() else None,
        wasserstein=wasserstein,
        unit_change=statistics.unit_change(sample, before[:-2], edges),
        curves=(known, curve),
    )


def _curve(sample: NDArray[np.float64]) -> Curve:
    places = np.minimum((np.array(_CURVE_RANKS) * sample.size).astype(np.intp), sample.size - 1)
    return Curve(tuple(sample[places].tolist()), _CURVE_RANKS)


def _unexpected(one: Categories, other: Categories, known: frozenset[str]) -> tuple[CategoryShare, ...]:
    """Return the categories of one side that the other, with its own number of values, should have shown."""
    unseen = other.absent + other.left_out
    found = []
    for category, (low, _) in one.counts.items():
        share = low / one.n
        by_chance = _DEVIATIONS * math.hypot(math.sqrt(low) / one.n, math.sqrt(unseen) / other.n)
        if category not in known and share - unseen / other.n > by_chance and share * other.n >= _EXPECTED:
            found.append(CategoryShare(category, share))
    return tuple(found[:_SHOWN_CATEGORIES])


def _number_labels(edges: tuple[float, ...], *, whole: bool) -> tuple[str, ...]:
    if not edges:
        return ("all numbers",)
    names = [f"{edge if abs(edge) > _TINY else 0.0:.6g}" for edge in edges]
    # The edge of a frequent value is the number next to it, which looks like the value itself.
    labels = [f"{'below' if float(names[0]) > edges[0] else 'up to'} {names[0]}"]
    for (low, high), (low_name, high_name) in zip(pairwise(edges), pairwise(names), strict=True):
        one_value = low_name == high_name or (whole and math.floor(high) - math.floor(low) == 1)
        labels.append(high_name if one_value else f"{low_name} to {high_name}")
    return (*labels, f"above {names[-1]}")


def _group(value_type_: str) -> str:
    return "number" if value_type_ in _NUMBERS else value_type_


def _percent(side: Side | None) -> str:
    return "" if side is None else f"{side.missing_share:.2%}"


def _some(names: Iterable[str]) -> str:
    listed = [printable(name) for name in islice(names, _SHOWN_NAMES)]
    return ", ".join(listed) or "none"
