"""Every dashboard, as files."""

from __future__ import annotations

import json

from windvane_dashboards.model_dashboard import MODEL

__all__ = ["render"]


def render() -> dict[str, str]:
    """Return the JSON text of each dashboard by file name; the same bytes every time."""
    return {f"{board['uid']}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n" for board in (MODEL,)}
