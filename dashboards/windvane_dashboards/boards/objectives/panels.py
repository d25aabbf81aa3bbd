"""The panels of the Objectives dashboard, top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane_dashboards import grafana as g
from windvane_dashboards.boards.objectives import queries as q
from windvane_dashboards.boards.shades import LEFT
from windvane_dashboards.links import MODEL_UID, to
from windvane_dashboards.promql import (
    EXPECTED_SHARE,
    MODEL_LABEL,
    OBJECTIVE_LABEL,
    REALISED_SHARE,
    VERSION_LABEL,
)

if TYPE_CHECKING:
    from windvane_dashboards.promql import BurnWindow

_WINDOWS: Final[tuple[BurnWindow, ...]] = ("2h", "6h", "1d", "3d")
_COLOURS: Final = dict(zip(("1h", *_WINDOWS), (g.SKY, g.VERMILLION, g.ORANGE, g.BLUE, g.PURPLE), strict=True))
_TO_MODEL: Final = g.link(
    "Show this model",
    to(
        MODEL_UID,
        model="${__data.fields.Model:percentencode}",
        version="${__data.fields.Version:percentencode}",
    ),
)
_BURN: Final = g.graded("short", 1, (1, g.ORANGE), (6, g.VERMILLION))


def _burning(objective: str, description: str, windows: tuple[BurnWindow, ...]) -> tuple[g.Json, int, int]:
    return (
        g.timeseries(
            f"Burn rate: {objective}",
            f"{description} At 1 the budget lasts just as long as the objective's own time; a window of days that "
            "stays above 1 opens a ticket.",
            [
                g.query(ref, q.burn_rate(objective, window), window)
                for ref, window in zip("ABCDE", windows, strict=False)
            ],
            unit="short",
            colours={window: _COLOURS[window] for window in windows},
            limits=g.thresholds((1, g.ORANGE)),
        ),
        8,
        9,
    )


_QUALITY_WINDOWS: Final[tuple[BurnWindow, ...]] = ("6h", "1d", "7d")


PANELS: Final = (
    (g.row("All models"), 24, 1),
    (
        g.table(
            "Budgets",
            "One row for each objective of each model version. Burn rates are the share of bad events over the share "
            "that is allowed, over windows from two hours to three days; left is what the last three days kept of "
            "their budget.",
            [
                g.instant("A", q.TARGETS, as_table=True),
                *(
                    g.instant(ref, q.burn_rates(window), as_table=True)
                    for ref, window in zip("BCDE", _WINDOWS, strict=True)
                ),
                g.instant("F", q.LEFT, as_table=True),
            ],
            columns={
                MODEL_LABEL: "Model",
                VERSION_LABEL: "Version",
                OBJECTIVE_LABEL: "Objective",
                "Value #A": "Target",
                **{f"Value #{ref}": f"Burn {window}" for ref, window in zip("BCDE", _WINDOWS, strict=True)},
                "Value #F": "Left",
            },
            overrides=[
                g.override("Model", {"links": [_TO_MODEL]}),
                g.override("Target", {"unit": "percentunit", "decimals": 2}),
                *(g.override(f"Burn {window}", _BURN) for window in _WINDOWS),
                g.override("Left", LEFT),
            ],
            sort="Burn 3d",
        ),
        24,
        11,
    ),
    (g.row("$model $version"), 24, 1),
    _burning("availability", "Failed calls over the share that may fail.", ("1h", "6h", "1d", "3d")),
    _burning("latency", "Slow calls over the share that may be slow.", ("1h", "6h", "1d", "3d")),
    _burning("drift", "Share of the model on shifted features over what the objective allows.", _WINDOWS),
    (
        g.timeseries(
            "Burn rate: quality",
            "Wrong outcomes over the share that may be wrong, and what is expected of the last day before outcomes "
            "come. A week surely above 1 opens a ticket, a day above 3 or six hours above 6 page; of a low objective "
            "half-way between its budget and all. No data where no outcomes are reported.",
            [
                *(
                    g.query(ref, q.quality_burn(REALISED_SHARE, window), window)
                    for ref, window in zip("ABC", _QUALITY_WINDOWS, strict=True)
                ),
                g.query("D", q.quality_burn(EXPECTED_SHARE, "1d"), "expected, 1d"),
            ],
            unit="short",
            colours={"6h": g.VERMILLION, "1d": g.ORANGE, "7d": g.PURPLE, "expected, 1d": g.SKY},
            limits=g.thresholds((1, g.ORANGE)),
        ),
        12,
        9,
    ),
    (
        g.table(
            "Quality budgets",
            "Of each model version with a quality objective: share of a week's outcomes that are wrong, what was "
            "expected, what is allowed, and what is left of the week's budget. A dash where no outcomes are reported.",
            [
                g.instant("A", q.QUALITY_WRONG, as_table=True),
                g.instant("B", q.QUALITY_EXPECTED, as_table=True),
                g.instant("C", q.QUALITY_ALLOWED, as_table=True),
                g.instant("D", q.QUALITY_LEFT, as_table=True),
            ],
            columns={
                MODEL_LABEL: "Model",
                VERSION_LABEL: "Version",
                "Value #A": "Wrong",
                "Value #B": "Expected wrong",
                "Value #C": "Allowed",
                "Value #D": "Left",
            },
            overrides=[
                g.override("Model", {"links": [_TO_MODEL]}),
                *(
                    g.override(head, {"unit": "percentunit", "decimals": 1, "noValue": "-"})
                    for head in ("Wrong", "Expected wrong", "Allowed", "Left")
                ),
            ],
            sort="Wrong",
        ),
        12,
        9,
    ),
)
