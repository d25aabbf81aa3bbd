"""Every dashboard, as files."""

from __future__ import annotations

import json
from typing import Final

from windvane_dashboards import grafana
from windvane_dashboards.boards.compare import COMPARE
from windvane_dashboards.boards.feature import FEATURE
from windvane_dashboards.boards.fleet import FLEET
from windvane_dashboards.boards.model import MODEL
from windvane_dashboards.boards.objectives import OBJECTIVES
from windvane_dashboards.boards.pipeline import PIPELINE

__all__ = ["BOARDS", "render"]

BOARDS: Final = (FLEET, MODEL, FEATURE, COMPARE, OBJECTIVES, PIPELINE)
"""From the whole fleet to one feature, then what is looked at on occasion."""


def render(*, export_interval: str = grafana.EXPORT_INTERVAL) -> dict[str, str]:
    """Return the JSON text of each dashboard by file name; the same bytes every time.

    Args:
        export_interval: how often services export, as a duration of Grafana's.
    """
    return {
        f"{board['uid']}.json": json.dumps(_exported(board, export_interval), indent=2, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def _exported(board: grafana.Json, interval: str) -> grafana.Json:
    def panel(one: grafana.Json) -> grafana.Json:
        targets = [{**query, "interval": interval} if "interval" in query else query for query in one["targets"]]
        return {**one, "targets": targets}

    return {**board, "panels": [panel(one) if "targets" in one else one for one in board["panels"]]}
