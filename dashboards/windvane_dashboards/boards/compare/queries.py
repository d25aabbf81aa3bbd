"""The queries of the Compare dashboard."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_model

_HOUR: Final = p.DriftSeries("1h")
_RANGE: Final = semconv.FEATURE_BIN_RANGE.label


def _of_deployments(series: str) -> str:
    return f'max by ({p.labels(p.VERSION_LABEL, p.VARIANT_LABEL)}) ({series}{{{p.MODEL_LABEL}="$model"}})'


DEPLOYMENT_CALLS: Final = _of_deployments(p.DEPLOYMENT_CALLS)
DEPLOYMENT_ERRORS: Final = f"{_of_deployments(p.DEPLOYMENT_ERRORS)} / {DEPLOYMENT_CALLS}"
DEPLOYMENT_P95: Final = _of_deployments(p.DEPLOYMENT_P95)
DEPLOYMENT_STABLE: Final = _of_deployments(p.STABLE)


def quality(name: str) -> str:
    """Return the query for a statistic of a week's outcomes of each deployment."""
    return _of_deployments(p.OutcomeSeries("realised", "7d").statistic(name))


def calls(version: str) -> str:
    """Return the query for a version's calls per second."""
    return f"sum({of_model(p.CALL_RATE, version=version)})"


def failed(version: str) -> str:
    """Return the query for the share of a version's calls that failed."""
    return f"max({of_model(p.ERRORS.ratio('5m'), version=version)})"


def p95(version: str) -> str:
    """Return the query for the 95th percentile of the duration of a version's successful calls, in seconds."""
    return f"histogram_quantile(0.95, {of_model(p.BUCKET_RATE, version=version)})"


def drift_share(version: str) -> str:
    """Return the query for the share of a version that rests on shifted features."""
    return f"max({of_model(p.DRIFT_SHARE, version=version)})"


def outputs(version: str) -> str:
    """Return the query for the shares of a version's answers of the last hour, by what each bin holds."""
    bins = of_model(p.OUTPUT_BINS, version=version)
    return (
        f"sum by ({p.labels(p.FEATURE_LABEL, p.BIN_LABEL, _RANGE)}) ({bins}) "
        f"/ on ({p.FEATURE_LABEL}) group_left () sum by ({p.FEATURE_LABEL}) ({bins})"
    )


def psi(version: str) -> str:
    """Return the query for the drift of a version's features, each against its own reference."""
    return f"max by ({p.FEATURE_LABEL}) ({of_model(_HOUR.statistic('psi'), version=version)})"


def missing(version: str) -> str:
    """Return the query for the share of missing values of a version's features."""
    return f"max by ({p.FEATURE_LABEL}) ({of_model(_HOUR.null_ratio, version=version)})"
