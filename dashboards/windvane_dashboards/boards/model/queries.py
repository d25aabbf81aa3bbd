"""The queries of the Model dashboard.

Signals are read from the recorded series, so what the dashboard shows is what the alerts judge; raw metrics are read
where no rule records them, and for latency, whose exemplars hang on the raw histogram.
"""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_model

_ERROR: Final = semconv.ERROR_TYPE.label
_DURATION: Final = semconv.PREDICTION_DURATION.prometheus_name
_HOUR: Final = p.DriftSeries("1h")
_FIRING: Final = of_model("ALERTS", 'alertstate="firing"')

OWNER: Final = of_model(p.OWNER)
INFO: Final = (
    f"topk(1, group by ({p.labels(semconv.BASELINE_ID.label, semconv.MODEL_FRAMEWORK.label)}) "
    f"({of_model(semconv.MODEL_INFO.prometheus_name)}))"
)
FIRING: Final = f"count by ({p.labels('alertname', semconv.SEVERITY.label, p.FEATURE_LABEL, p.KIND_LABEL)}) ({_FIRING})"
FIRING_COUNT: Final = f"count({_FIRING}) or vector(0)"
DEPLOYED: Final = (
    f'group by ({p.VERSION_LABEL}) ({p.CALL_RATE}{{{p.MODEL_LABEL}="$model"}}) '
    f'unless group by ({p.VERSION_LABEL}) ({p.CALL_RATE}{{{p.MODEL_LABEL}="$model"}} offset 5m)'
)
"""Versions of the model in the first minutes in which they are called."""

CALLS: Final = f"sum({of_model(p.CALL_RATE)})"
ROWS: Final = f"sum(rate({of_model(semconv.PREDICTION_ROWS.prometheus_name)}[$__rate_interval]))"
ACTIVE: Final = f"sum({of_model(semconv.PREDICTION_ACTIVE.prometheus_name)})"

ERROR_RATIO: Final = f"max({of_model(p.ERRORS.ratio('5m'))})"
ERROR_THRESHOLD: Final = f"""max({of_model(p.burn_threshold("1h"), f'{p.OBJECTIVE_LABEL}="availability"')})"""
ERRORS_BY_TYPE: Final = (
    f"""sort_desc(sum by ({_ERROR}) (increase({of_model(f"{_DURATION}_count", f'{_ERROR}!=""')}[$__range])) > 0)"""
)

LATENCY_OBJECTIVE: Final = f"max({of_model(semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name)})"
SLOW_RATIO: Final = f"max({of_model(p.SLOW.ratio('5m'))})"
SLOW_THRESHOLD: Final = f"""max({of_model(p.burn_threshold("1h"), f'{p.OBJECTIVE_LABEL}="latency"')})"""


def latency(quantile: float) -> str:
    """Return the query for a quantile of the duration of successful calls, in seconds."""
    buckets = of_model(f"{_DURATION}_bucket", f'{_ERROR}=""')
    return f"histogram_quantile({quantile}, sum by (le) (rate({buckets}[$__rate_interval])))"


def _by_feature(expr: str) -> str:
    return f"max by ({p.labels(p.FEATURE_LABEL, p.ROLE_LABEL)}) ({expr})"


_PSI: Final = _by_feature(of_model(_HOUR.statistic("psi")))
_FLOOR: Final = _by_feature(of_model(_HOUR.noise_floor))
_IMPORTANCE: Final = f"max by ({p.FEATURE_LABEL}) ({of_model(semconv.FEATURE_IMPORTANCE.prometheus_name)})"
_BEYOND: Final = f"({_PSI} - {_FLOOR} > 0)"
_WEIGHTED: Final = f"({_BEYOND} * on ({p.FEATURE_LABEL}) group_left () {_IMPORTANCE} or {_BEYOND})"

DRIFTED: Final = f"sum({of_model(_HOUR.shifted)})"
WATCHED: Final = f"count({of_model(_HOUR.shifted)})"
DRIFT_SHARE: Final = f"max({of_model(p.DRIFT_SHARE)})"
DRIFT_CONTRIBUTION: Final = f"{_WEIGHTED} / scalar(sum({_WEIGHTED}))"
"""PSI above the noise floor, weighted by the feature's importance, as a share of all."""
DRIFT_RATIO: Final = _by_feature(f"{of_model(_HOUR.statistic('psi'))} / {of_model(_HOUR.noise_floor)}")
DRIFT_PSI: Final = _PSI
DRIFT_HELLINGER: Final = _by_feature(of_model(_HOUR.statistic("hellinger")))
DRIFT_NULLS: Final = _by_feature(of_model(_HOUR.null_ratio))
DRIFT_ROWS: Final = _by_feature(of_model(_HOUR.live_total))

BROKEN: Final = f"sort_desc(topk(10, {of_model(p.VIOLATION_EXCESS)} > 0))"


def violations(kind: str) -> str:
    """Return the query for all features' violations of a kind per second."""
    return f"""sum({of_model(p.VIOLATION_RATE, f'{p.KIND_LABEL}="{kind}"')})"""


DROPPED: Final = (
    f"sum by ({semconv.DROP_REASON.label}) "
    f"(rate({of_model(semconv.RECORDS_DROPPED.prometheus_name)}[$__rate_interval]))"
)

# A probe without a version asks whichever answers.
_OF_PROBES: Final = f'{{{p.MODEL_LABEL}="$model",{p.VERSION_LABEL}=~"|$version"}}'
PROBES_NOT_PASSED: Final = (
    f"max by ({p.PROBE_LABEL}) ({p.PROBE_NOT_PASSED}{_OF_PROBES} / ({p.PROBE_RUNS}{_OF_PROBES} > 0))"
)
PROBE_DURATION: Final = (
    f"histogram_quantile(0.95, sum by ({p.PROBE_LABEL}, le) "
    f"(rate({semconv.PROBE_DURATION.prometheus_name}_bucket{_OF_PROBES}[$__rate_interval])))"
)
