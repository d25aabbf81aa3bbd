"""The queries of the Model dashboard.

Signals are read from the recorded series, so what the dashboard shows is what the alerts judge; raw metrics are read
where no rule records them, and for latency, whose exemplars hang on the raw histogram.
"""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_model
from windvane_dashboards.rules.statistics import CONFIDENCE_QUANTILE, wilson

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
    found = of_model(p.VIOLATION_RATE, f'{p.KIND_LABEL}="{kind}"')
    return f"sum({found}) or 0 * sum({of_model(p.FEATURE_RATE)})"


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


# Quality, by outcomes: of the version where alerts judge it, of its variants where statistics are recorded.

_WEEK: Final = p.OutcomeSeries("realised", "7d")
_ACTUAL: Final = semconv.OUTCOME_ACTUAL.label
_PREDICTED: Final = semconv.OUTCOME_PREDICTED.label
_BIN: Final = semconv.OUTCOME_SCORE_BIN.label


def _right(ratio: str) -> str:
    return f"1 - max({of_model(ratio)})"


RIGHT: Final = _right(p.REALISED_SHARE.ratio("1d"))
RIGHT_EXPECTED: Final = _right(p.EXPECTED_SHARE.ratio("1d"))
RIGHT_REFERENCE: Final = _right(p.REFERENCE_SHARE.ratio())
RIGHT_OBJECTIVE: Final = f"""1 - max({of_model(p.ERROR_BUDGET, f'{p.OBJECTIVE_LABEL}="quality"')})"""
_JUDGED: Final = f"max({of_model(p.REALISED_SHARE.number('judged', '1d'))})"
RIGHT_LOW: Final = wilson(f"({RIGHT})", _JUDGED, CONFIDENCE_QUANTILE)
RIGHT_HIGH: Final = wilson(f"({RIGHT})", _JUDGED, CONFIDENCE_QUANTILE, upper=True)
"""Of all variants together, as the share is."""
UNEXPLAINED: Final = (
    f"max({of_model(p.REALISED_SHARE.ratio('7d'))}) - max({of_model(p.EXPECTED_AGED_RATIO)}) "
    f"or max({of_model(p.OUTCOME_ERROR)}) - max({of_model(p.EXPECTED_AGED_ERROR)})"
)
"""Of wrong outcomes, or of the mean absolute error, what was not expected."""
UNEXPLAINED_NOISE: Final = f"max({of_model(p.WRONG_NOISE)}) or max({of_model(p.OUTCOME_ERROR_NOISE)})"


def quality(name: str) -> str:
    """Return the query for a statistic of a week's outcomes by variant."""
    return f"max by ({p.VARIANT_LABEL}) ({of_model(_WEEK.statistic(name))})"


def of_class(name: str) -> str:
    """Return the query for a statistic of each class, from the counts of all variants."""
    hits, predicted, actual = (
        f"sum by ({_ACTUAL}) ({of_model(_WEEK.statistic(f'class_{count}'))})"
        for count in ("hits", "predicted", "actual")
    )
    return {
        "class_predicted": predicted,
        "class_actual": actual,
        "precision": f"{hits} / ({predicted} > 0)",
        "recall": f"{hits} / ({actual} > 0)",
        "f1": f"2 * {hits} / ({predicted} + {actual} > 0)",
    }[name]


_ESTIMATED: Final = {
    "right": "right_ratio",
    "precision, mean of classes": "precision",
    "recall, mean of classes": "recall",
    "F1, mean of classes": "f1",
    "ROC AUC": "auc",
    "mean absolute error": "mean_absolute_error",
    "mean absolute error / scale": "relative_absolute_error",
}


def estimated(source: p.OutcomeSource) -> str:
    """Return the query for the statistics that expected and reference outcomes have, too: one row each and variant.

    Those of the reference, which knows no variants, stand beside each that has outcomes or expectations.
    """
    series = p.OutcomeSeries(source, "" if source == "reference" else "7d")
    variants = " or ".join(
        f"group by ({p.VARIANT_LABEL}) ({of_model(p.OutcomeSeries(one, '7d').statistic('outcomes'))})"
        for one in ("realised", "expected")
    )

    def value(name: str) -> str:
        mean = of_model(series.statistic(name))
        if source == "reference":
            return f"({variants}) * on () group_left () avg({mean})"
        return f"avg by ({p.VARIANT_LABEL}) ({mean})"

    return " or ".join(
        f'label_replace({value(name)}, "statistic", "{title}", "", "")' for title, name in _ESTIMATED.items()
    )


CONFUSION: Final = f"sum by ({_PREDICTED}, {_ACTUAL}) ({of_model(_WEEK.count(semconv.OUTCOME_CLASSIFIED))}) > 0"
_SCORED: Final = f"(sum by ({_BIN}) ({of_model(_WEEK.count(semconv.OUTCOME_SCORED))}) > 0)"
_POSITIVE: Final = f"""{of_model(_WEEK.count(semconv.OUTCOME_SCORED), f'{_ACTUAL}="{semconv.OUTCOME_POSITIVE}"')}"""
MEAN_SCORE: Final = f"sum by ({_BIN}) ({of_model(_WEEK.count(semconv.OUTCOME_SCORE))}) / {_SCORED}"
CAME_TRUE: Final = f"(sum by ({_BIN}) ({_POSITIVE}) or 0 * {_SCORED}) / {_SCORED}"


def _of_segment(series: str) -> str:
    """Return a series by feature and what the bin holds; by the bin's name where no process of the model says that."""
    holds = semconv.FEATURE_BIN_RANGE.label
    value = f"max by ({p.SEGMENT_LABEL}) ({of_model(series)})"
    info = (
        f"topk by ({p.SEGMENT_LABEL}) (1, group by ({p.labels(p.SEGMENT_LABEL, p.FEATURE_LABEL, holds)}) "
        f"({of_model(semconv.OUTCOME_SEGMENT_INFO.prometheus_name)}))"
    )
    return (
        f"{value} * on ({p.SEGMENT_LABEL}) group_left ({p.labels(p.FEATURE_LABEL, holds)}) {info} "
        f'or on ({p.SEGMENT_LABEL}) label_replace({value}, "{holds}", "$1", "{p.SEGMENT_LABEL}", "(.*)")'
    )


SEGMENT_WRONG: Final = _of_segment(p.SEGMENT_RATIO)
SEGMENT_OUTCOMES: Final = _of_segment(p.SEGMENT_JUDGED)
SEGMENT_SURELY: Final = _of_segment(p.SEGMENT_SURELY)
COVERAGE: Final = f"max({of_model(p.COVERAGE)})"
DAY_OUTCOMES: Final = f"max({of_model(p.DAY_OUTCOMES)})"
LAG_MEDIAN: Final = f"max({of_model(p.LAG_MEDIAN)})"
LAG_P95: Final = f"max({of_model(p.LAG_P95)})"
REFUSED: Final = (
    f"sum by ({semconv.OUTCOME_REFUSAL.label}) (rate({semconv.OUTCOMES_REFUSED.prometheus_name}[$__rate_interval]))"
)
