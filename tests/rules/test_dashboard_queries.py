"""Every query of the dashboards answers on a real Prometheus engine, over the shipped rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from windvane_dashboards.model_dashboard import MODEL, queries
from windvane_dashboards.model_dashboard.variables import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.stack

AT = 'ml_model_name="fares",ml_model_version="3",instance="a"'
DISTANCE = f'{AT},ml_feature_name="distance",ml_feature_role="input"'

# One model on which everything that the dashboard shows has happened.
SERIES = {
    f'ml_model_info{{{AT},team="pricing",severity="page",runbook_url="https://example.org",'
    'ml_model_baseline_id="b1",ml_model_framework="scikit-learn"}': "1x120",
    f'ml_model_objective{{{AT},ml_objective="availability"}}': "0.99x120",
    f'ml_model_objective{{{AT},ml_objective="latency"}}': "0.99x120",
    f"ml_model_latency_objective_seconds{{{AT}}}": "0.25x120",
    f"ml_prediction_duration_seconds_count{{{AT}}}": "0+60x120",
    f'ml_prediction_duration_seconds_count{{{AT},error_type="ValueError"}}': "0+60x120",
    f'ml_prediction_duration_seconds_bucket{{{AT},le="0.1"}}': "0+20x120",
    f'ml_prediction_duration_seconds_bucket{{{AT},le="0.25"}}': "0+40x120",
    f'ml_prediction_duration_seconds_bucket{{{AT},le="+Inf"}}': "0+60x120",
    f"ml_prediction_rows_total{{{AT}}}": "0+600x120",
    f"ml_prediction_active{{{AT}}}": "2x120",
    f'ml_feature_observations_total{{{DISTANCE},ml_feature_bin="00"}}': "0+10x120",
    f'ml_feature_observations_total{{{DISTANCE},ml_feature_bin="01"}}': "0+90x120",
    f'ml_feature_observations_total{{{DISTANCE},ml_feature_bin="null"}}': "0+100x120",
    f'ml_feature_reference_observations{{{DISTANCE},ml_feature_bin="00",ml_feature_bin_range="up to 5"}}': "500x120",
    f'ml_feature_reference_observations{{{DISTANCE},ml_feature_bin="01",ml_feature_bin_range="above 5"}}': "400x120",
    f'ml_feature_reference_observations{{{DISTANCE},ml_feature_bin="null",ml_feature_bin_range="missing"}}': "100x120",
    f'windvane_records_dropped_total{{{AT},windvane_drop_reason="queue_full"}}': "0+1x120",
    **{
        f'ml_feature_violations_total{{{AT},ml_feature_name="distance",ml_violation_kind="{kind}"}}': f"0+{step}x120"
        for kind, step in (("missing", 100), ("unexpected", 0), ("type", 0), ("range", 1), ("category", 0))
    },
}

VALUES = {
    "$model": "fares",
    "$version": "3",
    "$feature": "distance",
    "$__rate_interval": "5m",
    "$__range": "1h",
}


def _filled(expr: str) -> str:
    for name, value in VALUES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr
    return expr


def _targets() -> list[tuple[str, dict[str, Any]]]:
    return [(panel["title"], target) for panel in MODEL["panels"] for target in panel.get("targets", ())]


def test_every_query_has_an_answer(evaluate: Callable[..., str]) -> None:
    """No panel errs or stays empty for a model on which everything has happened."""
    targets = _targets()
    assert len(targets) > 25
    expressions = [target["expr"] for _, target in targets] + [
        annotation["expr"] for annotation in MODEL["annotations"]["list"]
    ]
    evaluate(SERIES, {f"count({_filled(expr)}) > bool 0": 1 for expr in expressions}, at="100m")


def test_every_variable_finds_values(evaluate: Callable[..., str]) -> None:
    """The series that a variable lists carry the label that it lists."""
    expectations = {}
    for variable in VARIABLES:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match
        expectations[_filled(f"count(group by ({match[2]}) ({match[1]})) == bool count(group({match[1]}))")] = 1
    evaluate(SERIES, expectations, at="100m")


def _share_of_missing(shares: str) -> str:
    """Return the query for the bar whose range is `missing`, in millionths."""
    one = 'label_replace(vector(1), "ml_feature_bin_range", "missing", "", "")'
    return f"round(1e6 * sum({shares} and on (ml_feature_bin_range) {one}))"


def test_the_distribution_shows_shares_of_live_and_reference_by_range(evaluate: Callable[..., str]) -> None:
    """Half of the live values are missing, a tenth of the reference's."""
    live, reference = _filled(queries.LIVE_SHARES), _filled(queries.REFERENCE_SHARES)
    evaluate(
        SERIES,
        {
            f"round(sum({live}) * 1e9)": 1e9,
            f"round(sum({reference}) * 1e9)": 1e9,
            f"count({live})": 3,
            _share_of_missing(live): 5e5,
            _share_of_missing(reference): 1e5,
        },
        at="100m",
    )


def test_the_slow_share_and_the_quantile_are_those_of_the_calls(evaluate: Callable[..., str]) -> None:
    """A third of the calls is above the objective; the median lies in the second bucket."""
    evaluate(
        SERIES,
        {
            f"round({_filled(queries.SLOW_RATIO)} * 3e6)": 1e6,
            f"round({_filled(queries.latency(0.5))} * 1e6)": 175_000,
        },
        at="100m",
    )
