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
from windvane.declaration import DURATION_BOUNDS
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from windvane.baseline import Baseline, Feature, Role

__all__ = ["DEFAULT_SERIES_LIMIT", "MAX_ERROR_TYPES", "SERIES_LIMIT", "Budget", "FeatureSeries", "budget"]

SERIES_LIMIT: Final = "WINDVANE_SERIES_LIMIT"
"""Environment variable: series that one model version may have in one process; 10,000 by default."""

DEFAULT_SERIES_LIMIT: Final = 10_000
"""About 280 numeric features in deciles."""

MAX_ERROR_TYPES: Final = 50
"""Types of errors with a series of their own; any further one counts as `_OTHER`, OpenTelemetry's word for it."""

_HISTOGRAM: Final = len(DURATION_BOUNDS) + 1 + 2  # buckets with the one above all bounds, sum and count

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
        violations: series of its violations, one for each kind.
        reference: series of what the reference says: its counts, violations, dispersion and importance.
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
        model: series of the model itself in one process, with every objective declared.
        errors: series that may come on top in one process: a histogram of durations for each type of error that
            calls end with. They take no part in the limit.
        features: every feature of the baseline, those first that are kept first.
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


def budget(baseline: Baseline | None, *, limit: int | None = None, replicas: int = 1) -> Budget:
    """Compute the series of a model version from its baseline.

    The output is kept first, then the derived feature, then the inputs by their importance, in the baseline's
    order where it has none. From the first feature that does not fit on, all are left out, so a higher limit
    never takes a feature away.

    Args:
        baseline: the model's baseline, None for a model without one.
        limit: series allowed in one process; by default `WINDVANE_SERIES_LIMIT`, else 10,000.
        replicas: processes that serve the model (pods times workers of each), for the total.

    Raises:
        DeclarationError: the limit is no whole number or too small for the model itself, or `replicas` is
            not at least 1.

    Example:
        >>> from windvane.budget import budget
        >>> model = budget(None, replicas=8)
        >>> model.total == 8 * model.per_process
        True
    """
    allowed = _limit_from_environment() if limit is None else _checked(limit, "limit", _MODEL)
    remaining = allowed - _MODEL
    features: list[FeatureSeries] = []
    for feature in _by_precedence(baseline) if baseline else ():
        counted = _series_of(feature, kept=True)
        remaining -= counted.series  # stays below zero once it is, since every feature has series
        features.append(counted if remaining >= 0 else _series_of(feature, kept=False))
    return Budget(
        limit=allowed,
        replicas=_checked(replicas, "replicas", 1),
        model=_MODEL,
        errors=_HISTOGRAM * (MAX_ERROR_TYPES + 1),  # and one for `_OTHER`
        features=tuple(features),
    )


def _by_precedence(baseline: Baseline) -> list[Feature]:
    first: dict[Role, int] = {"output": 0, "derived": 1, "input": 2}
    return sorted(baseline.features, key=lambda feature: (first[feature.role], -(feature.importance or 0.0)))


def _series_of(feature: Feature, *, kept: bool) -> FeatureSeries:
    bins = len(feature.bins.labels)
    kinds = len(semconv.VIOLATION_KIND.values)
    dispersion = 1
    importance = 0 if feature.importance is None else 1
    return FeatureSeries(feature.name, feature.role, bins, kinds, bins + kinds + dispersion + importance, kept)


def _limit_from_environment() -> int:
    text = os.environ.get(SERIES_LIMIT, "").strip()
    if not text:
        return DEFAULT_SERIES_LIMIT
    try:
        limit: object = int(text)
    except ValueError:
        limit = text
    return _checked(limit, SERIES_LIMIT, _MODEL)


def _checked(number: object, field: str, least: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        why = " (what a model has without any feature)" if least == _MODEL else ""
        msg = f"{field}: {number!r:.80} must be a whole number, at least {least}{why}"
        raise DeclarationError(msg)
    return number
