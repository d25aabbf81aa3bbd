"""The queries of the Model dashboard.

`$model`, `$version` and `$feature` are the dashboard's variables. Signals are read from the recorded
series, so what the dashboard shows is what the alerts judge; raw metrics are read where no rule records
them, and for latency, whose exemplars hang on the raw histogram.
"""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p

_MODEL: Final = f'{p.MODEL_LABEL}="$model",{p.VERSION_LABEL}="$version"'
_FEATURE: Final = f'{_MODEL},{p.FEATURE_LABEL}="$feature"'
_ERROR: Final = semconv.ERROR_TYPE.label
_RANGE: Final = semconv.FEATURE_BIN_RANGE.label
_DURATION: Final = semconv.PREDICTION_DURATION.prometheus_name
_HOUR: Final = p.DriftSeries("1h")
_DAY: Final = p.DriftSeries("1d")


def _model(series: str, more: str = "") -> str:
    return f"{series}{{{_MODEL}{more}}}"


def _feature(series: str) -> str:
    return f"{series}{{{_FEATURE}}}"


OWNER: Final = _model(p.OWNER)
INFO: Final = (
    f"topk(1, group by ({p.labels(semconv.BASELINE_ID.label, semconv.MODEL_FRAMEWORK.label)}) "
    f"({_model(semconv.MODEL_INFO.prometheus_name)}))"
)
FIRING: Final = (
    f"count by ({p.labels('alertname', semconv.SEVERITY.label, p.FEATURE_LABEL, p.KIND_LABEL)}) "
    f'(ALERTS{{alertstate="firing",{_MODEL}}})'
)
FIRING_COUNT: Final = f'count(ALERTS{{alertstate="firing",{_MODEL}}}) or vector(0)'

CALLS: Final = f"sum({_model(p.CALL_RATE)})"
ROWS: Final = f"sum(rate({_model(semconv.PREDICTION_ROWS.prometheus_name)}[$__rate_interval]))"
ACTIVE: Final = f"sum({_model(semconv.PREDICTION_ACTIVE.prometheus_name)})"

ERROR_RATIO: Final = f"max({_model(p.ERRORS.ratio('5m'))})"
ERROR_THRESHOLD: Final = f"""max({_model(p.burn_threshold("1h"), f',{p.OBJECTIVE_LABEL}="availability"')})"""
ERRORS_BY_TYPE: Final = (
    f"""sort_desc(sum by ({_ERROR}) (increase({_model(f"{_DURATION}_count", f',{_ERROR}!=""')}[$__range])) > 0)"""
)

LATENCY_OBJECTIVE: Final = f"max({_model(semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name)})"
SLOW_RATIO: Final = f"max({_model(p.SLOW.ratio('5m'))})"
SLOW_THRESHOLD: Final = f"""max({_model(p.burn_threshold("1h"), f',{p.OBJECTIVE_LABEL}="latency"')})"""


def latency(quantile: float) -> str:
    """Return the query for a quantile of the duration of successful calls, in seconds."""
    buckets = _model(f"{_DURATION}_bucket", f',{_ERROR}=""')
    return f"histogram_quantile({quantile}, sum by (le) (rate({buckets}[$__rate_interval])))"


def _by_feature(expr: str) -> str:
    return f"max by ({p.labels(p.FEATURE_LABEL, p.ROLE_LABEL)}) ({expr})"


DRIFTED: Final = f"sum({_model(_HOUR.shifted)})"
WATCHED: Final = f"count({_model(_HOUR.shifted)})"
DRIFT_RATIO: Final = _by_feature(f"{_model(_HOUR.statistic('psi'))} / {_model(_HOUR.noise_floor)}")
DRIFT_PSI: Final = _by_feature(_model(_HOUR.statistic("psi")))
DRIFT_HELLINGER: Final = _by_feature(_model(_HOUR.statistic("hellinger")))
DRIFT_NULLS: Final = _by_feature(_model(_HOUR.null_ratio))
DRIFT_ROWS: Final = _by_feature(_model(_HOUR.live_total))

PSI_HOUR: Final = f"max({_feature(_HOUR.statistic('psi'))})"
PSI_DAY: Final = f"max({_feature(_DAY.statistic('psi'))})"
FLOOR_HOUR: Final = f"max({_feature(_HOUR.noise_floor)})"


def _shares(series: str) -> str:
    """Return each bin's share with the bin's range as a label."""
    ranges = (
        f"topk by ({p.BIN_LABEL}) (1, group by ({p.labels(p.BIN_LABEL, _RANGE)}) "
        f"({_feature(semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name)}))"
    )
    counts = f"sum by ({p.BIN_LABEL}) ({_feature(series)})"
    return f"{counts} / scalar(sum({_feature(series)})) * on ({p.BIN_LABEL}) group_right () {ranges}"


LIVE_SHARES: Final = _shares(_HOUR.live)
REFERENCE_SHARES: Final = _shares(_HOUR.reference)

BROKEN: Final = f"sort_desc(topk(10, {_model(p.VIOLATION_EXCESS)} > 0))"


def violations(kind: str) -> str:
    """Return the query for all features' violations of a kind per second."""
    return f"""sum({_model(p.VIOLATION_RATE, f',{p.KIND_LABEL}="{kind}"')})"""


DROPPED: Final = (
    f"sum by ({semconv.DROP_REASON.label}) (rate({_model(semconv.RECORDS_DROPPED.prometheus_name)}[$__rate_interval]))"
)
