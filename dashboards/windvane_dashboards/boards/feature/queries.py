"""The queries of the Feature dashboard."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_feature, with_runbook
from windvane_dashboards.rules import Timings

_HOUR: Final = p.DriftSeries("1h")
_DAY: Final = p.DriftSeries("1d")
# The day's bins are computed more seldom than Prometheus takes a sample for the present.
_COMPUTED: Final = p.duration(Timings().day_lookback)
_RANGE: Final = semconv.FEATURE_BIN_RANGE.label

PSI_HOUR: Final = f"max({of_feature(_HOUR.statistic('psi'))})"
PSI_DAY: Final = f"max({of_feature(_DAY.statistic('psi'))})"
PSI_PAST: Final = f"max({of_feature(_HOUR.past)})"
FLOOR_HOUR: Final = f"max({of_feature(_HOUR.noise_floor)})"
TICKET_FLOOR_HOUR: Final = f"max({of_feature(_HOUR.ticket_floor)})"
HELLINGER_HOUR: Final = f"max({of_feature(_HOUR.statistic('hellinger'))})"
RATIO: Final = f"{PSI_HOUR} / {FLOOR_HOUR}"
VALUES_HOUR: Final = f"max({of_feature(_HOUR.live_total)})"
DISPERSION: Final = f"max({of_feature(p.DISPERSION)})"
IMPORTANCE: Final = f"max({of_feature(semconv.FEATURE_IMPORTANCE.prometheus_name)})"
MISSING: Final = f"max({of_feature(_HOUR.null_ratio)})"
_MISSING_REFERENCE: Final = of_feature(p.REFERENCE_VIOLATION_RATIO, f'{p.KIND_LABEL}="missing"')
MISSING_REFERENCE: Final = f"max({_MISSING_REFERENCE}) or 0 * max({of_feature(p.REFERENCE_ROWS)})"
EXCESS: Final = f"max({of_feature(p.VIOLATION_EXCESS)}) or 0 * max({of_feature(p.FEATURE_RATE)})"
AGE: Final = f"max({of_feature(p.AGE_MEDIAN)})"
AGE_LIMIT: Final = f"max({of_feature(p.AGE_LIMIT)})"

SOURCE: Final = (
    f"topk(1, group by ({p.labels(p.SOURCE_LABEL, semconv.FEATURE_UNIT.label, semconv.TEAM.label)}) "
    f"({of_feature(p.FEATURE_OWNER)} or {of_feature(semconv.FEATURE_INFO.prometheus_name)}))"
)
_ALERT: Final = (p.MODEL_LABEL, p.VERSION_LABEL, "alertname", semconv.SEVERITY.label, semconv.TEAM.label, p.KIND_LABEL)
_ALERTS: Final = of_feature("ALERTS", 'alertstate="firing"')
FIRING: Final = with_runbook(f"count by ({p.labels(*_ALERT)}) ({_ALERTS})", *_ALERT)


def _ranged(counts: str) -> str:
    """Give each bin the label that says what it holds."""
    ranges = (
        f"topk by ({p.BIN_LABEL}) (1, group by ({p.labels(p.BIN_LABEL, _RANGE)}) "
        f"({of_feature(semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name)}))"
    )
    return f"{counts} * on ({p.BIN_LABEL}) group_right () {ranges}"


def _shares(series: str) -> str:
    """Return each bin's share of the values."""
    return f"sum by ({p.BIN_LABEL}) ({series}) / scalar(sum({series}))"


LIVE_SHARES: Final = _ranged(_shares(of_feature(_HOUR.live)))
DAY_SHARES: Final = _ranged(_shares(f"last_over_time({of_feature(_DAY.live)}[{_COMPUTED}])"))
REFERENCE_SHARES: Final = _ranged(_shares(of_feature(_HOUR.reference)))
SHARES_OVER_TIME: Final = _shares(of_feature(_HOUR.live))


def violations(kind: str) -> str:
    """Return the query for the share of the values of the last hour that are in violation in one way."""
    found = of_feature(p.VIOLATION_RATIO, f'{p.KIND_LABEL}="{kind}"')
    return f"max({found}) or 0 * max({of_feature(p.FEATURE_ROWS)})"
