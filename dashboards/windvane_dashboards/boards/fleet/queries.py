"""The queries of the Fleet dashboard: recorded series only, so that a hundred models cost little."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_team, with_runbook

_TEAM: Final = semconv.TEAM.label
_SEVERITY: Final = semconv.SEVERITY.label
_FIRING: Final = f'ALERTS{{alertstate="firing",{p.MODEL_LABEL}!="",{_TEAM}=~"$team"}}'
_PAGES: Final = f'{_FIRING[:-1]},{_SEVERITY}!="ticket"}}'
_TICKETS: Final = f'{_FIRING[:-1]},{_SEVERITY}="ticket"}}'
_ALERT: Final = ("alertname", p.MODEL_LABEL, p.VERSION_LABEL, p.FEATURE_LABEL, p.KIND_LABEL, _SEVERITY, _TEAM)


def _by_model(expr: str) -> str:
    return of_team(f"max by ({p.MODEL}) ({expr})")


def _left(objective: str, ratio: str) -> str:
    """Return what the last three days have left of the budget, below 0 where it is overspent."""
    budget = f'{p.ERROR_BUDGET}{{{p.OBJECTIVE_LABEL}="{objective}"}}'
    return f"1 - max by ({p.MODEL}) ({ratio}) / on ({p.MODEL}) max by ({p.MODEL}) ({budget})"


MODELS: Final = f"count({of_team(p.CALL_RATE)}) or vector(0)"
SILENT: Final = f"count({of_team(p.OWNER)} unless on ({p.MODEL}) {p.OWNER_REPORTING}) or vector(0)"
PAGES: Final = f"count({_PAGES}) or vector(0)"
TICKETS: Final = f"count({_TICKETS}) or vector(0)"
CALLS: Final = f"sum({of_team(p.CALL_RATE)})"

OWNERS: Final = f'max by ({p.labels(p.MODEL, _TEAM)}) ({p.OWNER}{{{_TEAM}=~"$team"}})'
MODEL_PAGES: Final = f"count by ({p.MODEL}) ({_PAGES})"
MODEL_TICKETS: Final = f"count by ({p.MODEL}) ({_TICKETS})"
MODEL_CALLS: Final = _by_model(p.CALL_RATE)
MODEL_ERRORS: Final = _by_model(p.ERRORS.ratio("5m"))
MODEL_P95: Final = of_team(f"histogram_quantile(0.95, {p.BUCKET_RATE})")
MODEL_SHIFTED: Final = of_team(p.MODEL_SHIFTED)
SHIFTED: Final = f"sum({MODEL_SHIFTED}) or vector(0)"
MODEL_BROKEN: Final = _by_model(p.MODEL_EXCESS)
MODEL_AVAILABILITY: Final = of_team(_left("availability", p.ERRORS.ratio("3d")))
MODEL_RIGHT: Final = of_team(f"1 - max by ({p.MODEL}) ({p.REALISED_SHARE.ratio('1d')})")
MODEL_RIGHT_EXPECTED: Final = of_team(f"1 - max by ({p.MODEL}) ({p.EXPECTED_SHARE.ratio('1d')})")
MODEL_DRIFT: Final = of_team(_left("drift", p.drift_share("3d")))

ALERTS: Final = with_runbook(
    f"max by ({p.labels(*_ALERT)}) (1000 * ALERTS_FOR_STATE and on ({p.labels(*_ALERT)}) {_FIRING})", *_ALERT
)
"""Milliseconds since 1970 at which each alert's reason was first seen."""
ALERTS_BY_SEVERITY: Final = f"sum by ({_SEVERITY}) ({_FIRING})"
WORST_ERRORS: Final = f"topk(5, {MODEL_ERRORS})"
WORST_DRIFT: Final = f"topk(5, {_by_model(p.DRIFT_SHARE)})"
WORST_BROKEN: Final = f"topk(5, {MODEL_BROKEN})"
