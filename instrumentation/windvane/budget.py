"""The series budget: how many time series a model version costs, known before the first one is exported.

The number follows from the baseline alone, since every series is exported from the start. Where it exceeds the
limit, whole features are left out of what is exported, the least important first, and named.

A histogram counts as what Prometheus keeps of it: one series for each bucket, the sum and the count.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from windvane import semconv
from windvane._ages import AGE_BOUNDS, AGE_VIOLATIONS
from windvane._durations import MAX_ERROR_TYPES
from windvane._universal import UniversalBins
from windvane.bins import CategoryBins
from windvane.declaration import DURATION_BOUNDS
from windvane.errors import DeclarationError
from windvane.outcomes import LAG_BOUNDS, MAX_CLASSES, MAX_FEEDBACK_KINDS, SCORE_BINS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from windvane.baseline import Baseline, Role
    from windvane.outcomes import Outcomes

__all__ = ["DEFAULT_SERIES_LIMIT", "SERIES_LIMIT", "Budget", "FeatureSeries", "budget"]

SERIES_LIMIT: Final = "WINDVANE_SERIES_LIMIT"
"""Environment variable: series that one model version may have in one process; 10,000 by default."""

DEFAULT_SERIES_LIMIT: Final = 10_000
"""About 280 numeric features in deciles."""

_HISTOGRAM: Final = len(DURATION_BOUNDS) + 1 + 2  # buckets with the one above all bounds, sum and count
_AGE_HISTOGRAM: Final = len(AGE_BOUNDS) + 1 + 2

_MODEL: Final = (
    _HISTOGRAM  # durations of the calls that succeed
    + len(semconv.DROP_REASON.values)
    + len(semconv.OBJECTIVE.values)
    + len(
        (
            semconv.PREDICTION_ROWS,
            semconv.PREDICTION_ACTIVE,
            semconv.MODEL_INFO,
            semconv.MODEL_LATENCY_OBJECTIVE,
            semconv.BASELINE_AGE_OBJECTIVE,
            semconv.FEATURES_LEFT_OUT,
        )
    )
)

_NAMED_IN_LOG: Final = 20

_logger = logging.getLogger("windvane")


class FeatureSeries(NamedTuple):
    """What one feature costs in one process.

    Attributes:
        name: name of the feature.
        role: what it is to the model.
        observations: series of its live counts, one for each bin.
        violations: series of its violations, one for each kind; none without a baseline.
        reference: series of what the baseline says: its counts, violations, dispersion, importance and, where
            declared, source, unit and team; none without a baseline.
        kept: whether the feature is exported; one that is not has no series at all.
    """

    name: str
    role: Role
    observations: int
    violations: int
    reference: int
    kept: bool

    @property
    def series(self) -> int:
        """All of its series in one process, if it is kept."""
        return self.observations + self.violations + self.reference


class Budget(NamedTuple):
    """How many series a model version has, and which features it leaves out to hold the limit.

    Attributes:
        limit: series that are allowed in one process.
        replicas: processes that serve the model: pods times workers of each.
        model: series of the model itself in one process, with every objective declared, of the ages of its features,
            of the outcomes that its baseline expects and, where outcomes are declared, of outcomes and feedback of one
            version and variant at most.
        errors: series that may come on top in one process: a histogram of durations for each type of error that
            calls end with. They take no part in the limit.
        features: every feature of the baseline, or declared without one, those first that are kept first.
    """

    limit: int
    replicas: int
    model: int
    errors: int
    features: tuple[FeatureSeries, ...]

    @property
    def per_process(self) -> int:
        """Series in one process from its start, at most `limit`."""
        return self.model + sum(feature.series for feature in self.features if feature.kept)

    @property
    def total(self) -> int:
        """Series over all replicas."""
        return self.per_process * self.replicas

    @property
    def needed(self) -> int:
        """The limit at which no feature is left out."""
        return self.model + sum(feature.series for feature in self.features)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the features that are not exported."""
        return tuple(feature.name for feature in self.features if not feature.kept)

    def warn(self, model: str, version: str) -> None:
        """Log which features of a model version are left out, where some are."""
        if not self.left_out:
            return
        names = ", ".join(map(repr, self.left_out[:_NAMED_IN_LOG]))
        more = len(self.left_out) - _NAMED_IN_LOG
        _logger.warning(
            "%s %s: %d of %d features are not exported, since %d series exceed the limit of %d (%s): %s%s",
            model,
            version,
            len(self.left_out),
            len(self.features),
            self.needed,
            self.limit,
            SERIES_LIMIT,
            names,
            f" and {more} more; `windvane budget` names all" if more > 0 else "",
        )


def budget(
    baseline: Baseline | None,
    *,
    features: Sequence[str] = (),
    event_times: Mapping[str, str] | None = None,
    outcomes: Outcomes | None = None,
    limit: int | None = None,
    replicas: int = 1,
) -> Budget:
    """Compute the series of a model version from what is declared of it.

    The output is kept first, then the derived feature, then the inputs by their importance, in the order of the
    baseline or declaration where they have none. From the first feature that does not fit on, all are left out,
    so a higher limit never takes a feature away.

    Args:
        baseline: the model's baseline, None for a model without one.
        features: inputs of a model without a baseline, which are counted into universal bins; its output is too.
        event_times: features whose age is measured, with the column of the time of their event.
        outcomes: what the model predicts, where outcomes are declared.
        limit: series allowed in one process; by default `WINDVANE_SERIES_LIMIT`, else 10,000.
        replicas: processes that serve the model (pods times workers of each), for the total.

    Raises:
        DeclarationError: the limit is no whole number or too small for the model itself, or `replicas` is
            not at least 1.

    Example:
        >>> from windvane.budget import budget
        >>> model = budget(None, features=["distance", "wind"], replicas=8)
        >>> [feature.name for feature in model.features], model.total == 8 * model.per_process
        (['output', 'distance', 'wind'], True)
    """
    model = _MODEL + _further_series(baseline, event_times or {}) + _outcome_series(baseline, outcomes)
    allowed = _limit_from_environment(model) if limit is None else _checked(limit, "limit", model)
    remaining = allowed - model
    counted = []
    with_output = outcomes is None or outcomes.kind != "ranking"
    for feature in _by_precedence(baseline) if baseline else _universal(features, with_output=with_output):
        remaining -= feature.series  # stays below zero once it is, since every feature has series
        counted.append(feature._replace(kept=remaining >= 0))
    return Budget(
        limit=allowed,
        replicas=_checked(replicas, "replicas", 1),
        model=model,
        errors=_HISTOGRAM * (MAX_ERROR_TYPES + 1),  # and one for `_OTHER`
        features=tuple(counted),
    )


def _further_series(baseline: Baseline | None, event_times: Mapping[str, str]) -> int:
    """Count the series of a baseline's time, unexpected names and calibration, and of ages and their columns."""
    of_baseline = {feature.name for feature in baseline.features} if baseline else set()
    columns = set(event_times.values()) - of_baseline
    calibration = baseline.calibration if baseline else None
    expected = len(calibration.cells) + len(calibration.reference) if calibration else 0
    return (2 if baseline else 0) + expected + _AGE_HISTOGRAM * len(event_times) + len(AGE_VIOLATIONS) * len(columns)


def _by_precedence(baseline: Baseline) -> Iterator[FeatureSeries]:
    first: dict[Role, int] = {"output": 0, "derived": 1, "input": 2}
    for feature in sorted(baseline.features, key=lambda f: (first[f.role], -(f.importance or 0.0))):
        bins = len(feature.bins.labels)
        kinds = len(semconv.VALUE_VIOLATIONS)
        dispersion = 1
        importance = 0 if feature.importance is None else 1
        info = 1 if feature.source or feature.unit or feature.team else 0
        reference = bins + kinds + dispersion + importance + info
        yield FeatureSeries(feature.name, feature.role, bins, kinds, reference, kept=True)


def _outcome_series(baseline: Baseline | None, outcomes: Outcomes | None) -> int:
    """Count the series that outcomes and feedback may come to."""
    if outcomes is None:
        return 0
    segments = sum(len(f.bins.labels) for f in (baseline.inputs if baseline else ()) if f.name == outcomes.segment)
    of_kind = {
        "binary": 2 * 2 + SCORE_BINS * 3 + len((semconv.OUTCOME_SQUARED_ERROR, semconv.OUTCOME_LOG_LOSS)),
        "multiclass": _classes(baseline) * _classes(baseline),
        "regression": len(semconv.OUTCOME_DIRECTION.values) + len((semconv.OUTCOME_SQUARED_ERROR,)),
        "ranking": (outcomes.k or 0) + 1,
    }
    lag = len(LAG_BOUNDS) + 1 + 2
    results = 1 if outcomes.kind == "regression" and outcomes.tolerance is None else 2  # unjudged, or right and wrong
    return segments + results * (segments or 1) + of_kind[outcomes.kind] + lag + MAX_FEEDBACK_KINDS + 1


def _classes(baseline: Baseline | None) -> int:
    """Return how many classes are counted, all others as one of them."""
    bins = baseline.output.bins if baseline and baseline.output else None
    return min(len(bins.vocabulary) if isinstance(bins, CategoryBins) else MAX_CLASSES, MAX_CLASSES) + 1


def _universal(features: Sequence[str], *, with_output: bool) -> Iterator[FeatureSeries]:
    bins = len(UniversalBins.labels)
    if features and with_output:
        yield FeatureSeries(semconv.UNIVERSAL_OUTPUT, "output", bins, 0, 0, kept=True)
    for name in features:
        yield FeatureSeries(name, "input", bins, 0, 0, kept=True)


def _limit_from_environment(least: int) -> int:
    text = os.environ.get(SERIES_LIMIT, "").strip()
    try:
        limit: object = int(text) if text else DEFAULT_SERIES_LIMIT
    except ValueError:
        limit = text
    return _checked(limit, SERIES_LIMIT, least)


def _checked(number: object, field: str, least: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        why = " (what the model has without any feature)" if least > 1 else ""
        msg = f"{field}: {number!r:.80} must be a whole number, at least {least}{why}"
        raise DeclarationError(msg)
    return number
