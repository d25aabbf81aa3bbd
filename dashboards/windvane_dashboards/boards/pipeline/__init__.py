"""The Pipeline dashboard: whether the telemetry itself can be believed, and what it costs."""

from __future__ import annotations

from typing import Final

from windvane_dashboards.boards.frame import board
from windvane_dashboards.boards.pipeline.panels import PANELS
from windvane_dashboards.links import PIPELINE_UID

__all__ = ["PIPELINE"]

PIPELINE: Final = board(PIPELINE_UID, variables=[], panels=PANELS)
