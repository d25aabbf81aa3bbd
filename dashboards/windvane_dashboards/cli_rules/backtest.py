"""`windvane rules backtest`: which alerts would have fired."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windvane import semconv
from windvane._table import aligned, printable
from windvane_dashboards.cli_rules.check import generated_groups
from windvane_dashboards.cli_rules.options import faster_option, timings
from windvane_dashboards.cli_rules.replay import Episode, Replay
from windvane_dashboards.cli_rules.rulefile import Group, Rule, name_of, seconds
from windvane_dashboards.cli_rules.scratch_prometheus import blocks_from, scratch_prometheus
from windvane_dashboards.promql import MODEL_LABEL, VERSION_LABEL
from windvane_dashboards.rules import render
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Changed", "change_threshold", "command"]

_TEAM, _SEVERITY = semconv.TEAM.label, semconv.SEVERITY.label
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMPARISON: Final = re.compile(
    r"(?P<operator>[<>]=?)\s*(?P<matching>(?:bool|(?:on|ignoring|group_left|group_right)\s*\([^)]*\))\s*)*"
    rf"(?P<operand>{_NUMBER}|[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{{[^}}]*\}})?)"
    r"(?![\w:({.]|\s*\(|\s+(?:by|without)\b)"  # no function
)
_MOST_ROWS: Final = 200


class _Time(click.ParamType[float]):
    """A point in time: ISO 8601, seconds since the epoch, or how long ago."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click
        if isinstance(value, float):
            return value
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        with contextlib.suppress(ValueError):
            return float(value)
        with contextlib.suppress(CommandError):
            return time.time() - seconds(value)
        return self.fail(
            f"{value!r} is neither 2026-01-31T12:00:00Z, nor seconds since the epoch, nor how long ago, 7d", param, ctx
        )


@click.command("backtest")
@click.option("--prometheus", metavar="URL", help="Take the history from this Prometheus (or Mimir).")
@click.option(
    "--openmetrics",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the history from a file, as `promtool tsdb dump-openmetrics` writes it.",
)
@click.option(
    "--from", "begin", type=_Time(), required=True, help="First evaluation, UTC where no zone is given; or 7d."
)
@click.option("--to", "end", type=_Time(), help="Last evaluation. [default: now]")
@click.option("--model", metavar="NAME", help="Read the series of this model only. [default: all]")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="ALERT=NUMBER",
    help="Compare with this alert's threshold set to NUMBER; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@faster_option
def command(
    *,
    prometheus: str | None,
    openmetrics: Path | None,
    begin: float,
    end: float | None,
    model: str | None,
    thresholds: tuple[str, ...],
    as_json: bool,
    faster: float,
) -> None:
    """Evaluate the rules over history, and tell which alerts would have fired, when, for how long and for whom.

    The raw series are copied into a temporary Prometheus on this machine, which evaluates every rule at every step,
    with `for` and `keep_firing_for`. Nothing is written anywhere else.
    """
    if (prometheus is None) == (openmetrics is None):
        msg = "name either --prometheus URL or --openmetrics FILE"
        raise click.UsageError(msg)
    end = time.time() if end is None else end
    if not begin < end:
        msg = "--from must be before --to"
        raise click.UsageError(msg)
    groups = generated_groups(render(timings(faster)))
    changed = [_parse_threshold(text, groups) for text in thresholds]
    with contextlib.ExitStack() as stack:
        source = _serving(openmetrics, stack) if openmetrics else Prometheus(prometheus or "")
        replay = Replay(
            groups,
            source=source,
            scratch=stack.enter_context(scratch_prometheus()),
            begin=begin,
            end=end,
            log=_progress,
        )
        replay.load(model)
        episodes = replay.run()
        compared = [(change, replay.run_changed(change.alert, change.rules)) for change in changed]
    _progress("")
    if as_json:
        click.echo(json.dumps(_as_json(episodes, compared, begin, end), indent=2))
    else:
        _print(episodes, compared, begin, end)


def _serving(openmetrics: Path, stack: contextlib.ExitStack) -> Prometheus:
    folder = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="windvane-blocks-", ignore_cleanup_errors=True))
    )
    blocks_from(openmetrics, folder)
    return stack.enter_context(scratch_prometheus(folder))


def _progress(line: str) -> None:
    """Tell on one line of a terminal what is being done; elsewhere nothing."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{line}", nl=False, err=True)


# --- Thresholds -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changed:
    """An alert with another threshold.

    Attributes:
        alert: its name.
        number: what the threshold is set to.
        rules: its rules with that, in their order.
        was: what the threshold is otherwise, of each rule.
    """

    alert: str
    number: float
    rules: tuple[Rule, ...]
    was: tuple[str, ...]

    def __str__(self) -> str:
        """The change, for people."""
        return f"{self.alert} with {self.number:g} in place of {' and '.join(dict.fromkeys(self.was))}"


def change_threshold(rule: Rule, number: float) -> tuple[Rule, str]:
    """Set the threshold of an alerting rule: what its first comparison compares with, wherever it does so.

    That may be a number, or a series such as the noise floor or an objective, which the number then replaces for
    every model.

    Returns:
        The rule with that, and what it has compared with.

    Raises:
        CommandError: its expression compares with something else, or not at all.
    """
    expression = str(rule["expr"])
    operator = re.search("[<>]", expression)
    first = _COMPARISON.match(expression, operator.start()) if operator else None
    if first is None:
        msg = f"{name_of(rule)} compares with no number and no series, so it has no threshold to change"
        raise CommandError(msg)
    operand = first["operand"]

    def replace(match: re.Match[str]) -> str:
        same = match["operand"] == operand and match["operator"] == first["operator"]
        return f"{match['operator']} {number!r}" if same else match[0]

    return {**rule, "expr": _COMPARISON.sub(replace, expression)}, operand


def _parse_threshold(text: str, groups: Iterable[Group]) -> Changed:
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    name, _, number = text.partition("=")
    chosen = [rule for rule in alerts if name_of(rule) == name]
    if not chosen or not re.fullmatch(_NUMBER, number):
        msg = f"{text!r} is not ALERT=NUMBER; the alerts are {', '.join(dict.fromkeys(map(name_of, alerts)))}"
        raise click.BadParameter(msg, param_hint="--threshold")
    rules, was = zip(*(change_threshold(rule, float(number)) for rule in chosen), strict=True)
    return Changed(name, float(number), rules, was)


# --- Telling --------------------------------------------------------------------------------------


def _fired(episodes: Iterable[Episode]) -> list[Episode]:
    return [episode for episode in episodes if episode.fired is not None]


def _print(episodes: list[Episode], compared: list[tuple[Changed, list[Episode]]], begin: float, end: float) -> None:
    fired = _fired(episodes)
    click.echo(f"from {_moment(begin)} to {_moment(end)}")
    if fired:
        rows: list[tuple[str, ...]] = [("alert", "about", "team", "severity", "fired", "lasted", "peak")]
        rows += [_row(episode, end) for episode in fired[:_MOST_ROWS]]
        click.echo(aligned(rows, len(rows[0]) - 1))
        if len(fired) > _MOST_ROWS:
            click.echo(f"and {len(fired) - _MOST_ROWS} more; --json has them all")
        click.echo(f"\n{_summary(fired, end)}")
    else:
        click.echo("no alert would have fired")
    for change, others in compared:
        before = [episode for episode in fired if episode.alert == change.alert]
        click.echo(f"\n{change}: {_amount(_fired(others), end)} instead of {_amount(before, end)}")
        for sign, some in (("-", _only(before, _fired(others))), ("+", _only(_fired(others), before))):
            for row in some[:_MOST_ROWS]:
                click.echo("  ".join((sign, *_row(row, end)[1:])))


def _only(some: Sequence[Episode], others: Sequence[Episode]) -> list[Episode]:
    """Return the episodes during which none of the others fired for the same labels."""
    return [
        one
        for one in some
        if not any(
            one.labels == other.labels
            and (other.ended is None or (one.fired or 0) < other.ended)
            and (one.ended is None or (other.fired or 0) < one.ended)
            for other in others
        )
    ]


def _row(episode: Episode, end: float) -> tuple[str, ...]:
    labels = dict(episode.labels)
    team, severity = labels.pop(_TEAM, ""), labels.pop(_SEVERITY, "")
    about = [labels.pop(MODEL_LABEL, ""), labels.pop(VERSION_LABEL, ""), *(labels[name] for name in sorted(labels))]
    fired = episode.fired or episode.pending
    lasted = _span((end if episode.ended is None else episode.ended) - fired)
    return (
        episode.alert,
        " ".join(printable(text) for text in about if text),
        printable(team) or "-",
        printable(severity) or "-",
        "before" if episode.from_start else _moment(fired),
        f"{lasted}{' so far' if episode.ended is None else ''}",
        f"{episode.peak:.4g}",
    )


def _amount(fired: Sequence[Episode], end: float) -> str:
    span = _span(sum((end if one.ended is None else one.ended) - (one.fired or 0) for one in fired))
    return f"{len(fired)} alert{'' if len(fired) == 1 else 's'}, {span} in all"


def _summary(fired: Iterable[Episode], end: float) -> str:
    counts: Counter[tuple[str, str, str]] = Counter()
    spans: Counter[tuple[str, str, str]] = Counter()
    for episode in fired:
        labels = dict(episode.labels)
        key = (episode.alert, labels.get(_TEAM, "-"), labels.get(_SEVERITY, "-"))
        counts[key] += 1
        spans[key] += round((end if episode.ended is None else episode.ended) - (episode.fired or 0))
    rows = [("alert", "team", "severity", "times", "in all")]
    rows += [(key[0], printable(key[1]), key[2], str(counts[key]), _span(spans[key])) for key in sorted(counts)]
    return aligned(rows, 3)


def _as_json(
    episodes: list[Episode], compared: list[tuple[Changed, list[Episode]]], begin: float, end: float
) -> dict[str, Any]:
    return {
        "from": begin,
        "to": end,
        "alerts": [_one(episode) for episode in _fired(episodes)],
        "pending_only": len(episodes) - len(_fired(episodes)),
        "thresholds": [
            {
                "alert": change.alert,
                "was": list(change.was),
                "is": change.number,
                "expr": [rule["expr"] for rule in change.rules],
                "alerts": [_one(episode) for episode in _fired(others)],
            }
            for change, others in compared
        ],
    }


def _one(episode: Episode) -> dict[str, Any]:
    return {
        "alert": episode.alert,
        "labels": dict(episode.labels),
        "pending": episode.pending,
        "fired": episode.fired,
        "ended": episode.ended,
        "peak": episode.peak,
        "fired_before_from": episode.from_start,
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _span(span: float) -> str:
    days, rest = divmod(round(span), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if number]
    return "".join(parts) or "0s"
