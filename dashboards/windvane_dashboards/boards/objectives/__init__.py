"""The Objectives dashboard: the budgets of all models, and how fast one model's are used up."""

from __future__ import annotations

from typing import Final

from windvane_dashboards.boards import variables
from windvane_dashboards.boards.frame import board
from windvane_dashboards.boards.objectives.panels import PANELS
from windvane_dashboards.links import OBJECTIVES_UID

__all__ = ["OBJECTIVES"]

OBJECTIVES: Final = board(OBJECTIVES_UID, variables=[variables.MODEL_NAME, variables.VERSION], panels=PANELS)
