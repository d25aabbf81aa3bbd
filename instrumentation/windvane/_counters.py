"""What one process has counted for one model version, and how it reads as metric streams."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from windvane import semconv
from windvane._durations import Durations, HistogramValue
from windvane.bins import no_violations, numbers_of
from windvane.budget import MAX_ERROR_TYPES, budget

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from opentelemetry.trace import SpanContext

    from windvane._capture import Column
    from windvane.baseline import Baseline, Feature
    from windvane.declaration import Objectives, Owner

__all__ = ["ModelCounters", "Stream", "Totals"]

Point: TypeAlias = tuple[dict[str, Any], int | float | HistogramValue]
Stream: TypeAlias = tuple[semconv.Metric, list[Point]]

_KINDS: Final = semconv.VIOLATION_KIND.values


class Totals(NamedTuple):
    """What has been counted for a model version so far.

    Attributes:
        rows: rows passed to the model.
        calls: calls by the type of the error that ended them; None for success.
        observations: for each feature the values in each bin.
        violations: for each feature the violations of each kind.
        dropped: records lost for each reason.
    """

    rows: int
    calls: Counter[str | None]
    observations: dict[str, Counter[str]]
    violations: dict[str, Counter[str]]
    dropped: Counter[str]


class _FeatureCounter:
    """Counts of one feature, with the attributes of its data points made once."""

    __slots__ = ("counts", "feature", "points", "reference_points", "violation_points", "violations")

    def __init__(self, feature: Feature, model: dict[str, Any]) -> None:
        self.feature = feature
        named = {**model, semconv.FEATURE_NAME.name: feature.name}
        self.points = [
            {**named, semconv.FEATURE_ROLE.name: feature.role, semconv.FEATURE_BIN.name: label}
            for label in feature.bins.labels
        ]
        self.reference_points: list[Point] = [
            ({**point, semconv.FEATURE_BIN_RANGE.name: text}, count)
            for point, text, count in zip(self.points, feature.bins.ranges, feature.counts, strict=True)
        ]
        self.violation_points = [{**named, semconv.VIOLATION_KIND.name: kind} for kind in _KINDS]
        self.reset()

    def reset(self) -> None:
        self.counts = np.zeros(len(self.points), dtype=np.int64)
        self.violations = no_violations()


class ModelCounters:
    """Counters of one model version in this process; they only grow, until a fork starts them anew.

    The worker adds, the exporter reads; the lock keeps a column's counts whole.
    """

    def __init__(
        self,
        name: str,
        version: str,
        *,
        variant: str | None,
        baseline: Baseline | None,
        owner: Owner | None,
        objectives: Objectives | None,
    ) -> None:
        """Start from zero."""
        self.declaration = (name, version, variant, baseline, owner, objectives)
        self.model = {semconv.MODEL_NAME.name: name, semconv.MODEL_VERSION.name: version}
        self.labels = {**self.model, **({semconv.MODEL_VARIANT.name: variant} if variant else {})}
        self.span_name = f"predict {name}"
        self.span_attributes = {**self.labels, semconv.PREDICTION_ROW_COUNT.name: 1}
        self.active: deque[None] = deque()
        inputs = baseline.inputs if baseline else ()
        self._inputs = [_FeatureCounter(feature, self.model) for feature in inputs]
        output = baseline.output if baseline else None
        self._output = _FeatureCounter(output, self.model) if output else None
        derived = baseline.derived if baseline else None
        self._derived = _FeatureCounter(derived, self.model) if derived else None
        self._components = baseline.principal_components if baseline else None
        self._component_inputs = frozenset(self._components.inputs if self._components else ())
        self.budget = budget(baseline)
        left_out = frozenset(self.budget.left_out)
        self._exported = [counter for counter in self._features() if counter.feature.name not in left_out]
        self._constant = list(self._declared_streams(baseline, owner, objectives))
        self.reset()

    def reset(self) -> None:
        """Begin at zero, with a lock of this process's own."""
        self._lock = threading.Lock()
        self._shown = False
        self.start_time_ns = time.time_ns()
        self.active.clear()
        self.dropped: Counter[str] = Counter()
        self.faults = 0  # failures of windvane's own, counted where no function can be called for fear of another
        self._rows = 0
        self._durations: dict[str | None, Durations] = {None: Durations()}
        for counter in self._features():
            counter.reset()

    @property
    def shown(self) -> bool:
        """Whether every counter has been exported; the first time, it is at zero."""
        with self._lock:
            return self._shown and all(counter.shown for counter in self._durations.values())

    @property
    def takes_output(self) -> bool:
        """Whether the baseline has an output to compare with."""
        return self._output is not None

    def observe_calls(
        self, error_type: str | None, seconds: Sequence[float], spans: Sequence[SpanContext | None]
    ) -> None:
        """Count calls that ended with this error, or well.

        Args:
            error_type: what ended them; None for success.
            seconds: duration of each.
            spans: the span of each, where it has one.
        """
        with self._lock:
            if error_type not in self._durations and len(self._durations) > MAX_ERROR_TYPES:
                error_type = "_OTHER"
            self._durations.setdefault(error_type, Durations()).observe(seconds, spans)

    def observe_rows(self, rows: int) -> None:
        """Count rows."""
        with self._lock:
            self._rows += rows

    def observe_inputs(self, columns: Iterable[Column | None]) -> int:
        """Count the columns of the inputs, in the order of the baseline; return how many could not be read.

        The derived feature is counted where all columns that it is made of could be.
        """
        unread = 0
        numbers: dict[str, NDArray[np.float64]] = {}
        for counter, column in zip(self._inputs, columns, strict=True):
            if column is None:
                unread += 1
                continue
            values, name = column, counter.feature.name
            if name in self._component_inputs:
                numbers[name], wrong_type = numbers_of(column)
                if not wrong_type:
                    values = numbers[name]  # so that a column is converted once
            self._observe(counter, values)
        if self._derived and self._components and len(numbers) == len(self._component_inputs):
            errors = self._components.errors([numbers[name] for name in self._components.inputs])
            self._observe(self._derived, errors)
        return unread

    def observe_output(self, column: Column) -> None:
        """Count a column of outputs."""
        if self._output is not None:
            self._observe(self._output, column)

    def drop(self, reason: str, records: int = 1) -> bool:
        """Count lost records; tell whether it is the first loss for this reason."""
        with self._lock:
            first = reason not in self.dropped
            self.dropped[reason] += records
        return first

    def totals(self) -> Totals:
        """Read what has been counted, without any effect on what is exported."""
        with self._lock:
            return Totals(
                self._rows,
                Counter({error_type: counter.calls for error_type, counter in self._durations.items()}),
                {
                    c.feature.name: Counter(dict(zip(c.feature.bins.labels, c.counts.tolist(), strict=True)))
                    for c in self._features()
                },
                {
                    c.feature.name: Counter(dict(zip(_KINDS, c.violations.tolist(), strict=True)))
                    for c in self._features()
                },
                self._dropped(),
            )

    def streams(self) -> Iterator[Stream]:
        """Read everything that is exported.

        The first reading shows every counter at zero: Prometheus' `increase()` does not see what a
        series counted before its first sample.
        """
        with self._lock:
            show = 1 if self._shown else 0
            self._shown = True
            counted = [(c, (c.counts * show).tolist(), (c.violations * show).tolist()) for c in self._exported]
            lost = self._dropped()
            dropped = {reason: lost[reason] * show for reason in semconv.DROP_REASON.values}
            rows = self._rows * show
            durations = [(error_type, counter.take()) for error_type, counter in self._durations.items()]
        yield (
            semconv.PREDICTION_DURATION,
            [
                ({**self.labels, semconv.ERROR_TYPE.name: error_type} if error_type else self.labels, value)
                for error_type, value in durations
            ],
        )
        yield semconv.PREDICTION_ROWS, [(self.labels, rows)]
        yield semconv.PREDICTION_ACTIVE, [(self.model, len(self.active))]
        yield (
            semconv.FEATURE_OBSERVATIONS,
            [pair for c, counts, _ in counted for pair in zip(c.points, counts, strict=True)],
        )
        yield (
            semconv.FEATURE_VIOLATIONS,
            [pair for c, _, violations in counted for pair in zip(c.violation_points, violations, strict=True)],
        )
        yield (
            semconv.RECORDS_DROPPED,
            [({**self.model, semconv.DROP_REASON.name: reason}, number) for reason, number in dropped.items()],
        )
        yield from self._constant

    def _dropped(self) -> Counter[str]:
        return self.dropped + Counter(internal_error=self.faults)

    def _features(self) -> list[_FeatureCounter]:
        return [*self._inputs, *(counter for counter in (self._output, self._derived) if counter)]

    def _observe(self, counter: _FeatureCounter, column: Column) -> None:
        counts, violations = counter.feature.bins.count(column)
        with self._lock:
            counter.counts += counts
            counter.violations += violations

    def _declared_streams(
        self, baseline: Baseline | None, owner: Owner | None, objectives: Objectives | None
    ) -> Iterator[Stream]:
        """What the declaration alone determines."""
        info = {
            semconv.TEAM.name: owner.team if owner else None,
            semconv.SEVERITY.name: owner.severity if owner else None,
            semconv.RUNBOOK_URL.name: owner.runbook_url if owner else None,
            semconv.BASELINE_ID.name: baseline.id if baseline else None,
        }
        yield semconv.MODEL_INFO, [({**self.model, **{k: v for k, v in info.items() if v}}, 1)]
        if objectives:
            yield (
                semconv.MODEL_OBJECTIVE,
                [({**self.model, semconv.OBJECTIVE.name: name}, share) for name, share in objectives.targets.items()],
            )
            if objectives.latency_seconds is not None:
                yield semconv.MODEL_LATENCY_OBJECTIVE, [(self.model, objectives.latency_seconds)]
        features = self._exported
        yield semconv.FEATURES_LEFT_OUT, [(self.model, len(self.budget.left_out))]
        yield semconv.FEATURE_REFERENCE_OBSERVATIONS, [point for c in features for point in c.reference_points]
        yield (
            semconv.FEATURE_REFERENCE_VIOLATIONS,
            [pair for c in features for pair in zip(c.violation_points, c.feature.violations, strict=True)],
        )
        named = [({**self.model, semconv.FEATURE_NAME.name: c.feature.name}, c.feature) for c in features]
        yield semconv.FEATURE_REFERENCE_DISPERSION, [(attributes, f.dispersion) for attributes, f in named]
        yield (
            semconv.FEATURE_IMPORTANCE,
            [(attributes, f.importance) for attributes, f in named if f.importance is not None],
        )
