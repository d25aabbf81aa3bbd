"""Every query of the dashboards answers on a real Prometheus engine, over the shipped rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import pytest

from windvane_dashboards.boards import BOARDS
from windvane_dashboards.boards.feature import queries as of_feature
from windvane_dashboards.boards.fleet import queries as of_fleet
from windvane_dashboards.boards.model import queries as of_model
from windvane_dashboards.promql import REALISED_SHARE, OutcomeSeries
from windvane_dashboards.rules.statistics import CONFIDENCE_QUANTILE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.stack


def _version(version: str) -> dict[str, str]:
    """Everything that the dashboards show has happened to this version."""
    at = f'ml_model_name="fares",ml_model_version="{version}",instance="a"'
    distance = f'{at},ml_feature_name="distance",ml_feature_role="input"'
    fare = f'{at},ml_feature_name="fare",ml_feature_role="output"'
    feature = f'{at},ml_feature_name="distance"'
    reference = "ml_feature_reference_observations"
    return {
        f'ml_model_info{{{at},team="pricing",severity="page",runbook_url="https://example.org",'
        'ml_model_baseline_id="b1",ml_model_framework="scikit-learn"}': "1x120",
        **{
            f'ml_model_objective{{{at},ml_objective="{objective}"}}': "0.99x120"
            for objective in ("availability", "latency", "drift")
        },
        f"ml_model_latency_objective_seconds{{{at}}}": "0.25x120",
        f"ml_prediction_duration_seconds_count{{{at}}}": "0+60x120",
        f'ml_prediction_duration_seconds_count{{{at},error_type="ValueError"}}': "0+60x120",
        f"ml_prediction_duration_seconds_sum{{{at}}}": "0+6x120",
        f'ml_prediction_duration_seconds_bucket{{{at},le="0.1"}}': "0+20x120",
        f'ml_prediction_duration_seconds_bucket{{{at},le="0.25"}}': "0+40x120",
        f'ml_prediction_duration_seconds_bucket{{{at},le="+Inf"}}': "0+60x120",
        f"ml_prediction_rows_total{{{at}}}": "0+600x120",
        f"ml_prediction_active{{{at}}}": "2x120",
        f'ml_feature_observations_total{{{distance},ml_feature_bin="00"}}': "0+10x120",
        f'ml_feature_observations_total{{{distance},ml_feature_bin="01"}}': "0+90x120",
        f'ml_feature_observations_total{{{distance},ml_feature_bin="null"}}': "0+100x120",
        f'ml_feature_observations_total{{{fare},ml_feature_bin="00"}}': "0+10x120",
        **{
            f'{reference}{{{distance},ml_feature_bin="{bin_}",ml_feature_bin_range="{range_}"}}': rows
            for bin_, range_, rows in (
                ("00", "up to 5", "500x120"),
                ("01", "above 5", "400x120"),
                ("null", "missing", "100x120"),
            )
        },
        f'ml_feature_reference_observations{{{fare},ml_feature_bin="00",ml_feature_bin_range="any"}}': "1000x120",
        f'ml_feature_reference_violations{{{feature},ml_violation_kind="missing"}}': "100x120",
        f"ml_feature_reference_dispersion{{{feature}}}": "1x120",
        f"ml_feature_importance{{{feature}}}": "1x120",
        f'ml_feature_info{{{feature},ml_feature_source="trips",ml_feature_unit="km",team="feeds"}}': "1x120",
        f'ml_feature_age_seconds_bucket{{{feature},le="60"}}': "0+50x120",
        f'ml_feature_age_seconds_bucket{{{feature},le="+Inf"}}': "0+100x120",
        f'windvane_records_dropped_total{{{at},windvane_drop_reason="queue_full"}}': "0+1x120",
        f"windvane_features_left_out{{{at}}}": "3x120",
        f'ml_probe_runs_total{{{at},ml_probe_name="long trip",ml_probe_result="failed"}}': "0+1x120",
        f'ml_probe_duration_seconds_bucket{{{at},ml_probe_name="long trip",le="0.1"}}': "0+1x120",
        f'ml_probe_duration_seconds_bucket{{{at},ml_probe_name="long trip",le="+Inf"}}': "0+1x120",
        **{
            f'ml_feature_violations_total{{{feature},ml_violation_kind="{kind}"}}': f"0+{step}x120"
            for kind, step in (("missing", 100), ("unexpected", 0), ("type", 0), ("range", 1), ("category", 0))
        },
    }


def _outcomes(version: str) -> dict[str, str]:
    """Outcomes of every kind have come of this version."""
    at = f'ml_model_name="fares",ml_model_version="{version}",instance="a"'
    given = {
        f'ml_model_objective{{{at},ml_objective="quality"}}': "0.9x120",
        f"ml_outcome_log_loss_total{{{at}}}": "0+5x120",
        f"ml_outcome_squared_error_total{{{at}}}": "0+5x120",
        f'ml_outcome_absolute_error_total{{{at},ml_outcome_direction="over"}}': "0+5x120",
        f'ml_outcome_ranked_total{{{at},ml_outcome_rank="1"}}': "0+5x120",
        f'ml_outcome_score_total{{{at},ml_outcome_score_bin="10"}}': "0+10x120",
        f'ml_outcome_lag_seconds_bucket{{{at},le="3600"}}': "0+20x120",
        f'ml_outcome_lag_seconds_bucket{{{at},le="+Inf"}}': "0+20x120",
        f"ml_outcome_scale{{{at}}}": "3x120",
        f"ml_outcome_expected_absolute_error_total{{{at}}}": "0+4x120",
        f"ml_outcome_reference_absolute_error{{{at}}}": "400x120",
        f'windvane_outcomes_refused_total{{{at},windvane_outcome_refusal="signature"}}': "0+1x120",
    }
    for result, number in (("right", 15), ("wrong", 5)):
        for segment in ("c00", "c01"):
            name = f'ml_outcome_count_total{{{at},ml_outcome_result="{result}",ml_outcome_segment="{segment}"}}'
            given[name] = f"0+{number}x120"
        given[f'ml_outcome_expected_count_total{{{at},ml_outcome_result="{result}"}}'] = f"0+{number}x120"
        given[f'ml_outcome_reference_count{{{at},ml_outcome_result="{result}"}}'] = f"{100 * number}x120"
    for actual in "01":
        given[f'ml_outcome_classified_total{{{at},ml_outcome_predicted="1",ml_outcome_actual="{actual}"}}'] = "0+10x120"
        given[f'ml_outcome_scored_total{{{at},ml_outcome_score_bin="10",ml_outcome_actual="{actual}"}}'] = "0+10x120"
    return given


# What rules learn from past days stands here as they record it.
DISTANCE = 'ml_model_name="fares",ml_model_version="3",ml_feature_name="distance"'
SERIES = {
    **_version("3"),
    **_version("4"),
    **_outcomes("3"),
    **_outcomes("4"),
    f"ml_model_feature:ml_feature_psi_past:1h{{{DISTANCE}}}": "0.1x120",
    f"ml_model_feature:ml_feature_age_seconds:limit{{{DISTANCE}}}": "100x120",
    'ml_prediction_duration_seconds_count{ml_model_name="fares",ml_model_version="5",instance="a"}': "_x96 0+60x20",
    'ALERTS{alertname="MLModelSilent",alertstate="firing",severity="ticket",team="pricing",ml_model_name="fares",'
    'ml_model_version="3"}': "1x120",
    'windvane_queue_size{instance="a"}': "5x120",
    'windvane_worker_lag_seconds{instance="a"}': "0.1x120",
    'windvane_exports_total{instance="a"}': "0+1x120",
    'otelcol_exporter_queue_size{exporter="prometheusremotewrite"}': "1x120",
    'otelcol_exporter_queue_capacity{exporter="prometheusremotewrite"}': "1000x120",
    "otelcol_receiver_accepted_metric_points_total": "0+100x120",
    "otelcol_exporter_sent_metric_points_total": "0+100x120",
    'prometheus_rule_group_last_duration_seconds{rule_group="rules.yml;windvane-calls"}': "0.01x120",
    'prometheus_rule_group_interval_seconds{rule_group="rules.yml;windvane-calls"}': "60x120",
    'prometheus_rule_group_iterations_missed_total{rule_group="rules.yml;windvane-calls"}': "0x120",
    'prometheus_rule_evaluation_failures_total{rule_group="rules.yml;windvane-calls"}': "0x120",
    "prometheus_tsdb_head_series": "1000x120",
}

VALUES = {
    "$team": ".*",
    "$model": "fares",
    "$version": "3",
    "$other": "4",
    "$feature": "distance",
    "$__rate_interval": "5m",
    "$__range": "1h",
}


def _filled(expr: str) -> str:
    for name, value in VALUES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr.replace('"$1"', "")  # of label_replace
    return expr


def test_every_query_has_an_answer_and_every_variable_a_value(evaluate: Callable[..., str]) -> None:
    """No panel errs or stays empty for a fleet on which everything has happened; promtool names the query that does."""
    targets = [target for board in BOARDS for panel in board["panels"] for target in panel.get("targets", ())]
    targets += [annotation for board in BOARDS for annotation in board["annotations"]["list"]]
    expressions = {_filled(target["expr"]) for target in targets}
    assert len(expressions) > 90
    expectations: dict[str, float] = {f"count({expr}) > bool 0": 1 for expr in expressions}
    for variable in (one for board in BOARDS for one in board["templating"]["list"] if one["type"] == "query"):
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match
        expectations[
            _filled(f"count(group by ({match[2]}) ({match[1]}) unless on ({match[2]}) vector(1)) > bool 0")
        ] = 1
    evaluate(SERIES, expectations, at="100m")


def test_an_alert_has_its_owners_runbook_and_stands_there_once_also_without_an_owner(
    evaluate: Callable[..., str],
) -> None:
    """The runbook is joined by model and version; what has none is not lost."""
    owned = 'alertname="MLModelSilent",severity="ticket",team="pricing",ml_model_name="fares",ml_model_version="3"'
    orphan = 'alertname="MLTrafficDrop",severity="ticket",ml_model_name="orphan",ml_model_version="1"'
    firing = {f'ALERTS{{{orphan},alertstate="firing"}}': "1x120"}
    since = {f"ALERTS_FOR_STATE{{{alert}}}": "5000x120" for alert in (owned, orphan)}
    query = _filled(of_fleet.ALERTS)

    def told(**labels: str) -> str:
        one = "vector(1)"
        for name, value in labels.items():
            one = f'label_replace({one}, "{name}", "{value}", "", "")'
        return f"max({query} and on ({', '.join(labels)}) {one})"

    evaluate(
        {**SERIES, **firing, **since},
        {
            told(alertname="MLModelSilent", runbook_url="https://example.org"): 5e6,
            told(alertname="MLTrafficDrop", ml_model_name="orphan", runbook_url=""): 5e6,
            f"count({query}) - count(count by (alertname, ml_model_name, ml_model_version, ml_feature_name, "
            f"ml_violation_kind, severity, team) ({query}))": 0,
        },
        at="100m",
    )


def _share_of_missing(shares: str) -> str:
    """Return the query for the bar whose range is `missing`, in millionths."""
    one = 'label_replace(vector(1), "ml_feature_bin_range", "missing", "", "")'
    return f"round(1e6 * sum({shares} and on (ml_feature_bin_range) {one}))"


def test_the_distribution_shows_shares_of_live_and_reference_by_range(evaluate: Callable[..., str]) -> None:
    """Half of the live values are missing, a tenth of the reference's."""
    live, reference = _filled(of_feature.LIVE_SHARES), _filled(of_feature.REFERENCE_SHARES)
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
            f"round({_filled(of_model.SLOW_RATIO)} * 3e6)": 1e6,
            f"round({_filled(of_model.latency(0.5))} * 1e6)": 175_000,
        },
        at="100m",
    )


def test_the_interval_of_right_predictions_is_wilsons_of_all_variants(evaluate: Callable[..., str]) -> None:
    """Its bounds are the roots of (p - x)^2 = z^2 x (1 - x) / n, with p and n of the version and not of one variant."""
    at = '{ml_model_name="fares",ml_model_version="3"}'
    given = {f"{REALISED_SHARE.ratio('1d')}{at}": "0.2x10", f"{REALISED_SHARE.number('judged', '1d')}{at}": "50x10"}
    low, high = _filled(of_model.RIGHT_LOW), _filled(of_model.RIGHT_HIGH)
    square = CONFIDENCE_QUANTILE**2 / 50
    evaluate(
        given,
        {
            **{
                f"abs((0.8 - ({bound})) ^ 2 - {square} * ({bound}) * (1 - ({bound}))) < bool 1e-12": 1
                for bound in (low, high)
            },
            f"({low}) < bool 0.8": 1,
            f"({high}) > bool 0.8": 1,
        },
        at="5m",
        only="none",
    )


def test_a_class_is_judged_by_the_counts_of_all_variants(evaluate: Callable[..., str]) -> None:
    """A variant of few outcomes weighs little: a mean of precisions would be another number."""
    week = OutcomeSeries("realised", "7d")
    given = {}
    for variant, hits, predicted, actual in (("", 30, 30, 60), ("canary", 2, 10, 2)):
        at = f'{{ml_model_name="fares",ml_model_version="3",ml_model_variant="{variant}",ml_outcome_actual="late"}}'
        for name, number in (("hits", hits), ("predicted", predicted), ("actual", actual)):
            given[week.statistic(f"class_{name}") + at] = f"{number}x10"
    evaluate(
        given,
        {
            f"round(1e9 * sum({_filled(of_model.of_class('precision'))}))": round(1e9 * 32 / 40),
            f"round(1e9 * sum({_filled(of_model.of_class('recall'))}))": round(1e9 * 32 / 62),
            f"round(1e9 * sum({_filled(of_model.of_class('f1'))}))": round(1e9 * 64 / 102),
        },
        at="5m",
        only="none",
    )


def test_expected_and_reference_stand_beside_what_was_realised(evaluate: Callable[..., str]) -> None:
    """One row for each statistic and variant; the reference, which has no variants, in each."""

    def row(source: Literal["realised", "expected", "reference"], variant: str) -> str:
        one = 'label_replace(vector(1), "statistic", "ROC AUC", "", "")'
        one = f'label_replace({one}, "ml_model_variant", "{variant}", "", "")'
        return f"sum(({_filled(of_model.estimated(source))}) and on (statistic, ml_model_variant) {one})"

    at = 'ml_model_name="fares",ml_model_version="3"'
    realised, expected = OutcomeSeries("realised", "7d"), OutcomeSeries("expected", "7d")
    evaluate(
        {
            f'{realised.statistic("outcomes")}{{{at},ml_model_variant="a"}}': "9x10",
            f'{expected.statistic("outcomes")}{{{at},ml_model_variant="b"}}': "9x10",
            f'{realised.statistic("auc")}{{{at},ml_model_variant="a"}}': "0.75x10",
            f'{expected.statistic("auc")}{{{at},ml_model_variant="b"}}': "0.875x10",
            f"{OutcomeSeries('reference').statistic('auc')}{{{at}}}": "0.5x10",
        },
        {
            row("realised", "a"): 0.75,
            row("expected", "b"): 0.875,
            row("reference", "a"): 0.5,
            row("reference", "b"): 0.5,
            f"count({_filled(of_model.estimated('reference'))})": 2,
        },
        at="5m",
        only="none",
    )
