"""How long the queries of the dashboards take, as a browser asks them, on the Prometheus of `rules_cost.py`."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from windvane_dashboards.boards import BOARDS
from windvane_dashboards.cli_dashboards.check import filled, values
from windvane_dashboards.promql import MODEL_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from windvane_dashboards.server import Prometheus

__all__ = ["RANGE_MINUTES", "Chosen", "choose", "measure_panels", "series_shown"]

RANGE_MINUTES: Final = 6 * 60
"""The range that the dashboards open with."""

_STEPS: Final = (15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800)  # seconds; Grafana rounds to these
_PIXELS_PER_UNIT: Final = 60  # of the 24 across a page of 1440
_REPEATS: Final = 3
_AT_A_TIME: Final = 6  # requests that a browser has under way to one host
_NAME: Final = re.compile(r"\b(?:ml|windvane)_\w+(?::\w+)*|\bALERTS\b")


def _targets(board: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel, target


Chosen: TypeAlias = "dict[str, dict[str, str]]"
"""Values of the variables, by dashboard."""


def choose(prometheus: Prometheus) -> Chosen:
    """Return the values that the dashboards open with."""
    return {board["uid"]: values(board, prometheus, {}) for board in BOARDS}


def series_shown(prometheus: Prometheus, chosen: Chosen, at: float) -> list[dict[str, str]]:
    """Return the series that queries over a range of time read: of one model, or of all where a query asks for all."""
    shown: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for board in BOARDS:
        for _, target in _targets(board):
            if target["instant"]:
                continue
            one = f'{{{MODEL_LABEL}="{chosen[board["uid"]]["model"]}"}}' if "$model" in target["expr"] else ""
            for name in sorted(set(_NAME.findall(target["expr"]))):
                if ":" in name or name.endswith(("_total", "_count", "_bucket")) or not one:
                    for found in prometheus.query(f"{name}{one}", at):
                        shown[tuple(sorted(found["metric"].items()))] = found["metric"]
    return [labels for labels in shown.values() if "__name__" in labels]


def _ask(prometheus: Prometheus, panel: Mapping[str, Any], target: Mapping[str, Any], expr: str, at: float) -> None:
    """Send a query as Grafana does."""
    if target["instant"]:
        prometheus.query(expr, at)
        return
    wanted = RANGE_MINUTES * 60 / (panel["gridPos"]["w"] * _PIXELS_PER_UNIT)
    step = next(step for step in _STEPS if step >= wanted)
    form = {"query": expr, "start": f"{at - RANGE_MINUTES * 60:.0f}", "end": f"{at:.0f}", "step": str(step)}
    prometheus.api("query_range", "result", form)


def measure_panels(prometheus: Prometheus, chosen: Chosen, cpu: Callable[[], float], at: float) -> dict[str, object]:
    """Ask every query of every dashboard by itself, and each dashboard's together as a browser does.

    Args:
        prometheus: who answers.
        chosen: values of the variables.
        cpu: CPU seconds that it has used.
        at: end of the range, in seconds since the epoch.

    Returns:
        Milliseconds until the answer and of CPU by query, seconds by dashboard.
    """
    queries: dict[str, tuple[float, float]] = {}
    loads: dict[str, tuple[float, float]] = {}
    for board in BOARDS:
        asked = [(panel, target, filled(target["expr"], chosen[board["uid"]]), at) for panel, target in _targets(board)]
        for one in asked:
            queries[f"{board['uid']}: {one[0]['title']} {one[1]['refId']}"] = _took(
                lambda one=one: _ask(prometheus, *one), cpu
            )
        with ThreadPoolExecutor(_AT_A_TIME) as browser:
            wall, busy = _took(
                lambda asked=asked: list(browser.map(partial(_ask, prometheus), *zip(*asked, strict=True))), cpu
            )
        loads[board["uid"]] = wall / 1000, busy / 1000
    return {
        "queries": len(queries),
        "slowest queries, milliseconds and of CPU": dict(sorted(queries.items(), key=lambda one: -one[1][1])[:15]),
        "dashboards, seconds to load and of CPU": loads,
    }


def _took(ask: Callable[[], object], cpu: Callable[[], float]) -> tuple[float, float]:
    """Return median milliseconds until the answer, and mean milliseconds of CPU."""
    before, took = cpu(), []
    for _ in range(_REPEATS):
        begin = time.perf_counter()
        ask()
        took.append((time.perf_counter() - begin) * 1000)
    return float(np.median(took)), (cpu() - before) / _REPEATS * 1000
