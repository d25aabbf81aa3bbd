"""The Model dashboard: one version of one model, from its service to its features."""

from __future__ import annotations

from typing import Final

from windvane_dashboards import grafana
from windvane_dashboards.boards import variables
from windvane_dashboards.boards.frame import board
from windvane_dashboards.boards.model import queries
from windvane_dashboards.boards.model.panels import PANELS
from windvane_dashboards.links import MODEL_UID
from windvane_dashboards.promql import VERSION_LABEL

__all__ = ["MODEL"]

MODEL: Final = board(
    MODEL_UID,
    variables=[variables.MODEL_NAME, variables.VERSION],
    panels=PANELS,
    annotations=[
        grafana.annotation("Alerts", queries.FIRING, title="{{alertname}}", shade=grafana.VERMILLION),
        grafana.annotation(
            "New versions", queries.DEPLOYED, title=f"version {{{{{VERSION_LABEL}}}}}", shade=grafana.GREEN
        ),
    ],
)
