"""How long the queries of the dashboards take, as a browser asks them, on the Prometheus of `rules_cost.py`."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from windvane_dashboards.boards import BOARDS
from windvane_dashboards.cli_dashboards.check import filled, values
from windvane_dashboards.links import FLEET_UID
from windvane_dashboards.promql import MODEL_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from windvane_dashboards.server import Prometheus

__all__ = ["RANGE_MINUTES", "measure_panels", "series_shown"]

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


def series_shown(prometheus: Prometheus) -> list[dict[str, str]]:
    """Return the series that queries over a range of time read: of one model, or of all where a query asks for all."""
    shown: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for board in BOARDS:
        chosen = values(board, prometheus, {})
        for _, target in _targets(board):
            if target["instant"]:
                continue
            one = f'{{{MODEL_LABEL}="{chosen["model"]}"}}' if "$model" in target["expr"] else ""
            for name in sorted(set(_NAME.findall(target["expr"]))):
                if ":" in name or name.endswith(("_total", "_count", "_bucket")) or not one:
                    for found in prometheus.query(f"{name}{one}"):
                        shown[tuple(sorted(found["metric"].items()))] = found["metric"]
    return [labels for labels in shown.values() if "__name__" in labels]


def _ask(
    prometheus: Prometheus, panel: Mapping[str, Any], target: Mapping[str, Any], chosen: Mapping[str, str]
) -> float:
    """Send a query as Grafana does; return the milliseconds until its answer."""
    expr, end = filled(target["expr"], chosen), time.time()
    begin = time.perf_counter()
    if target["instant"]:
        prometheus.query(expr, end)
    else:
        wanted = RANGE_MINUTES * 60 / (panel["gridPos"]["w"] * _PIXELS_PER_UNIT)
        step = next(step for step in _STEPS if step >= wanted)
        form = {"query": expr, "start": f"{end - RANGE_MINUTES * 60:.0f}", "end": f"{end:.0f}", "step": str(step)}
        prometheus.api("query_range", form)
    return (time.perf_counter() - begin) * 1000


def measure_panels(prometheus: Prometheus) -> dict[str, object]:
    """Ask every query of every dashboard by itself, and each dashboard's together as a browser does."""
    slowest: dict[str, float] = {}
    loads: dict[str, float] = {}
    for board in BOARDS:
        chosen = values(board, prometheus, {})
        targets = list(_targets(board))
        for panel, target in targets:
            name = f"{board['uid']}: {panel['title']} {target['refId']}"
            slowest[name] = float(np.median([_ask(prometheus, panel, target, chosen) for _ in range(_REPEATS)]))
        ask: Callable[[tuple[Any, Any]], float] = lambda one, chosen=chosen: _ask(prometheus, *one, chosen)  # type: ignore[misc] # noqa: E731
        took = []
        for _ in range(_REPEATS):
            begin = time.perf_counter()
            with ThreadPoolExecutor(_AT_A_TIME) as browser:
                list(browser.map(ask, targets))
            took.append(time.perf_counter() - begin)
        loads[board["uid"]] = float(np.median(took))
    assert FLEET_UID in loads
    return {
        "queries": len(slowest),
        "slowest queries, milliseconds": dict(sorted(slowest.items(), key=lambda one: -one[1])[:20]),
        "dashboards, seconds to load": loads,
    }
