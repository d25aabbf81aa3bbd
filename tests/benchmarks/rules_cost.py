"""What the rules cost in a real Prometheus: `python tests/benchmarks/rules_cost.py --models 25 50 100`.

A fleet of models with 100 features of 12 bins, each served by 2 pods and with outcomes of two classes with scores, is
written by remote write: first a day of what the rules record of its traffic and a week of its outcomes, so that every
window is full, then its raw series every minute, while Prometheus evaluates the committed rules by its own clock. Told
are the seconds each group takes for an evaluation, the CPU time of the whole process, its resident memory and its
series. With `--dashboards` also how long the dashboards' queries take.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import yaml
from panels import RANGE_MINUTES, choose, measure_panels, series_shown

from windvane import semconv
from windvane.declaration import DURATION_BOUNDS
from windvane.outcomes import LAG_BOUNDS, SCORE_BINS
from windvane_dashboards import promql
from windvane_dashboards.rules import Recording, Timings, render, rule_set
from windvane_dashboards.server import Prometheus
from windvane_processors import stack
from windvane_processors.stack import Child, answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from panels import Chosen

FEATURES: Final = 100
BINS: Final = 12
PODS: Final = 2
_MINUTE: Final = 60_000
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_AT_ONCE: Final = 60
_SLOW: Final = round(Timings().slow_interval / Timings().interval)
_REPEATS: Final = 3
_MISSING_EVERY: Final = 5  # features, of which one has missing values
_BATCH: Final = 20_000
_LITERAL: Final = 65_536


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


class _Batch:
    """Series whose labels are encoded once; each writing sets the same number of samples of each."""

    def __init__(self, series: list[Mapping[str, str]], samples: int) -> None:
        message = bytearray()
        ends = []
        # Of each sample 8 bytes of the value, a tag, and 6 of the time, as it is from 1987 on.
        sample = _field(2, b"\x09" + bytes(8) + b"\x10" + bytes(6))
        for labels in series:
            text = b"".join(
                _field(1, _field(1, name.encode()) + _field(2, value.encode()))
                for name, value in sorted(labels.items())
            )
            message += _field(1, text + samples * sample)
            ends.append(len(message))
        self._message = np.frombuffer(message, np.uint8).copy()
        self._ends = np.array(ends)[:, None, None] - len(sample) * np.arange(samples - 1, -1, -1)[:, None]

    def encode(self, milliseconds: Sequence[int], values: NDArray[np.float64]) -> bytes:
        """Return the request's body: snappy's block format, not compressed."""
        self._message[self._ends - 15 + np.arange(8)] = values.astype("<f8").view(np.uint8).reshape(*values.shape, 8)
        self._message[self._ends - 6 + np.arange(6)] = np.frombuffer(
            b"".join(map(_varint, milliseconds)), np.uint8
        ).reshape(-1, 6)
        message = self._message.tobytes()
        out = bytearray(_varint(len(message)))
        for begin in range(0, len(message), _LITERAL):
            literal = message[begin : begin + _LITERAL]
            out += b"\xf4" + struct.pack("<H", len(literal) - 1) + literal
        return bytes(out)


class _Series:
    """Many series, written together, so many samples of each at a time."""

    def __init__(self, address: str, series: list[Mapping[str, str]], samples: int = 1) -> None:
        self._address = address
        self._size = _BATCH // samples
        self._batches = [_Batch(series[i : i + self._size], samples) for i in range(0, len(series), self._size)]
        self.number = len(series)

    def write(self, milliseconds: Sequence[int], values: NDArray[np.float64]) -> None:
        """Write samples.

        Args:
            milliseconds: their times.
            values: shape (series, samples).
        """
        for i, batch in enumerate(self._batches):
            body = batch.encode(milliseconds, values[i * self._size : (i + 1) * self._size])
            headers = {
                "content-type": "application/x-protobuf",
                "content-encoding": "snappy",
                "x-prometheus-remote-write-version": "0.1.0",
            }
            request = urllib.request.Request(f"http://{self._address}/api/v1/write", body, headers)
            with urllib.request.urlopen(request, timeout=60):  # noqa: S310 - loopback
                pass


def _models(number: int) -> Iterator[dict[str, str]]:
    for i in range(number):
        yield {semconv.MODEL_NAME.label: f"model-{i:03d}", semconv.MODEL_VERSION.label: "1"}


def _features(number: int) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    for model in _models(number):
        for i in range(FEATURES):
            named = {**model, semconv.FEATURE_NAME.label: f"feature-{i:03d}"}
            yield named, {**named, semconv.FEATURE_ROLE.label: "output" if i == 0 else "input"}


_BOUNDS: Final = (*(f"{bound:g}" for bound in DURATION_BOUNDS), "+Inf")
_OBJECTIVES: Final = ("availability", "latency", "drift", "quality")

_COUNTED: Final = (
    semconv.OUTCOME_COUNT,
    semconv.OUTCOME_CLASSIFIED,
    semconv.OUTCOME_SCORED,
    semconv.OUTCOME_SCORE,
    semconv.OUTCOME_LOG_LOSS,
    semconv.OUTCOME_SQUARED_ERROR,
    semconv.OUTCOME_EXPECTED_COUNT,
    semconv.OUTCOME_EXPECTED,
    semconv.OUTCOME_EXPECTED_SCORED,
)
_REFERENCES: Final = (
    semconv.OUTCOME_REFERENCE_COUNT,
    semconv.OUTCOME_REFERENCE,
    semconv.OUTCOME_REFERENCE_SCORED,
)
_OF_OUTCOMES: Final = {
    semconv.OUTCOME_RESULT: semconv.OUTCOME_RESULT.values[:2],
    semconv.OUTCOME_PREDICTED: (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE),
    semconv.OUTCOME_ACTUAL: (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE),
    semconv.OUTCOME_SCORE_BIN: tuple(f"{i:02d}" for i in range(SCORE_BINS)),
}


def _outcomes(metric: semconv.Metric, models: int) -> list[Mapping[str, str]]:
    """Return the labels of a metric of outcomes: every combination of what its attributes can be."""
    varied = [attribute for attribute in metric.attributes if attribute in _OF_OUTCOMES]
    return [
        {**model, **{attribute.label: value for attribute, value in zip(varied, values, strict=True)}}
        for model in _models(models)
        for values in product(*(_OF_OUTCOMES[attribute] for attribute in varied))
    ]


_LABELS: Final = (*(f"{i:02d}" for i in range(BINS - 2)), semconv.BIN_NULL, semconv.BIN_OTHER)


def _bins(number: int) -> list[Mapping[str, str]]:
    return [{**feature, semconv.FEATURE_BIN.label: label} for _, feature in _features(number) for label in _LABELS]


def _called(name: str, series: list[Mapping[str, str]], *, pods: int = 0) -> list[Mapping[str, str]]:
    if not pods:
        return [{"__name__": name, **labels} for labels in series]
    return [{"__name__": name, **labels, "instance": f"pod-{pod}"} for pod in range(pods) for labels in series]


class _Fleet:
    """The raw series of all models, and the history that the rules would have recorded."""

    def __init__(self, address: str, models: int) -> None:
        rng = np.random.default_rng(1)
        self._rng = rng
        bins = _bins(models)
        named: list[Mapping[str, str]] = [name for name, _ in _features(models)]
        kinds = [{**name, semconv.VIOLATION_KIND.label: kind} for name in named for kind in semconv.VALUE_VIOLATIONS]
        violated = np.array([kind[semconv.VIOLATION_KIND.label] == "missing" for kind in kinds])
        violated &= np.arange(len(kinds)) % (_MISSING_EVERY * len(semconv.VALUE_VIOLATIONS)) < len(
            semconv.VALUE_VIOLATIONS
        )
        of_models: list[Mapping[str, str]] = list(_models(models))
        bounds = [{**model, "le": bound} for model in of_models for bound in _BOUNDS]
        lags = [{**model, "le": le} for model in of_models for le in (*(f"{le:g}" for le in LAG_BOUNDS), "+Inf")]
        self._counters = _Series(
            address,
            [
                *_called(semconv.FEATURE_OBSERVATIONS.prometheus_name, bins, pods=PODS),
                *_called(semconv.FEATURE_VIOLATIONS.prometheus_name, kinds, pods=PODS),
                *_called(f"{semconv.PREDICTION_DURATION.prometheus_name}_bucket", bounds, pods=PODS),
                *_called(f"{semconv.PREDICTION_DURATION.prometheus_name}_count", of_models, pods=PODS),
                *_called(semconv.PREDICTION_ROWS.prometheus_name, of_models, pods=PODS),
                *_called(
                    semconv.RECORDS_DROPPED.prometheus_name,
                    [{**model, semconv.DROP_REASON.label: "queue_full"} for model in of_models],
                    pods=PODS,
                ),
                *(
                    labels
                    for metric in _COUNTED
                    for labels in _called(metric.prometheus_name, _outcomes(metric, models), pods=PODS)
                ),
                *_called(f"{semconv.OUTCOME_LAG.prometheus_name}_bucket", lags, pods=PODS),
            ],
        )
        info = [{**model, semconv.TEAM.label: "team", semconv.SEVERITY.label: "page"} for model in of_models]
        objectives = [{**model, semconv.OBJECTIVE.label: name} for model in of_models for name in _OBJECTIVES]
        gauges = [
            (_called(semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name, bins, pods=PODS), 5000.0),
            (
                _called(semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name, kinds, pods=PODS),
                np.tile(violated, PODS) * 5000.0,
            ),
            (_called(semconv.FEATURE_REFERENCE_DISPERSION.prometheus_name, named, pods=PODS), 1.0),
            (_called(semconv.FEATURE_IMPORTANCE.prometheus_name, named, pods=PODS), 1 / FEATURES),
            (_called(semconv.MODEL_INFO.prometheus_name, info, pods=PODS), 1.0),
            (_called(semconv.MODEL_OBJECTIVE.prometheus_name, objectives, pods=PODS), 0.99),
            (_called(semconv.MODEL_LATENCY_OBJECTIVE.prometheus_name, of_models, pods=PODS), 0.25),
            *(
                (_called(metric.prometheus_name, _outcomes(metric, models), pods=PODS), 5000.0)
                for metric in _REFERENCES
            ),
        ]
        self._gauges = _Series(address, [labels for series, _ in gauges for labels in series])
        self._gauge_values = np.concatenate([np.broadcast_to(value, len(series)) for series, value in gauges])
        self._totals = rng.integers(0, 1000, self._counters.number).astype(float)
        # A healthy fleet: of the violations only missing values, in some features, and as many as in the reference.
        self._busy = np.ones(self._counters.number)
        observed = PODS * len(bins)
        self._busy[observed : observed + PODS * len(kinds)] = np.tile(violated, PODS)
        some = [kind for kind, busy in zip(kinds, violated, strict=True) if busy]
        recorded = [
            *_called(promql.VIOLATION_RATE, some),
            *_called(promql.CALL_RATE, of_models),
            *_called(promql.ROW_RATE, of_models),
        ]
        values = [*recorded, *_called(promql.FEATURE_RATE, named)]
        hours = [
            *(
                labels
                for metric in _COUNTED
                for labels in _called(promql.outcome_count(metric, "increase1h"), _outcomes(metric, models))
            ),
            *_called(promql.LAG_HOUR, lags),
        ]
        # What the rules would have recorded: series, mean of each, minutes between two samples, and of how long.
        self._recorded = (
            (_Series(address, hours, _AT_ONCE), 3600.0, _SLOW, _WEEK),
            (_Series(address, _called(promql.OBSERVATION_RATE, bins), _AT_ONCE), 1.0, _SLOW, _DAY),
            (
                _Series(address, values, _AT_ONCE),
                np.where(np.arange(len(values)) < len(recorded), 1.0, BINS)[:, None],
                1,
                _DAY,
            ),
        )
        self.series = self._counters.number + self._gauges.number
        self.observed = PODS * len(bins)

    def history(self, end: int) -> None:
        """Write what the rules would have recorded of the time until then, the oldest first."""
        for first in range(_WEEK, 0, -_SLOW * _AT_ONCE):
            sys.stderr.write(f"\r{first // 60} hours of history left ")
            for series, mean, step, length in self._recorded:
                for begin in range(first, first - _SLOW * _AT_ONCE, -step * _AT_ONCE):
                    if begin <= length:
                        times = [end - minute * _MINUTE for minute in range(begin, begin - step * _AT_ONCE, -step)]
                        series.write(times, self._rng.poisson(40, (series.number, _AT_ONCE)) / 60 * mean)
        sys.stderr.write("\n")

    def minute(self, milliseconds: int) -> None:
        """Write one export of every pod."""
        self._totals += self._rng.poisson(20, self._counters.number) * self._busy
        self._counters.write([milliseconds], self._totals[:, None])
        self._gauges.write([milliseconds], self._gauge_values[:, None])


def _metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if not line.startswith("#")}


def _cpu_of_rules(prometheus: Prometheus, cpu: Callable[[], float], at: float) -> dict[tuple[str, str], float]:
    """Evaluate each rule by itself; return the CPU seconds a minute of each, by group and rule, results not stored."""

    def took(expression: str) -> float:
        before = cpu()
        for _ in range(_REPEATS):
            prometheus.query(f"count({expression})", at)
        return (cpu() - before) / _REPEATS

    nothing = took("vector(1)")
    return {
        (group.name, rule.record if isinstance(rule, Recording) else rule.name): (
            max(took(rule.expr) - nothing, 0) * 60 / group.interval.total_seconds()
        )
        for group in (*rule_set().recording, *rule_set().alerts)
        for rule in group.rules
    }


def _panels(
    address: str, prometheus: Prometheus, chosen: Chosen, cpu: Callable[[], float], at: float
) -> dict[str, object]:
    """Give what the dashboards show a past of the range that they open with, and measure their queries."""
    shown = series_shown(prometheus, chosen, at)
    series, end = _Series(address, list(shown), _AT_ONCE), int(at * 1000) - 20 * _MINUTE
    rng = np.random.default_rng(2)
    for first in range(RANGE_MINUTES, 0, -_AT_ONCE):
        times = [end - minute * _MINUTE for minute in range(first, first - _AT_ONCE, -1)]
        series.write(times, rng.random((series.number, _AT_ONCE)))
    return {"series shown over a range": series.number, **measure_panels(prometheus, chosen, cpu, at)}


def measure(models: int, minutes: int, folder: Path, *, dashboards: bool) -> dict[str, object]:
    """Run Prometheus with the rules over a fleet; return what it cost."""
    program = stack.ensure(["prometheus"])["prometheus"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    configuration = folder / "prometheus.yml"
    configuration.write_text("global: {evaluation_interval: 1m}\n")
    child = Child(
        "prometheus",
        [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.min-block-duration=8d",
            "--storage.tsdb.max-block-duration=8d",
            f"--web.listen-address={address}",
            "--web.enable-remote-write-receiver",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ],
        folder / "prometheus.log",
    )
    child.start(lambda: answers(f"http://{address}/-/ready"))
    try:
        fleet = _Fleet(address, models)
        now = int(time.time() * 1000)
        fleet.history(now - 7 * _MINUTE)
        before = _metrics(address)["process_cpu_seconds_total"]
        for ago in range(6, -1, -1):
            fleet.minute(now - ago * _MINUTE)
        taken_in = (_metrics(address)["process_cpu_seconds_total"] - before) / 7
        for name, text in render().items():
            (folder / name).write_text(text)
        configuration.write_text(
            yaml.safe_dump(
                {
                    "global": {"evaluation_interval": "1m"},
                    "rule_files": ["windvane-*.yml"],
                    "storage": {"tsdb": {"out_of_order_time_window": "1d"}},  # for the panels' past
                }
            )
        )
        urllib.request.urlopen(urllib.request.Request(f"http://{address}/-/reload", method="POST"), timeout=60).close()
        took: dict[str, list[float]] = defaultdict(list)
        cpu: list[float] = []
        before = _metrics(address)["process_cpu_seconds_total"]
        for minute in range(minutes):
            begin = time.monotonic()
            fleet.minute(int(time.time() * 1000))
            sys.stderr.write(f"\rminute {minute + 1} of {minutes} ")
            time.sleep(max(0.0, 60 - (time.monotonic() - begin)))
            found = _metrics(address)
            cpu.append(found["process_cpu_seconds_total"] - before)
            before = found["process_cpu_seconds_total"]
            if minute < 2:  # the first round makes the new series
                continue
            for key, value in found.items():
                if key.startswith("prometheus_rule_group_last_duration_seconds{"):
                    took[key.split(";")[-1].rstrip('"}')].append(value)
        sys.stderr.write("\n")
        intervals = {g.name: g.interval.total_seconds() for g in (*rule_set().recording, *rule_set().alerts)}
        groups = {name: float(np.median(values)) for name, values in took.items()}
        # What is measured from here on is measured with no rule under way, at a time when all had been evaluated.
        at, prometheus = time.time(), Prometheus(f"http://{address}")
        chosen = choose(prometheus)
        configuration.write_text(configuration.read_text().replace("windvane-*.yml", "none-*.yml"))
        urllib.request.urlopen(urllib.request.Request(f"http://{address}/-/reload", method="POST"), timeout=600).close()

        def used() -> float:
            return _metrics(address)["process_cpu_seconds_total"]

        of_rules = _cpu_of_rules(prometheus, used, at)
        of_groups: dict[str, float] = defaultdict(float)
        for (group, _), seconds in of_rules.items():
            of_groups[group] += seconds
        panels = _panels(address, prometheus, chosen, used, at) if dashboards else {}
        return {
            "models": models,
            "observed series": fleet.observed,
            "raw series": fleet.series,
            "groups": groups,
            "seconds per minute": sum(value * 60 / intervals[name] for name, value in groups.items()),
            "CPU seconds per minute by group": of_groups,
            "CPU seconds per minute of the dearest rules": {
                f"{group}: {rule}": of_rules[group, rule]
                for group, rule in sorted(of_rules, key=lambda r: -of_rules[r])[:30]
            },
            "CPU seconds per minute of all rules": sum(of_rules.values()),
            "CPU seconds per minute": float(np.mean(cpu[2:])),
            "CPU seconds of taking a minute in": taken_in,
            "resident GiB": found["process_resident_memory_bytes"] / 2**30,
            "series": found["prometheus_tsdb_head_series"],
            **panels,
        }
    finally:
        child.stop()


def main() -> None:
    """Print one JSON object a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[25, 50, 100])
    parser.add_argument("--minutes", type=int, default=10, help="of evaluations; the first two are not counted")
    parser.add_argument("--dashboards", action="store_true", help="measure the queries of the dashboards too")
    options = parser.parse_args()
    for models in options.models:
        with tempfile.TemporaryDirectory(prefix="windvane-rules-cost-", ignore_cleanup_errors=True) as folder:
            sys.stdout.write(
                json.dumps(measure(models, options.minutes, Path(folder), dashboards=options.dashboards), indent=1)
                + "\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
