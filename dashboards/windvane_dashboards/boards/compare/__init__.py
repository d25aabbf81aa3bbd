"""The Compare dashboard: two versions of a model side by side, and all its deployments."""

from __future__ import annotations

from typing import Final

from windvane_dashboards.boards import variables
from windvane_dashboards.boards.compare.panels import PANELS
from windvane_dashboards.boards.frame import board
from windvane_dashboards.links import COMPARE_UID

__all__ = ["COMPARE"]

COMPARE: Final = board(COMPARE_UID, variables=[variables.MODEL_NAME, variables.VERSION, variables.OTHER], panels=PANELS)
