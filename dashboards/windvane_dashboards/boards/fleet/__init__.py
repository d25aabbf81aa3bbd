"""The Fleet dashboard: every model, one row each."""

from __future__ import annotations

from typing import Final

from windvane_dashboards.boards import variables
from windvane_dashboards.boards.fleet.panels import PANELS
from windvane_dashboards.boards.frame import board
from windvane_dashboards.links import FLEET_UID

__all__ = ["FLEET"]

FLEET: Final = board(FLEET_UID, variables=[variables.TEAM], panels=PANELS)
