"""The queries of the Objectives dashboard.

A burn rate is the share of bad events over the share that the objective allows (Beyer et al., The Site Reliability
Workbook, chapter 5): at 1 the budget lasts just as long as the objective's own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane_dashboards import promql as p
from windvane_dashboards.boards.variables import of_model

if TYPE_CHECKING:
    from collections.abc import Callable

_RATIOS: Final[dict[str, Callable[[p.BurnWindow], str]]] = {
    "availability": p.ERRORS.ratio,
    "latency": p.SLOW.ratio,
    "drift": p.drift_share,
}


def _budget(objective: str) -> str:
    return f'{p.ERROR_BUDGET}{{{p.OBJECTIVE_LABEL}="{objective}"}}'


def burn_rates(window: p.BurnWindow) -> str:
    """Return the query for the burn rate over a window, of every model version and objective."""
    rates = (
        f"{ratio(window)} / on ({p.MODEL}) group_right () {_budget(objective)}" for objective, ratio in _RATIOS.items()
    )
    return " or ".join(rates)


TARGETS: Final = f"1 - {p.ERROR_BUDGET}"
LEFT: Final = f"1 - ({burn_rates('3d')})"


_QUALITY: Final = _budget("quality")
QUALITY_LEFT: Final = (
    f"1 - max by ({p.MODEL}) ({p.REALISED_SHARE.ratio('7d')}) / on ({p.MODEL}) max by ({p.MODEL}) ({_QUALITY})"
)
"""What the outcomes of a week left of the quality budget of each model version, below 0 where it is overspent."""
QUALITY_WRONG: Final = f"max by ({p.MODEL}) ({p.REALISED_SHARE.ratio('7d')}) and on ({p.MODEL}) {_QUALITY}"
QUALITY_EXPECTED: Final = f"max by ({p.MODEL}) ({p.EXPECTED_SHARE.ratio('7d')}) and on ({p.MODEL}) {_QUALITY}"
QUALITY_ALLOWED: Final = f"max by ({p.MODEL}) ({_QUALITY})"


def quality_burn(share: p.OutcomeShare, window: p.BurnWindow) -> str:
    """Return the query for the burn rate of the quality budget of the chosen model version."""
    return (
        f"""max({of_model(share.ratio(window))}) / max({of_model(p.ERROR_BUDGET, f'{p.OBJECTIVE_LABEL}="quality"')})"""
    )


def burn_rate(objective: str, window: p.BurnWindow) -> str:
    """Return the query for one burn rate of the chosen model version."""
    budget = of_model(p.ERROR_BUDGET, f'{p.OBJECTIVE_LABEL}="{objective}"')
    return f"max({of_model(_RATIOS[objective](window))}) / max({budget})"
