"""The colours that mean the same on every dashboard."""

from __future__ import annotations

from typing import Final

from windvane import semconv
from windvane_dashboards import grafana as g

__all__ = ["DRIFT_GRADES", "DRIFT_STEPS", "DROP_COLOURS", "LEFT", "SHARE_GRADES", "SHARE_STEPS", "VIOLATION_COLOURS"]

DRIFT_STEPS: Final = ((0.05, g.SKY), (0.1, g.ORANGE), (0.25, g.VERMILLION))
"""Of PSI."""

DRIFT_GRADES: Final = g.thresholds(*DRIFT_STEPS)

SHARE_STEPS: Final = ((0.01, g.ORANGE), (0.05, g.VERMILLION))
"""Of the share of calls that failed or were slow."""

SHARE_GRADES: Final = g.thresholds(*SHARE_STEPS)

LEFT: Final = g.graded("percentunit", 0, (0, g.ORANGE), (0.5, g.NONE), base=g.VERMILLION)
"""What is left of a budget, in a table."""

VIOLATION_COLOURS: Final = dict(
    zip(semconv.VIOLATION_KIND.values, (g.BLUE, g.GREY, g.PURPLE, g.ORANGE, g.VERMILLION), strict=True)
)
DROP_COLOURS: Final = dict(
    zip(
        semconv.DROP_REASON.values,
        (g.VERMILLION, g.ORANGE, g.PURPLE, g.SKY, g.BLUE, g.YELLOW, g.GREEN, g.BROWN, g.GREY),
        strict=True,
    )
)
