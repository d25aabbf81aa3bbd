"""Every dashboard, as files."""

from __future__ import annotations

import json
from typing import Final

from windvane_dashboards.boards.compare import COMPARE
from windvane_dashboards.boards.feature import FEATURE
from windvane_dashboards.boards.fleet import FLEET
from windvane_dashboards.boards.model import MODEL
from windvane_dashboards.boards.objectives import OBJECTIVES
from windvane_dashboards.boards.pipeline import PIPELINE

__all__ = ["BOARDS", "render"]

BOARDS: Final = (FLEET, MODEL, FEATURE, COMPARE, OBJECTIVES, PIPELINE)
"""From the whole fleet to one feature, then what is looked at on occasion."""


def render() -> dict[str, str]:
    """Return the JSON text of each dashboard by file name; the same bytes every time."""
    return {f"{board['uid']}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n" for board in BOARDS}
