"""Runs the shipped rules over counts in a real Prometheus, each at its own interval, by the replay of the backtest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from traffic import DAY, Counts

from windvane import semconv
from windvane_dashboards.cli_rules.replay import Replay
from windvane_dashboards.cli_rules.rulefile import Group, parse_groups
from windvane_dashboards.cli_rules.scratch_prometheus import scratch_prometheus
from windvane_dashboards.promql import FEATURE_LABEL, FEATURE_OWNER, OWNER_REPORTING, DriftSeries
from windvane_dashboards.rules import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DRIFT_OBJECTIVE", "Model", "fired"]

_GROUPS: Final = frozenset(
    f"windvane-{name}"
    for name in (
        "calls",
        "traffic",
        "observations",
        "reference",
        "drift-1h",
        "drift-1d",
        "drift-1d-latest",
        "drift-budget",
        "violations",
        "violations-1h",
        "alerts-volume",
        "alerts-drift",
        "alerts-drift-budget",
        "alerts-health",
    )
)
"""All that counts of calls and values can set off in one version without canary; errors, latency and ages are not
simulated."""
_FIXED: Final = {"FixedPSI01": 0.1, "FixedPSI02": 0.2}
_BEGIN: Final = 1_767_225_600  # a midnight
_MINUTE: Final = 60_000
_GAUGE_MINUTES: Final = 4  # between two samples of what never changes; Prometheus takes one for the present for five
DRIFT_OBJECTIVE: Final = 0.99


@dataclass
class Model:
    """A model's features.

    Attributes:
        counts: rows by minute and bin, for each feature; the last bin is for missing values.
        reference: of each feature.
        dispersion: of each feature.
        days: how many.
    """

    counts: dict[str, Counts]
    reference: dict[str, Counts]
    dispersion: dict[str, float]
    days: int

    def add(self, name: str, counts: Counts, reference: Counts, dispersion: float) -> None:
        """Add a feature."""
        self.counts[name], self.reference[name], self.dispersion[name] = counts, reference, dispersion


def _series(model: Model) -> Iterator[tuple[Mapping[str, str], list[tuple[int, float]]]]:
    times = [_BEGIN * 1000 + _MINUTE * i for i in range(model.days * DAY + 1)]
    own = {semconv.MODEL_NAME.label: "m", semconv.MODEL_VERSION.label: "1"}

    def constant(name: str, value: float, **labels: str) -> tuple[Mapping[str, str], list[tuple[int, float]]]:
        return {"__name__": name, **own, **labels}, [(time, value) for time in times[::_GAUGE_MINUTES]]

    def counter(name: str, counts: Counts, **labels: str) -> tuple[Mapping[str, str], list[tuple[int, float]]]:
        values = np.concatenate([[0], np.cumsum(counts)]).tolist()
        return {"__name__": name, **own, **labels}, list(zip(times, values, strict=True))

    # The owners are given as their rules record them: those read their own last value, so a replay goes step by step.
    owner = {"team": "t", "severity": "page"}
    yield constant(OWNER_REPORTING, 1, **owner)
    yield constant(semconv.MODEL_OBJECTIVE.prometheus_name, DRIFT_OBJECTIVE, **{semconv.OBJECTIVE.label: "drift"})
    rows = next(iter(model.counts.values())).sum(axis=1)
    yield counter(f"{semconv.PREDICTION_DURATION.prometheus_name}_count", rows)
    for name, counts in model.counts.items():
        feature = {FEATURE_LABEL: name}
        yield constant(FEATURE_OWNER, 1, **feature, **owner)
        labels = [*(f"{i:02d}" for i in range(counts.shape[1] - 1)), semconv.BIN_NULL]
        for i, label in enumerate(labels):
            bin_ = {**feature, semconv.FEATURE_ROLE.label: "input", semconv.FEATURE_BIN.label: label}
            yield counter(semconv.FEATURE_OBSERVATIONS.prometheus_name, counts[:, i], **bin_)
            reference = float(model.reference[name][i])
            yield constant(semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name, reference, **bin_)
        missing = {**feature, semconv.VIOLATION_KIND.label: "missing"}
        yield counter(semconv.FEATURE_VIOLATIONS.prometheus_name, counts[:, -1], **missing)
        expected = float(model.reference[name][-1])
        yield constant(semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name, expected, **missing)
        yield constant(semconv.FEATURE_REFERENCE_DISPERSION.prometheus_name, model.dispersion[name], **feature)


def _groups() -> list[Group]:
    shipped = [group for name, text in render().items() for group in parse_groups(text, name)]
    groups = [group for group in shipped if group["name"] in _GROUPS]
    fixed = [
        {
            "alert": name,
            "expr": f"{DriftSeries('1h').statistic('psi')} > {threshold}",
            "for": "10m",
            "keep_firing_for": "30m",
        }
        for name, threshold in _FIXED.items()
    ]
    return [*groups, {"name": "fixed", "interval": "4m", "rules": fixed}]


def fired(model: Model) -> dict[str, list[str]]:
    """Evaluate the rules over a model's counts; return for each alert the feature of each time that it fired."""
    found: dict[str, list[str]] = defaultdict(list)
    with scratch_prometheus() as prometheus:
        prometheus.write(_series(model))
        end = _BEGIN + model.days * DAY * 60
        replay = Replay(_groups(), source=prometheus, scratch=prometheus, begin=_BEGIN, end=end)
        for episode in replay.run():
            if episode.fired is not None:
                found[episode.alert].append(dict(episode.labels).get(FEATURE_LABEL, ""))
    return dict(found)
