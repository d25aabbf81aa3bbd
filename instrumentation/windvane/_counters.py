"""What one process has counted for one model version, and how it reads as metric streams."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from windvane import semconv
from windvane._ages import AGE_VIOLATIONS, Ages
from windvane._durations import MAX_ERROR_TYPES, Durations, HistogramValue
from windvane._events import Emitter
from windvane._issuer import Issuer, Segments
from windvane._profiler import Profiler
from windvane._universal import UniversalBins
from windvane.bins import no_violations, numbers_of
from windvane.calibration import ClassCalibration
from windvane.tokens import TokenKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from opentelemetry.trace import SpanContext

    from windvane._capture import Column
    from windvane._key_sender import KeySender
    from windvane.baseline import Baseline, Feature, Role
    from windvane.calibration import Calibration, Cell
    from windvane.declaration import Objectives, Owner
    from windvane.events import PredictionEvents, ProfileEvents
    from windvane.outcomes import Outcomes

__all__ = ["Declaration", "ModelCounters", "Point", "Stream", "Totals"]

Point: TypeAlias = tuple[dict[str, Any], int | float | HistogramValue]
Stream: TypeAlias = tuple[semconv.Metric, list[Point]]

_KINDS: Final = semconv.VIOLATION_KIND.values


class Declaration(NamedTuple):
    """What a model version was declared with; `windvane.Model` tells what each means.

    Attributes:
        features: inputs that are counted into universal bins, where there is no baseline.
        event_times: features whose age is counted, with the column of the time of their event.
    """

    name: str
    version: str
    variant: str | None
    baseline: Baseline | None
    owner: Owner | None
    objectives: Objectives | None
    features: tuple[str, ...]
    event_times: Mapping[str, str]
    events: PredictionEvents | None
    exception_messages: bool
    profiles: ProfileEvents | None
    outcomes: Outcomes | None = None


class Totals(NamedTuple):
    """What has been counted for a model version so far.

    Attributes:
        rows: rows passed to the model.
        calls: calls by the type of the error that ended them; None for success.
        observations: for each feature the values in each bin.
        violations: for each feature the violations of each kind.
        dropped: records lost for each reason.
        unexpected: values under names that the baseline does not know.
        ages: for each feature with an event time, the ages by the upper bound of their bucket in seconds.
    """

    rows: int
    calls: Counter[str | None]
    observations: dict[str, Counter[str]]
    violations: dict[str, Counter[str]]
    dropped: Counter[str]
    unexpected: int
    ages: dict[str, Counter[float]]


class _Declared(NamedTuple):
    """A feature of a model without a baseline: nothing is known of it but its name."""

    name: str
    role: Role
    bins: UniversalBins = UniversalBins()


class _FeatureCounter:
    """Counts of one feature."""

    __slots__ = ("counts", "feature", "violations")

    def __init__(self, feature: Feature | _Declared) -> None:
        self.feature = feature
        self.reset()

    def reset(self) -> None:
        self.counts = np.zeros(len(self.feature.bins.labels), dtype=np.int64)
        self.violations = no_violations()


class ModelCounters:
    """Counters of one model version in this process; they only grow, until a fork starts them anew.

    The worker adds, the exporter reads; the lock keeps a column's counts whole.

    Attributes:
        takes_probabilities: whether outcomes are expected of the probabilities of the classes, and not of the output.
    """

    def __init__(self, declaration: Declaration) -> None:
        """Start from zero.

        Raises:
            DeclarationError: an event cannot be made as declared, profiles lack their extra, the keys of tokens are not
                set, or the series limit cannot be read.
        """
        from windvane.budget import budget  # noqa: PLC0415 - `import windvane` is to stay light

        self.declaration = declaration
        name, version, variant, baseline, _, _, features, event_times, events, _, profiles, outcomes = declaration
        self.model = {semconv.MODEL_NAME.name: name, semconv.MODEL_VERSION.name: version}
        self.labels = {**self.model, **({semconv.MODEL_VARIANT.name: variant} if variant else {})}
        self.span_name = f"predict {name}"
        self.span_attributes = {**self.labels, semconv.PREDICTION_ROW_COUNT.name: 1}
        self.active: deque[None] = deque()
        inputs = baseline.inputs if baseline else [_Declared(feature, "input") for feature in features]
        self._inputs = [_FeatureCounter(feature) for feature in inputs]
        declared_output = None
        if features and not (outcomes and outcomes.kind == "ranking"):  # a list of items has no bin
            declared_output = _Declared(semconv.UNIVERSAL_OUTPUT, "output")
        output = baseline.output if baseline else declared_output
        self._output = _FeatureCounter(output) if output else None
        derived = baseline.derived if baseline else None
        self._derived = _FeatureCounter(derived) if derived else None
        self._calibration = baseline.calibration if baseline else None
        self._expected_cells = self._calibration.cells if self._calibration else []
        self.takes_probabilities = isinstance(self._calibration, ClassCalibration) and bool(self._calibration.shares)
        self.emitter = None
        if events is not None:
            names = [counter.feature.name for counter in self._inputs]
            self.emitter = Emitter(events, self.labels, names, output.name if output else None)
        self.profiler = None
        if profiles is not None:
            names = [counter.feature.name for counter in self._inputs]
            self.profiler = Profiler(profiles, self.model, names, output.name if output else None)
        self.issuer = None if outcomes is None else _issuer(declaration, outcomes)
        self.key_sender: KeySender | None = None
        """Where the caller's own keys are declared, what they are handed to."""
        self._components = baseline.principal_components if baseline else None
        self._component_inputs = frozenset(self._components.inputs if self._components else ())
        aged: defaultdict[str, list[str]] = defaultdict(list)
        for feature, column in event_times.items():
            aged[column].append(feature)
        self._ages = [Ages(column, names) for column, names in aged.items()]
        self.budget = budget(baseline, features=features, event_times=event_times, outcomes=outcomes)
        left_out = frozenset(self.budget.left_out)
        self._exported = [counter for counter in self._features() if counter.feature.name not in left_out]
        self._referenced = [c.feature for c in self._exported if not isinstance(c.feature, _Declared)]
        names_of_baseline = frozenset(feature.name for feature in baseline.features) if baseline else frozenset()
        # Each is a name, the kinds of violations that it can have, and what counts them.
        self._violating: list[tuple[str, tuple[str, ...], _FeatureCounter | Ages]] = [
            *((c.feature.name, semconv.VALUE_VIOLATIONS, c) for c in self._exported if baseline),
            *((a.column, AGE_VIOLATIONS, a) for a in self._ages if a.column not in names_of_baseline),
        ]
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
        self._unexpected = 0
        self._expected = np.zeros(len(self._expected_cells))
        if self.profiler is not None:
            self.profiler.reset()
        for ages in self._ages:
            ages.reset()
        self._durations: dict[str | None, Durations] = {None: Durations()}
        for counter in self._features():
            counter.reset()

    @property
    def shown(self) -> bool:
        """Whether every counter has been exported; the first time, it is at zero."""
        with self._lock:
            histograms: list[Durations | Ages] = [*self._durations.values(), *self._ages]
            return self._shown and all(histogram.shown for histogram in histograms)

    @property
    def takes_output(self) -> bool:
        """Whether the output is looked at.

        It is counted where the baseline has one, or there is no baseline and features are declared; and where outcomes
        are declared, tokens carry it.
        """
        return self._output is not None or self.issuer is not None

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
        if self.profiler is not None:
            columns = self.profiler.inputs(columns)
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
            if self.profiler is not None:
                self.profiler.output(column)
            self._observe(self._output, column)
        if self._calibration is not None and not self.takes_probabilities:
            self._expect(self._calibration, column)

    def observe_probabilities(self, tables: Iterable[NDArray[np.float64]]) -> None:
        """Count what is expected of the probabilities of the classes; of tables of another width nothing is.

        Args:
            tables: the probabilities of each call, shape (rows, classes).
        """
        if isinstance(self._calibration, ClassCalibration):
            fitting = [table for table in tables if table.shape[1] == len(self._calibration.classes)]
            if fitting:
                self._expect(self._calibration, np.concatenate(fitting))

    def _expect(self, calibration: Calibration, outputs: Column) -> None:
        expected = calibration.expected(outputs)
        with self._lock:
            self._expected += expected

    def observe_unexpected(self, values: int) -> bool:
        """Count values under names that the baseline does not know; tell whether they are the first."""
        with self._lock:
            first = not self._unexpected and values > 0
            self._unexpected += values
        return first

    def observe_ages(self, columns: Iterable[Column | None], called: NDArray[np.float64] | float) -> int:
        """Count the columns of event times, in the order of the declaration; return how many could not be read.

        Args:
            columns: the columns.
            called: when the calls began, in seconds since 1970-01-01 UTC; one for each row, or one for all.
        """
        unread = 0
        for ages, column in zip(self._ages, columns, strict=True):
            if column is None:
                unread += 1
                continue
            with self._lock:
                ages.observe(column, called)
        return unread

    def drop(self, reason: str, records: int = 1) -> bool:
        """Count lost records; tell whether it is the first loss for this reason."""
        with self._lock:
            first = reason not in self.dropped
            self.dropped[reason] += records
        return first

    def totals(self) -> Totals:
        """Read what has been counted, without any effect on what is exported."""
        violating: list[tuple[str, _FeatureCounter | Ages]] = [
            *((ages.column, ages) for ages in self._ages),
            *((c.feature.name, c) for c in self._features()),  # a column that is a feature too counts as that
        ]
        with self._lock:
            return Totals(
                self._rows,
                Counter({error_type: counter.calls for error_type, counter in self._durations.items()}),
                {
                    c.feature.name: Counter(dict(zip(c.feature.bins.labels, c.counts.tolist(), strict=True)))
                    for c in self._features()
                },
                {name: Counter(dict(zip(_KINDS, c.violations.tolist(), strict=True))) for name, c in violating},
                self._dropped(),
                self._unexpected,
                {feature: ages.buckets() for ages in self._ages for feature in ages.features},
            )

    def streams(self) -> Iterator[Stream]:
        """Read everything that is exported.

        The first reading shows every counter at zero: Prometheus' `increase()` does not see what a
        series counted before its first sample.
        """
        with self._lock:
            show = 1 if self._shown else 0
            self._shown = True
            counts = [n for c in self._exported for n in (c.counts * show).tolist()]
            violations = [
                n for _, kinds, c in self._violating for n in (c.violations[_positions(kinds)] * show).tolist()
            ]
            violations += [self._unexpected * show] if self.declaration.baseline else []
            ages = [(name, value) for ages in self._ages for value in (ages.take(),) for name in ages.features]
            lost = self._dropped()
            dropped = {reason: lost[reason] * show for reason in semconv.DROP_REASON.values}
            rows = self._rows * show
            expected = (self._expected * show).tolist()
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
        yield semconv.FEATURE_OBSERVATIONS, list(zip(self._observation_attributes, counts, strict=True))
        yield semconv.FEATURE_VIOLATIONS, list(zip(self._violation_attributes, violations, strict=True))
        yield semconv.FEATURE_AGE, [(self._named(name), value) for name, value in ages]
        yield from _grouped(self.labels, zip(self._expected_cells, expected, strict=True))
        yield (
            semconv.RECORDS_DROPPED,
            [({**self.model, semconv.DROP_REASON.name: reason}, number) for reason, number in dropped.items()],
        )
        yield from self._constant

    # What follows is made when something is exported first: an attribute set weighs more than a count.

    @cached_property
    def _observation_attributes(self) -> list[dict[str, Any]]:
        return [
            {
                **self._named(c.feature.name),
                semconv.FEATURE_ROLE.name: c.feature.role,
                semconv.FEATURE_BIN.name: label,
            }
            for c in self._exported
            for label in c.feature.bins.labels
        ]

    @cached_property
    def _violation_attributes(self) -> list[dict[str, Any]]:
        kinds = [(name, kind) for name, kinds, _ in self._violating for kind in kinds]
        unexpected = [(semconv.UNEXPECTED_FEATURE, semconv.UNEXPECTED)] if self.declaration.baseline else []
        return [{**self._named(name), semconv.VIOLATION_KIND.name: kind} for name, kind in kinds + unexpected]

    @cached_property
    def _constant(self) -> list[Stream]:
        return list(self._declared_streams())

    def _named(self, feature: str) -> dict[str, Any]:
        return {**self.model, semconv.FEATURE_NAME.name: feature}

    def _dropped(self) -> Counter[str]:
        return self.dropped + Counter(internal_error=self.faults)

    def _features(self) -> list[_FeatureCounter]:
        return [*self._inputs, *(counter for counter in (self._output, self._derived) if counter)]

    def _observe(self, counter: _FeatureCounter, column: Column) -> None:
        counts, violations = counter.feature.bins.count(column)
        with self._lock:
            counter.counts += counts
            counter.violations += violations

    def _declared_streams(self) -> Iterator[Stream]:
        """What the declaration alone determines."""
        baseline, owner, objectives = self.declaration.baseline, self.declaration.owner, self.declaration.objectives
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
            if objectives.baseline_age is not None:
                yield semconv.BASELINE_AGE_OBJECTIVE, [(self.model, objectives.baseline_age.total_seconds())]
        if baseline:
            made = datetime.fromisoformat(baseline.created).timestamp()
            yield (
                semconv.BASELINE_TIMESTAMP,
                [({**self.model, semconv.BASELINE_VERSION.name: baseline.model_version}, made)],
            )
        if self._calibration:
            yield from _grouped(self.model, self._calibration.reference)
        if self.issuer is not None and self.issuer.segments is not None:
            yield self._segments(self.issuer.segments)
        yield semconv.FEATURES_LEFT_OUT, [(self.model, len(self.budget.left_out))]
        for feature in self._referenced:
            yield from self._reference_streams(feature)

    def _segments(self, segments: Segments) -> Stream:
        named = {**self.model, semconv.FEATURE_NAME.name: segments.feature}
        segment, bin_range = semconv.OUTCOME_SEGMENT.name, semconv.FEATURE_BIN_RANGE.name
        bins = zip(segments.bins.labels, segments.bins.ranges, strict=True)
        return (
            semconv.OUTCOME_SEGMENT_INFO,
            [({**named, segment: label, bin_range: text}, 1) for label, text in bins],
        )

    def _reference_streams(self, feature: Feature) -> Iterator[Stream]:
        named = self._named(feature.name)
        bins = zip(feature.bins.labels, feature.bins.ranges, feature.counts, strict=True)
        role, bin_, bin_range = semconv.FEATURE_ROLE.name, semconv.FEATURE_BIN.name, semconv.FEATURE_BIN_RANGE.name
        yield (
            semconv.FEATURE_REFERENCE_OBSERVATIONS,
            [({**named, role: feature.role, bin_: label, bin_range: text}, count) for label, text, count in bins],
        )
        yield (
            semconv.FEATURE_REFERENCE_VIOLATIONS,
            [
                ({**named, semconv.VIOLATION_KIND.name: kind}, feature.violations[_KINDS.index(kind)])
                for kind in semconv.VALUE_VIOLATIONS
            ],
        )
        yield semconv.FEATURE_REFERENCE_DISPERSION, [(named, feature.dispersion)]
        if feature.importance is not None:
            yield semconv.FEATURE_IMPORTANCE, [(named, feature.importance)]
        about = {
            semconv.FEATURE_SOURCE.name: feature.source,
            semconv.FEATURE_UNIT.name: feature.unit,
            semconv.TEAM.name: feature.team,
        }
        if any(about.values()):
            yield semconv.FEATURE_INFO, [({**named, **{k: v for k, v in about.items() if v}}, 1)]


def _issuer(declaration: Declaration, outcomes: Outcomes) -> Issuer:
    name, version, variant, baseline, *_ = declaration
    segments = None
    if baseline is not None and outcomes.segment is not None:
        position = [feature.name for feature in baseline.inputs].index(outcomes.segment)
        segments = Segments(outcomes.segment, position, baseline.inputs[position].bins)
    return Issuer(outcomes, TokenKeys.from_environment(), (name, version, variant), segments)


def _grouped(attributes: dict[str, Any], cells: Iterable[tuple[Cell, float]]) -> Iterator[Stream]:
    """Read cells as metric streams."""
    points: defaultdict[semconv.Metric, list[Point]] = defaultdict(list)
    for cell, value in cells:
        points[cell.metric].append(({**attributes, **cell.attributes}, value))
    yield from points.items()


def _positions(kinds: tuple[str, ...]) -> list[int]:
    return [_KINDS.index(kind) for kind in kinds]
