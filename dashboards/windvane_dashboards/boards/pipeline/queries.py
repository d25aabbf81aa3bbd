"""The queries of the Pipeline dashboard.

Names of the Collector's and Prometheus' own metrics are theirs: OpenTelemetry Collector 0.159 and later, Prometheus
2.42 and later.
"""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p

_EXPORTS: Final = semconv.EXPORTS.prometheus_name
_SENT: Final = f'{{{semconv.ERROR_TYPE.label}=""}}'
_FAILED: Final = f'{{{semconv.ERROR_TYPE.label}!=""}}'
_GROUPS: Final = 'rule_group=~".*;windvane-.*"'


def _rate(series: str) -> str:
    return f"rate({series}[$__rate_interval])"


DROPPED: Final = f"sum by ({semconv.DROP_REASON.label}) ({_rate(semconv.RECORDS_DROPPED.prometheus_name)})"
DROPPED_MODELS: Final = f"topk(5, sum by ({p.MODEL}) ({p.LOST_RATE}))"
QUEUE: Final = f"max({semconv.QUEUE_SIZE.prometheus_name})"
LAG: Final = f"max({semconv.WORKER_LAG.prometheus_name})"
EXPORTS_SENT: Final = f"sum({_rate(_EXPORTS + _SENT)})"
EXPORTS_FAILED: Final = f"sum by ({semconv.ERROR_TYPE.label}) ({_rate(_EXPORTS + _FAILED)}) or vector(0)"
LEFT_OUT: Final = f"max by ({p.MODEL}) ({semconv.FEATURES_LEFT_OUT.prometheus_name})"

COLLECTOR_QUEUE: Final = "max by (exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)"
COLLECTOR_RECEIVED: Final = f'sum({_rate("""{__name__=~"otelcol_receiver_accepted_metric_points(_total)?"}""")})'
COLLECTOR_SENT: Final = f'sum({_rate("""{__name__=~"otelcol_exporter_sent_metric_points(_total)?"}""")})'
COLLECTOR_FAILED: Final = (
    f'sum({_rate("""{__name__=~"otelcol_exporter_(send|enqueue)_failed_metric_points(_total)?"}""")}) or vector(0)'
)

RULE_SECONDS: Final = (
    f"topk(10, max by (group) (label_replace(prometheus_rule_group_last_duration_seconds{{{_GROUPS}}}, "
    '"group", "$1", "rule_group", ".*;windvane-(.*)")))'
)
"""By the group's own name: Prometheus puts the path of its file before it."""
RULE_SHARE: Final = (
    f"sum(max by (rule_group) (prometheus_rule_group_last_duration_seconds{{{_GROUPS}}}) "
    f"/ max by (rule_group) (prometheus_rule_group_interval_seconds{{{_GROUPS}}}))"
)
RULES_MISSED: Final = (
    f"sum(increase(prometheus_rule_group_iterations_missed_total{{{_GROUPS}}}[$__range])) or vector(0)"
)
RULES_FAILED: Final = f"sum(increase(prometheus_rule_evaluation_failures_total{{{_GROUPS}}}[$__range])) or vector(0)"
SERIES: Final = "max(prometheus_tsdb_head_series)"
