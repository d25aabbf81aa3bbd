"""`windvane dashboards check`: every query of every panel on a Prometheus, and why a panel would be empty."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table

from windvane import semconv
from windvane_dashboards.boards import BOARDS
from windvane_dashboards.promql import AGE_LIMIT, VIOLATION_EXCESS, DriftSeries, outcome_count
from windvane_dashboards.rules import rule_set
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from windvane_dashboards.grafana import Json

__all__ = ["Panel", "check", "values", "watch"]

_LABEL_VALUES: Final = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")
_SELECTOR: Final = re.compile(
    r"\b(?P<name>(?:ml|windvane|otelcol|prometheus)_[\w:]+|ALERTS\w*)(?P<matchers>\{[^{}]*\})?"
)
_VARIABLE: Final = re.compile(r"\$(\w+)")
_MATCHER: Final = re.compile(r'(\w+)(=~|=|!=|!~)"((?:[^"\\]|\\.)*)"')
_BUILT_IN: Final = {"__rate_interval": "5m", "__range": "6h", "__interval": "1m"}
_ALERTS: Final = "ALERTS"
_OUTCOMES: Final = {
    "reference": (semconv.OUTCOME_REFERENCE_COUNT, "max", "no baseline has a calibration (baseline build --actual)"),
    "expected": (semconv.OUTCOME_EXPECTED_COUNT, "rate5m", "no baseline has a calibration (baseline build --actual)"),
    "": (semconv.OUTCOME_COUNT, "rate5m", "no outcomes are reported"),
}
"""By a word of the series' name: the count it is made of, what the rules record of it, and why there may be none."""
_LEARNED: Final = {AGE_LIMIT, *(DriftSeries(window).past for window in ("1h", "1d"))}

_OK, _QUIET, _EMPTY, _FAILED = "ok", "quiet", "empty", "failed"
_SHADES: Final = {_OK: "green", _QUIET: "dim", _EMPTY: "yellow", _FAILED: "red"}


@dataclass(frozen=True, slots=True)
class Panel:
    """What one query of a panel finds.

    Attributes:
        board: uid of the dashboard.
        panel: title.
        query: its letter.
        status: `ok`; `quiet`, where all that it reads is there and it has nothing to show; `empty`, where something
            that it reads is missing; or `failed`.
        reason: of any status but `ok`.
        milliseconds: until the answer.
        series: in the answer.
    """

    board: str
    panel: str
    query: str
    status: str
    reason: str
    milliseconds: float
    series: int


@click.command("check")
@click.option("--prometheus", "url", metavar="URL", default="http://127.0.0.1:9090", show_default=True)
@click.option(
    "--board", "uids", multiple=True, metavar="UID", help="Only this dashboard; may be repeated. [default: all]"
)
@click.option(
    "--var",
    "chosen",
    multiple=True,
    metavar="NAME=VALUE",
    help="Value of a variable, such as model=fares. [default: the first that there is]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, url: str, uids: tuple[str, ...], chosen: tuple[str, ...], as_json: bool) -> None:
    """Run every query of every panel, and say why a panel would be empty.

    A panel is quiet where the series that it reads are there and it has nothing to show, as firing alerts have on a
    good day. Exit code 1 where a query fails or a signal is missing.
    """
    boards = [board for board in BOARDS if not uids or board["uid"] in uids]
    if unknown := set(uids) - {board["uid"] for board in BOARDS}:
        msg = f"there is no dashboard {', '.join(sorted(unknown))}; there are {', '.join(b['uid'] for b in BOARDS)}"
        raise click.UsageError(msg)
    prometheus, picked = Prometheus(url), _picked(chosen)
    found: list[Panel] = []
    picks: dict[str, dict[str, str]] = {}
    for board in boards:
        picks[board["uid"]] = variables = values(board, prometheus, picked)
        found += watch(board, prometheus, variables)
    if as_json:
        click.echo(json.dumps({"variables": picks, "queries": [asdict(panel) for panel in found]}, indent=1))
    else:
        _print(found, picks)
    if any(panel.status in {_EMPTY, _FAILED} for panel in found):
        raise click.exceptions.Exit(1)


def _picked(chosen: Iterable[str]) -> dict[str, str]:
    picked = {}
    for one in chosen:
        name, equals, value = one.partition("=")
        if not equals or not name:
            msg = f"--var {one}: give NAME=VALUE"
            raise click.UsageError(msg)
        picked[name] = value
    return picked


def values(board: Json, prometheus: Prometheus, picked: Mapping[str, str]) -> dict[str, str]:
    """Choose a value for each variable of a dashboard, each narrowed by those before it.

    Args:
        board: the dashboard.
        prometheus: where the values are looked up.
        picked: values that are given.

    Raises:
        CommandError: a variable has no value.
    """
    chosen: dict[str, str] = {}
    for variable in board["templating"]["list"]:
        name = variable["name"]
        if variable["type"] != "query":
            continue
        if name in picked:
            chosen[name] = picked[name]
        elif variable["multi"]:
            chosen[name] = variable["allValue"]
        else:
            chosen[name] = _first(variable, prometheus, chosen)
    return chosen


def _first(variable: Json, prometheus: Prometheus, chosen: Mapping[str, str]) -> str:
    match = _LABEL_VALUES.fullmatch(variable["definition"])
    if match is None:
        msg = f"variable {variable['name']}: {variable['definition']!r} is no label_values(series, label)"
        raise CommandError(msg)
    series, label = filled(match["series"], chosen), match["label"]
    found: list[str] = sorted(
        one["metric"].get(label, "") for one in prometheus.query(f"group by ({label}) ({series})")
    )
    if not found:
        msg = f"{prometheus} has no {series}, so there is no {variable['name']} to choose: {_hint(_name(series))}"
        raise CommandError(msg)
    return found[-1] if variable["sort"] == 4 else found[0]  # noqa: PLR2004 - Grafana's numerical, descending


def _name(series: str) -> str:
    match = _SELECTOR.match(series)
    return match["name"] if match else series


def filled(expr: str, variables: Mapping[str, str]) -> str:
    """Put the values of variables into a query.

    Example:
        >>> filled('up{job="$job"}[$__range]', {"job": "api"})
        'up{job="api"}[6h]'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in _BUILT_IN:
            return _BUILT_IN[name]
        return json.dumps(variables[name], ensure_ascii=False)[1:-1] if name in variables else match[0]

    return _VARIABLE.sub(value, expr)


def watch(board: Json, prometheus: Prometheus, variables: Mapping[str, str]) -> Iterator[Panel]:
    """Run every query of a dashboard at this time.

    Args:
        board: the dashboard.
        prometheus: who answers.
        variables: values of its variables.
    """
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expr = filled(target["expr"], variables)
            number, took = 0, 0.0
            try:
                begin = time.perf_counter()
                number = len(prometheus.query(expr))
                took = (time.perf_counter() - begin) * 1000
                status, reason = (_OK, "") if number else _reason(expr, prometheus)
            except CommandError as error:
                status, reason = _FAILED, str(error)
            title = filled(panel["title"], variables)
            yield Panel(board["uid"], title, target["refId"], status, reason, took, number)


def _reason(expr: str, prometheus: Prometheus) -> tuple[str, str]:
    """Say why a query has no answer: the first thing that it reads and that is not there."""
    for match in _SELECTOR.finditer(expr):
        name = match["name"]
        if _label(name) or prometheus.query(f"count({match[0]})"):
            continue
        if name.startswith(_ALERTS):
            return _QUIET, "no such alert fires"
        if quiet := _quiet(name) or _no_outcomes(name, prometheus):
            return _QUIET, quiet
        if not prometheus.query(f'count({{__name__="{name}"}})'):
            return _EMPTY, f"no series {name}: {_hint(name)}"
        return _unmatched(name, match["matchers"], prometheus)
    return _QUIET, "all that it reads is there; nothing to show now"


def _quiet(name: str) -> str:
    """Say why it may be right that a series is not there; nothing where it is not."""
    if name in _LEARNED:
        return f"{name} is learned from past days, of which there are none yet"
    if name == VIOLATION_EXCESS:
        return "no value is in violation"
    if name == semconv.OUTCOMES_REFUSED.prometheus_name:
        return "no outcome was refused"
    return ""


def _no_outcomes(name: str, prometheus: Prometheus) -> str:
    """Say why a series of outcomes may well be missing: a model need not report any, and has one kind of them.

    Nothing where outcomes are reported and the rules do not record them.
    """
    for word, (metric, recorded, why) in _OUTCOMES.items():
        if word in name and "ml_outcome_" in name:
            if not prometheus.query(f"count({metric.prometheus_name})"):
                return why
            if prometheus.query(f"count({outcome_count(metric, recorded)})"):
                return f"no {name}: this model has no outcomes, none of this kind, or too few"
            break
    return ""


def _unmatched(name: str, matchers: str, prometheus: Prometheus) -> tuple[str, str]:
    """Say which matcher a series that is there does not fulfil."""
    for label, operator, value in _MATCHER.findall(matchers):
        if not prometheus.query(f'count({name}{{{label}{operator}"{value}"}})'):
            if (operator, value) == ("!=", ""):
                return _QUIET, f"no {name} has {label}"
            return _EMPTY, f"{name} is there, but not with {label}{operator}{json.dumps(value)}"
    return _EMPTY, f"{name} is there, but not with all of {matchers}"


def _label(name: str) -> bool:
    return name in {attribute.label for attribute in semconv.ATTRIBUTES}


def _hint(name: str) -> str:
    """Say who makes a series, so who does not."""
    if name.startswith("otelcol_"):
        return "Prometheus does not scrape the Collector's own metrics"
    if name.startswith("prometheus_"):
        return "Prometheus does not scrape itself"
    recorded = {rule.record for group in rule_set().recording for rule in group.rules if hasattr(rule, "record")}
    if name in recorded:
        return "windvane's rules record it: they are not loaded, or there is too little traffic or no baseline yet"
    for metric in semconv.METRICS:
        if name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") == metric.prometheus_name:
            return f"no model reports it. {metric.description}"
    return "nobody reports it"


def _print(found: list[Panel], picks: Mapping[str, Mapping[str, str]]) -> None:
    console = Console()
    for uid, variables in picks.items():
        of_board = [panel for panel in found if panel.board == uid]
        shown = ", ".join(f"{name}={value}" for name, value in variables.items())
        slowest = max(of_board, key=lambda panel: panel.milliseconds)
        table = Table(title=f"{uid} {f'({shown})' if shown else ''}", title_justify="left", box=None, expand=False)
        for heading in ("panel", "query", "", "why"):
            table.add_column(heading, no_wrap=heading != "why")
        for panel in of_board:
            if panel.status != _OK:
                shade = _SHADES[panel.status]
                table.add_row(panel.panel, panel.query, f"[{shade}]{panel.status}[/]", panel.reason)
        answered = sum(panel.status == _OK for panel in of_board)
        console.print(table) if table.rows else console.print(f"{uid} {f'({shown})' if shown else ''}", highlight=False)
        console.print(
            f"{answered} of {len(of_board)} queries have an answer; the slowest took {slowest.milliseconds:.0f} ms "
            f"({slowest.panel})\n",
            highlight=False,
        )
