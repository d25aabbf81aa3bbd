"""Judges what was counted: what has drifted, what is broken, and whether the batch passes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from windvane import semconv
from windvane.bins import NumericBins
from windvane.errors import BaselineError
from windvane.snapshot import MIN_OBSERVATIONS
from windvane_processors import statistics
from windvane_processors.check.batch import similar_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from windvane.baseline import Baseline, Feature, FeatureType, Role
    from windvane_processors.check.batch import Batch, Tally
    from windvane_processors.statistics import ChiSquared, Conversion

__all__ = ["BROKEN_EXCESS", "FAIL_ON", "GRADES", "FeatureReport", "Finding", "Report", "Violations", "judge"]

BROKEN_EXCESS: Final = 0.25
"""Excess share of violating values above which a feature is broken, as in the alert MLFeatureBroken."""

GRADES: Final = {"slight": 0.0, "small": 0.05, "moderate": 0.1, "large": 0.25}
"""PSI above which a shift has this grade, as in the alert MLFeatureDrift."""

FAIL_ON: Final = ("violations", "drift", "small-drift", "moderate-drift", "large-drift", "unexpected")
"""What can be made to fail a batch; each drift includes those larger than it."""

DEFAULT_FAIL_ON: Final = ("violations", "drift")
_LEAST_GRADE: Final = {"drift": "slight", "small-drift": "small", "moderate-drift": "moderate", "large-drift": "large"}


class Finding(NamedTuple):
    """Something that a person should know about a feature or column.

    Attributes:
        kind: `missing column`, `violations`, `drift` or `unexpected`.
        fails: whether the batch fails by it.
        message: what was found, and what to look for.
    """

    kind: str
    fails: bool
    message: str


class Violations(NamedTuple):
    """Values of a feature that the baseline does not allow, of one kind.

    Attributes:
        observations: how many there are in the batch.
        share: of the batch's values.
        reference_share: of the reference's values.
        excess: of the values that the reference would have in order, the share that is not.
    """

    observations: int
    share: float
    reference_share: float
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReport:
    """How a batch's values of one feature compare with the reference.

    docs/statistics.md says what each statistic means.

    Attributes:
        name: name of the feature.
        role: what it is to the model.
        type: type of the reference's values.
        observations: values counted, missing ones included.
        importance: the input's share in the model's decisions; None where it is not known.
        contribution: the input's share of all inputs' drift beyond chance, PSI above the noise floor weighted
            by importance (equally where there is none); None for an output or a derived feature.
        psi: population stability index.
        noise_floor: the PSI that chance alone passes once in a thousand times.
        shifted: whether PSI is above the noise floor.
        grade: how large a shift is: slight, small, moderate or large; None where there is none.
        hellinger: Hellinger distance, 0 to 1.
        js_divergence: Jensen-Shannon divergence in bits, 0 to 1.
        total_variation: total variation distance, 0 to 1.
        chi_squared: Pearson's test, corrected for the reference's dispersion.
        ks: Kolmogorov-Smirnov statistic over ordered bins; None for categories.
        wasserstein: Wasserstein distance over ordered bins, in standard deviations of the reference, values
            beyond the outermost edges counting as on them; None for categories and below two edges.
        missing_share: share of values that are missing.
        reference_missing_share: the same in the reference.
        violations: by kind; those kinds that the batch or the reference has.
        unit_change: conversions of units that map the reference onto a sample of the values.
        findings: what a person should know.
    """

    name: str
    role: Role
    type: FeatureType
    observations: int
    importance: float | None
    contribution: float | None
    psi: float
    noise_floor: float
    shifted: bool
    grade: str | None
    hellinger: float
    js_divergence: float
    total_variation: float
    chi_squared: ChiSquared
    ks: float | None
    wasserstein: float | None
    missing_share: float
    reference_missing_share: float
    violations: Mapping[str, Violations]
    unit_change: tuple[Conversion, ...]
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether the batch fails by this feature."""
        return any(finding.fails for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a batch compares with a baseline.

    Attributes:
        baseline: what it was compared with.
        rows: rows of the batch.
        fail_on: what makes it fail, of `FAIL_ON`.
        features: those that fail first, then by contribution, then by PSI over its noise floor.
        missing_columns: inputs that the batch has no column for.
        unexpected_columns: what was found of columns that the baseline does not know, by their names.
    """

    baseline: Baseline
    rows: int
    fail_on: tuple[str, ...]
    features: tuple[FeatureReport, ...]
    missing_columns: tuple[str, ...]
    unexpected_columns: Mapping[str, Finding]

    @property
    def failed(self) -> bool:
        """Whether the batch fails."""
        return any(feature.failed for feature in self.features) or any(
            finding.fails for finding in self.unexpected_columns.values()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON; docs/check.md describes it."""
        return {
            "verdict": "fail" if self.failed else "pass",
            "rows": self.rows,
            "baseline": {
                "id": self.baseline.id,
                "model": {"name": self.baseline.model_name, "version": self.baseline.model_version},
                "rows": self.baseline.rows,
            },
            "fail_on": list(self.fail_on),
            "missing_columns": list(self.missing_columns),
            "unexpected_columns": list(self.unexpected_columns),
            "features": [_document(feature) for feature in self.features],
        }


def judge(batch: Batch, baseline: Baseline, fail_on: Collection[str] = DEFAULT_FAIL_ON) -> Report:
    """Compare what was counted of a batch with a baseline.

    An input without a column always makes the batch fail.

    Args:
        batch: what was counted, by this baseline.
        baseline: the reference.
        fail_on: of `FAIL_ON`.

    Raises:
        BaselineError: the batch has less than 100 rows.
    """
    if batch.rows < MIN_OBSERVATIONS:
        msg = (
            f"the data has {batch.rows} rows; less than {MIN_OBSERVATIONS} say nothing about a distribution, "
            "so pass a larger batch"
        )
        raise BaselineError(msg)
    counted = [feature for feature in baseline.features if feature.name in batch.tallies]
    contributions = _contributions(counted, batch)
    reports = [_feature_report(feature, batch, contributions.get(feature.name), fail_on) for feature in counted]
    reports.sort(key=lambda r: (r.failed, r.contribution or 0.0, r.psi / r.noise_floor), reverse=True)
    unexpected = {name: _unexpected(name, batch, fails="unexpected" in fail_on) for name in batch.unexpected_columns}
    return Report(
        baseline=baseline,
        rows=batch.rows,
        fail_on=tuple(choice for choice in FAIL_ON if choice in fail_on),
        features=tuple(reports),
        missing_columns=batch.missing_columns,
        unexpected_columns=unexpected,
    )


def _contributions(features: list[Feature], batch: Batch) -> dict[str, float]:
    """Return each input's share of the importance-weighted PSI above the noise floor."""
    beyond = {}
    for feature in features:
        if feature.role == "input":
            counts = batch.tallies[feature.name].counts
            excess = statistics.psi(counts, feature.counts) - statistics.noise_floor(
                counts, feature.counts, dispersion=feature.dispersion
            )
            beyond[feature.name] = max(0.0, excess) * (1.0 if feature.importance is None else feature.importance)
    total = sum(beyond.values())
    return {name: value / total if total else 0.0 for name, value in beyond.items()}


def _feature_report(
    feature: Feature, batch: Batch, contribution: float | None, fail_on: Collection[str]
) -> FeatureReport:
    tally = batch.tallies[feature.name]
    live, reference = tally.counts, np.array(feature.counts)
    observations = int(live.sum())
    psi = statistics.psi(live, reference)
    floor = statistics.noise_floor(live, reference, dispersion=feature.dispersion)
    shifted = psi > floor
    ks, wasserstein = _ordered_statistics(feature, tally)
    violations = _violations(feature, tally)
    absent = feature.name in batch.missing_columns
    units = _unit_change(feature, tally) if shifted and not absent else ()
    grade = _grade(psi) if shifted else None
    if absent:
        findings: tuple[Finding, ...] = (_missing_column(feature, batch),)
    else:
        findings = (*_broken(violations, fail_on), *_drift(psi, floor, grade, units, fail_on))
    return FeatureReport(
        name=feature.name,
        role=feature.role,
        type=feature.type,
        observations=observations,
        importance=feature.importance,
        contribution=contribution,
        psi=psi,
        noise_floor=floor,
        shifted=shifted,
        grade=grade,
        hellinger=statistics.hellinger(live, reference),
        js_divergence=statistics.js_divergence(live, reference),
        total_variation=statistics.total_variation(live, reference),
        chi_squared=statistics.chi_squared(live, reference, dispersion=feature.dispersion),
        ks=ks,
        wasserstein=wasserstein,
        missing_share=int(live[feature.bins.labels.index(semconv.BIN_NULL)]) / observations,
        reference_missing_share=feature.missing_share,
        violations=violations,
        unit_change=units,
        findings=findings,
    )


def _ordered(feature: Feature) -> list[int]:
    """Return the positions of the bins that have an order."""
    return [position for position, label in enumerate(feature.bins.labels) if label.isdigit()]


def _ordered_statistics(feature: Feature, tally: Tally) -> tuple[float | None, float | None]:
    """Return the Kolmogorov-Smirnov statistic and the Wasserstein distance, where they apply."""
    ordered = _ordered(feature)
    live, reference = tally.counts[ordered], np.array(feature.counts)[ordered]
    if not (live.any() and reference.any()):
        return None, None
    wasserstein = None
    if isinstance(feature.bins, NumericBins) and len(feature.bins.edges) > 1:
        inner = feature.bins.edges
        edges = (inner[0], *inner, inner[-1])
        deviation = statistics.standard_deviation(reference, edges)
        if deviation:
            wasserstein = statistics.wasserstein(live, reference, edges, scale=deviation)
    return statistics.ks(live, reference), wasserstein


def _unit_change(feature: Feature, tally: Tally) -> tuple[Conversion, ...]:
    if not isinstance(feature.bins, NumericBins):
        return ()
    reference = np.array(feature.counts)[_ordered(feature)]
    return statistics.unit_change(tally.sample, reference, feature.bins.edges)


def _violations(feature: Feature, tally: Tally) -> dict[str, Violations]:
    observations = int(tally.counts.sum())
    found = {}
    for kind, count, reference in zip(
        semconv.VIOLATION_KIND.values, tally.violations.tolist(), feature.violations, strict=True
    ):
        if count or reference:
            share, reference_share = count / observations, reference / feature.rows
            # Where all of the reference's values violate, none is left to be broken.
            excess = (share - reference_share) / (1 - reference_share) if reference_share < 1 else 0.0
            found[kind] = Violations(count, share, reference_share, excess)
    return found


def _grade(psi: float) -> str:
    return next(grade for grade, least in reversed(GRADES.items()) if psi > least)


def _missing_column(feature: Feature, batch: Batch) -> Finding:
    similar = similar_name(feature.name, batch.unexpected_columns)
    hint = f"rename the column {similar!r}, which the baseline does not know" if similar else "add the column"
    return Finding("missing column", fails=True, message=f"the data has no such column; {hint}")


def _unexpected(name: str, batch: Batch, *, fails: bool) -> Finding:
    similar = similar_name(name, batch.missing_columns)
    mend = (
        f"rename it to {similar!r}, which the data lacks"
        if similar
        else "remove it from the data, or build the baseline with it or with it excluded"
    )
    return Finding("unexpected", fails, f"the baseline does not know this column; {mend}")


def _broken(violations: Mapping[str, Violations], fail_on: Collection[str]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            "violations",
            "violations" in fail_on,
            f"{found.share:.1%} of the values are violations of kind {kind} ({found.reference_share:.1%} in the "
            "reference); mend the feed",
        )
        for kind, found in violations.items()
        if found.excess > BROKEN_EXCESS
    )


def _drift(
    psi: float, floor: float, grade: str | None, units: tuple[Conversion, ...], fail_on: Collection[str]
) -> tuple[Finding, ...]:
    if grade is None:
        return ()
    order = list(GRADES)
    fails = any(order.index(grade) >= order.index(_LEAST_GRADE[choice]) for choice in fail_on if choice in _LEAST_GRADE)
    hint = f"; a change of unit? {' or '.join(str(unit).rstrip('?') for unit in units)}" if units else ""
    message = f"{grade} shift: PSI {psi:.3g}, of which chance alone explains up to {floor:.3g}{hint}"
    return (Finding("drift", fails, message),)


def _document(feature: FeatureReport) -> dict[str, Any]:
    return {
        **{part.name: getattr(feature, part.name) for part in fields(feature)},
        "failed": feature.failed,
        "chi_squared": feature.chi_squared._asdict(),
        "violations": {kind: found._asdict() for kind, found in feature.violations.items()},
        "unit_change": [
            {"factor": unit.factor, "offset": unit.offset, "units": [list(pair) for pair in unit.units]}
            for unit in feature.unit_change
        ],
        "findings": [finding._asdict() for finding in feature.findings],
    }
