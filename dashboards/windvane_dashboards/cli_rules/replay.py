"""Evaluates rules over history, exactly as Prometheus would have at each of its evaluations.

A recording rule is one range query: at each step that is what an evaluation at this time gives, since all that the
rule reads is there already. Its result is stored, each series ending where the rule gave nothing, and the next rule
reads it. Rules that read their own last value, or one of a rule below them in their group, are evaluated step by step.
What an alert's expression gives runs through the states of Prometheus' `AlertingRule.Eval`.
"""

from __future__ import annotations

import dataclasses
import graphlib
import itertools
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from windvane import semconv
from windvane_dashboards.cli_rules.rulefile import Group, Rule, name_of, seconds
from windvane_dashboards.cli_rules.scratch_prometheus import STALE, ScratchPrometheus
from windvane_dashboards.promql import MODEL_LABEL
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["Episode", "Replay"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
Matrix: TypeAlias = "dict[Labels, list[tuple[int, float]]]"

_ALERTS: Final = "ALERTS"
_LOOKBACK: Final = 300.0  # how long Prometheus takes a series' last sample for its value
_MOST_POINTS: Final = 10_000  # Prometheus refuses 11,000 points of a series in one answer
_FEW_POINTS: Final = 100  # asked for first, while the number of series is unknown
_MOST_VALUES: Final = 1_000_000  # held at once
_MOST_STEPS: Final = 100_000
_MOST_SAMPLES: Final = 200_000_000
_SHORTEST_PART: Final = 10.0
_LONGEST_PART: Final = 14_400.0
_IN_QUOTES: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ALERT_NAME: Final = re.compile(r'alertname\s*=\s*"([^"]*)"')
_WORD: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_WINDOW: Final = re.compile(r"\[([0-9a-z]+)\s*(?:(:)[^\]]*)?\]")
_OFFSET: Final = re.compile(r"\boffset\s+([0-9a-z]+)")
_SUFFIXES: Final = ("", "_bucket", "_count", "_sum")


@dataclass(slots=True)
class Episode:
    """One alert, from the first sight of its reason until it is over; times in seconds since the epoch.

    Attributes:
        alert: its name.
        labels: what it is routed by, without the name.
        pending: when its expression first held.
        fired: when it had held for long enough; None where it never had.
        ended: when it was over; None where it lasted until the end.
        peak: the largest value of its expression.
        from_start: whether it held already when the evaluation began, so that it is older than it looks.
    """

    alert: str
    labels: Labels
    pending: float
    fired: float | None = None
    ended: float | None = None
    peak: float = float("-inf")
    from_start: bool = False
    _quiet_since: float | None = field(default=None, repr=False)

    def holds(self, value: float) -> None:
        """Note that the expression holds."""
        self._quiet_since = None
        self.peak = max(self.peak, value)

    def quiet(self, at: float, keep: float) -> bool:
        """Note that the expression does not hold; return whether the alert is over."""
        if self.fired is None:
            return True
        if self._quiet_since is None:
            self._quiet_since = at
        return at - self._quiet_since >= keep


class _Alert:
    """The states of one alerting rule, as `AlertingRule.Eval` of Prometheus goes through them."""

    def __init__(self, rule: Rule, begin: float) -> None:
        self._name = name_of(rule)
        self._wait, self._keep = seconds(rule.get("for")), seconds(rule.get("keep_firing_for"))
        self._own = {str(name): str(text) for name, text in (rule.get("labels") or {}).items()}
        if any("{{" in text for text in self._own.values()):
            msg = f"{self._name}: labels made by templates cannot be evaluated here"
            raise CommandError(msg)
        self._begin = begin
        self.active: dict[Labels, Episode] = {}
        self.episodes: list[Episode] = []

    def labels(self, metric: Mapping[str, str]) -> Labels:
        """Return an alert's labels, the name left off: the rule's own win, and an empty one goes."""
        merged = {**metric, **self._own}
        return tuple(sorted((name, text) for name, text in merged.items() if text and name != "__name__"))

    def step(self, at: float, vector: Mapping[Labels, float]) -> None:
        """Evaluate once.

        Args:
            at: when.
            vector: what the expression gives, by the labels of the alert.
        """
        for labels, value in vector.items():
            if labels not in self.active:
                self.active[labels] = Episode(self._name, labels, at, from_start=at == self._begin)
                self.episodes.append(self.active[labels])
            self.active[labels].holds(value)
        for labels, episode in list(self.active.items()):
            if labels not in vector and episode.quiet(at, self._keep):
                episode.ended = at
                del self.active[labels]
            elif episode.fired is None and at - episode.pending >= self._wait:
                episode.fired = at

    def series(self) -> Iterator[Labels]:
        """Return the series of `ALERTS` as they are now."""
        for labels, episode in self.active.items():
            state = "pending" if episode.fired is None else "firing"
            yield tuple(sorted([*labels, ("__name__", _ALERTS), ("alertname", self._name), ("alertstate", state)]))


class _Store:
    """Writes what rules give, step by step, and ends the series that are not given any more."""

    def __init__(self, prometheus: ScratchPrometheus) -> None:
        self._prometheus = prometheus
        self._last: set[Labels] = set()

    def step(self, at: float, vector: Mapping[Labels, float]) -> None:
        when = round(at * 1000)
        ended = [(dict(labels), [(when, STALE)]) for labels in self._last - vector.keys()]
        self._prometheus.write([*((dict(labels), [(when, value)]) for labels, value in vector.items()), *ended])
        self._last = set(vector)


@dataclass(slots=True)
class _Node:
    """A rule in its place: what it makes, what it reads, and how far back. What an alert makes is `ALERTS:name`."""

    position: int
    group: str
    step: int  # milliseconds
    rule: Rule
    makes: str
    reads: set[str]
    back: float


class Replay:
    """Rules over history.

    Args:
        groups: rule groups as a rule file has them.
        source: who has the raw series.
        scratch: takes raw series and what the rules give.
        begin: first evaluation of the alerts, in seconds since the epoch.
        end: the last.
        log: told what is being done.

    Raises:
        CommandError: there are too many evaluations.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        *,
        source: Prometheus,
        scratch: ScratchPrometheus,
        begin: float,
        end: float,
        log: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Order the rules; nothing is read yet."""
        self._begin, self._end = begin, end
        self._source, self._scratch, self._log = source, scratch, log
        self._nodes = _nodes(list(groups))
        self._units = _order(self._nodes)
        self._lead = self._leads()
        longest = max(self._lead.values(), default=0.0)
        shortest = min((node.step for node in self._nodes), default=1000)
        if (self._end - self._begin + longest) * 1000 / shortest > _MOST_STEPS:
            msg = f"more than {_MOST_STEPS} evaluations; choose a shorter time"
            raise CommandError(msg)
        self._read = {name for node in self._nodes for name in node.reads}
        self._earliest = 0  # milliseconds; before the first raw sample no rule gives anything

    def load(self, model: str | None = None) -> int:
        """Copy the raw series that the rules read; return the number of samples.

        Args:
            model: only those of this model, and those that are no model's; all by default.

        Raises:
            CommandError: there are none or too many, or the source does not answer.
        """
        only = "" if model is None else f", {MODEL_LABEL}=~{json.dumps(f'{re.escape(model)}|', ensure_ascii=False)}"
        raw: dict[str, float] = {}
        for node in self._nodes:
            for name in node.reads & _raw_names():
                raw[name] = max(raw.get(name, 0.0), self._lead[node.position] + node.back)
        count, earliest = 0, round(self._end * 1000)
        for name, lead in sorted(raw.items()):
            end, part = self._begin - lead, _LONGEST_PART / 24
            while end < self._end:
                begin, end = end, min(end + part, self._end)
                window = f"{round((end - begin) * 1000)}ms"
                found = self._source.query(f'{{__name__="{name}"{only}}}[{window}]', end)
                series = [
                    (one["metric"], [(round(float(time) * 1000), float(value)) for time, value in one["values"]])
                    for one in found
                    if "values" in one
                ]
                number = sum(len(samples) for _, samples in series)
                earliest = min([earliest, *(samples[0][0] for _, samples in series if samples)])
                part = min(max(part * _MOST_VALUES / 2 / max(number, 1), _SHORTEST_PART), 2 * part, _LONGEST_PART)
                count += number
                if count > _MOST_SAMPLES:
                    msg = f"more than {_MOST_SAMPLES:,} samples; choose a shorter time or one model with --model"
                    raise CommandError(msg)
                self._scratch.write(series)
                self._log(f"read {name}, {count:,} samples so far")
        self._earliest = earliest
        if not count:
            msg = f"{self._source} has none of the series that the rules read, at that time"
            raise CommandError(msg)
        return count

    def run(self) -> list[Episode]:
        """Evaluate every rule; return the alerts in the order in which they began.

        Raises:
            CommandError: a rule cannot be evaluated.
        """
        episodes: list[Episode] = []
        for number, unit in enumerate(self._units, 1):
            if len(unit) == 1 and unit[0].makes not in unit[0].reads:
                episodes += self._range(unit[0])
            else:
                episodes += self._step_by_step(unit)
            self._log(f"evaluated {number} of {len(self._units)} rules")
        return self._of_interest(episodes)

    def run_changed(self, alert: str, rules: Iterable[Rule]) -> list[Episode]:
        """Evaluate other forms of the rules of an alert, in their order, over what `run` has stored.

        Raises:
            CommandError: a rule cannot be evaluated.
        """
        episodes: list[Episode] = []
        nodes = (node for node in self._nodes if "alert" in node.rule and name_of(node.rule) == alert)
        for node, rule in zip(nodes, rules, strict=True):
            episodes += self._range(dataclasses.replace(node, rule=rule), store=False)
        return self._of_interest(episodes)

    def _of_interest(self, episodes: Iterable[Episode]) -> list[Episode]:
        lasted = (one for one in episodes if one.ended is None or one.ended > self._begin)
        return sorted(lasted, key=lambda one: (one.pending, one.alert, one.labels))

    def _first(self, node: _Node) -> int:
        """Return the first evaluation of a rule, in milliseconds: a multiple of its interval, as Prometheus has it."""
        first = max(round((self._begin - self._lead[node.position]) * 1000), self._earliest)
        return min(first, round(self._begin * 1000)) // node.step * node.step

    def _range(self, node: _Node, *, store: bool = True) -> list[Episode]:
        """Evaluate a rule at every step, many at once."""
        if "record" in node.rule:
            alive: set[Labels] = set()
            for first, last, matrix in self._matrices(node):
                alive = self._record(node, matrix, first, last, alive)
            return []
        alert = _Alert(node.rule, self._first(node) / 1000)
        output = _Store(self._scratch) if store and node.makes in self._read else None
        for first, last, matrix in self._matrices(node):
            held: dict[int, dict[Labels, float]] = {}
            for metric, samples in matrix.items():
                labels = alert.labels(dict(metric))
                for when, value in samples:
                    if labels in held.setdefault(when, {}):
                        raise CommandError(_twice(node.rule))
                    held[when][labels] = value
            for when in range(first, last + 1, node.step):
                alert.step(when / 1000, held.get(when, {}))
                if output is not None:
                    output.step(when / 1000, dict.fromkeys(alert.series(), 1.0))
        return alert.episodes

    def _matrices(self, node: _Node) -> Iterator[tuple[int, int, Matrix]]:
        """Evaluate an expression at every step; yield first step, last step and series of one part after the other."""
        first, end = self._first(node), round(self._end * 1000)
        steps = _FEW_POINTS
        while first <= end:
            last = min(first + (steps - 1) * node.step, end - (end - first) % node.step)
            form = {
                "query": str(node.rule["expr"]),
                "start": f"{first / 1000:.3f}",
                "end": f"{last / 1000:.3f}",
                "step": f"{node.step / 1000:.3f}",
            }
            matrix: Matrix = {}
            for one in self._scratch.api("query_range", "result", form):
                labels = self._result(node.rule, one["metric"])
                samples = [(round(time * 1000), float(value)) for time, value in one["values"]]
                if labels in matrix:
                    # `a or b` gives a's name at some steps and none at others: two series here, one in the rule.
                    samples = sorted([*matrix[labels], *samples])
                    if len({when for when, _ in samples}) < len(samples):
                        raise CommandError(_twice(node.rule))
                matrix[labels] = samples
            yield first, last, matrix
            first = last + node.step
            steps = min(max(_MOST_VALUES // max(len(matrix), 1), 1), _MOST_POINTS)

    def _record(self, node: _Node, matrix: Matrix, first: int, last: int, alive: set[Labels]) -> set[Labels]:
        """Store what a recording rule gives, and the end of each series; return those that have not ended."""
        self._scratch.write((dict(labels), [(first, STALE)]) for labels in alive - matrix.keys())
        self._scratch.write(
            (
                dict(labels),
                [
                    *([(first, STALE)] if labels in alive and samples[0][0] != first else []),
                    *_ending(samples, node.step, last),
                ],
            )
            for labels, samples in matrix.items()
        )
        return {labels for labels, samples in matrix.items() if samples[-1][0] == last}

    @staticmethod
    def _result(rule: Rule, metric: Mapping[str, str]) -> Labels:
        named = {"__name__": rule["record"], **(rule.get("labels") or {})} if "record" in rule else {}
        return tuple(sorted({**metric, **named}.items()))

    def _step_by_step(self, unit: list[_Node]) -> list[Episode]:
        """Evaluate rules that read each other's last values, as their group does."""
        alerts = [None if "record" in node.rule else _Alert(node.rule, self._first(node) / 1000) for node in unit]
        parts = list(zip(unit, [_Store(self._scratch) for _ in unit], alerts, strict=True))
        begin, step = min(self._first(node) for node in unit), math.gcd(*(node.step for node in unit))
        for when in range(begin, round(self._end * 1000) + 1, step):
            for node, store, alert in parts:
                if when % node.step:
                    continue
                at = when / 1000
                found = self._scratch.query(str(node.rule["expr"]), at)
                if alert is None:
                    store.step(at, {self._result(node.rule, one["metric"]): _value(one) for one in found})
                    continue
                vector = {alert.labels(one["metric"]): _value(one) for one in found}
                if len(vector) != len(found):
                    raise CommandError(_twice(node.rule))
                alert.step(at, vector)
                store.step(at, dict.fromkeys(alert.series(), 1.0))
        return [episode for alert in alerts if alert is not None for episode in alert.episodes]

    def _leads(self) -> dict[int, float]:
        """Say how long before the first evaluation of the alerts each rule has to begin."""
        unit_of = {node.position: number for number, unit in enumerate(self._units) for node in unit}
        lead: dict[int, float] = {}
        for number in range(len(self._units) - 1, -1, -1):
            unit = self._units[number]
            names = {node.makes for node in unit}
            readers = [node for node in self._nodes if unit_of[node.position] > number and node.reads & names]
            need = max((lead[node.position] + node.back for node in readers), default=0.0)
            for node in unit:
                own = seconds(node.rule.get("for")) + node.step / 1000 if "alert" in node.rule else 0.0
                # What it reads of itself goes back without end; one window more lets it settle.
                own += node.back if len(unit) > 1 or node.makes in node.reads else 0.0
                lead[node.position] = need + own
            most = max(lead[node.position] for node in unit)
            lead.update(dict.fromkeys((node.position for node in unit), most))
        return lead


def _nodes(groups: list[Group]) -> list[_Node]:
    nodes: list[_Node] = []
    alerts = {name_of(rule) for group in groups for rule in group["rules"] if "alert" in rule}
    for group in groups:
        step = round(seconds(group["interval"]) * 1000)
        for rule in group["rules"]:
            expression = str(rule["expr"])
            reads = set(_WORD.findall(_IN_QUOTES.sub("", expression)))
            if _ALERTS in reads:
                named = alerts & set(_ALERT_NAME.findall(expression)) or alerts
                reads |= {f"{_ALERTS}:{name}" for name in named}
            makes = name_of(rule) if "record" in rule else f"{_ALERTS}:{name_of(rule)}"
            ranges = [seconds(span) for span, sub in _WINDOW.findall(expression) if not sub]
            outer = [seconds(span) for span, sub in _WINDOW.findall(expression) if sub]
            offsets = [seconds(span) for span in _OFFSET.findall(expression)]
            back = _LOOKBACK + sum(max(spans, default=0.0) for spans in (ranges, outer, offsets))
            nodes.append(_Node(len(nodes), group["name"], step, rule, makes, reads, back))
    return nodes


def _order(nodes: list[_Node]) -> list[list[_Node]]:
    """Order rules so that each stands behind what it reads; those that read each other are one unit."""
    makers: dict[str, list[_Node]] = {}
    for node in nodes:
        makers.setdefault(node.makes, []).append(node)
    unit_of = {node.position: node.position for node in nodes}
    after: dict[int, set[int]] = {node.position: set() for node in nodes}
    late: list[tuple[int, int]] = []
    for node in nodes:
        for maker in (maker for name in node.reads for maker in makers.get(name, ())):
            after[node.position].add(maker.position)
            if maker.group == node.group and maker.position > node.position:
                late.append((node.position, maker.position))
    for pair in late:  # the reader sees the last value, so both go step by step
        _join(unit_of, set(pair))
    while True:
        graph: dict[int, set[int]] = {unit: set() for unit in unit_of.values()}
        for position, before in after.items():
            graph[unit_of[position]] |= {unit_of[one] for one in before} - {unit_of[position]}
        try:
            order = list(graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            _join(unit_of, set(error.args[1]))
            continue
        return [[node for node in nodes if unit_of[node.position] == unit] for unit in order]


def _join(unit_of: dict[int, int], positions: set[int]) -> None:
    units = {unit_of[position] for position in positions}
    for position, unit in unit_of.items():
        if unit in units:
            unit_of[position] = min(units)


def _ending(samples: list[tuple[int, float]], step: int, last: int) -> Iterator[tuple[int, float]]:
    """Put the end of the series behind each sample that no other follows at the next step."""
    if samples[-1][0] - samples[0][0] == step * (len(samples) - 1):  # as good as all: without a gap
        yield from samples
    else:
        for (when, value), (then, _) in itertools.pairwise(samples):
            yield when, value
            if then != when + step:
                yield when + step, STALE
        yield samples[-1]
    if samples[-1][0] + step <= last:
        yield samples[-1][0] + step, STALE


def _raw_names() -> set[str]:
    return {metric.prometheus_name + suffix for metric in semconv.METRICS for suffix in _SUFFIXES}


def _value(sample: Mapping[str, Any]) -> float:
    return float(sample["value"][1])


def _twice(rule: Rule) -> str:
    return f"{name_of(rule)}: two series give one alert; Prometheus would not evaluate it either"
