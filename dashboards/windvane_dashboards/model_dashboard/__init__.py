"""The Model dashboard: one version of one model, from its service to its features."""

from __future__ import annotations

from typing import Final

from windvane_dashboards import grafana
from windvane_dashboards.model_dashboard import queries
from windvane_dashboards.model_dashboard.panels import PANELS
from windvane_dashboards.model_dashboard.variables import VARIABLES
from windvane_dashboards.rules.alerting import MODEL_DASHBOARD_UID

__all__ = ["MODEL"]

MODEL: Final = grafana.dashboard(
    MODEL_DASHBOARD_UID,
    "Model",
    "One version of one model: requests, errors and latency beside drift and data health.",
    variables=VARIABLES,
    panels=PANELS,
    annotations=[
        grafana.annotation("Alerts", queries.FIRING, title="{{alertname}}", shade=grafana.VERMILLION),
    ],
    tags=["windvane", "ml"],
)
