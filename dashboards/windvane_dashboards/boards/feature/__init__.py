"""The Feature dashboard: what one feature of one model version is now, against what it was."""

from __future__ import annotations

from typing import Final

from windvane_dashboards import grafana
from windvane_dashboards.boards import variables
from windvane_dashboards.boards.feature import queries
from windvane_dashboards.boards.feature.panels import PANELS
from windvane_dashboards.boards.frame import board
from windvane_dashboards.links import FEATURE_UID

__all__ = ["FEATURE"]

FEATURE: Final = board(
    FEATURE_UID,
    variables=[variables.MODEL_NAME, variables.VERSION, variables.FEATURE],
    panels=PANELS,
    annotations=[grafana.annotation("Alerts", queries.FIRING, title="{{alertname}}", shade=grafana.VERMILLION)],
)
