"""`windvane rules backtest`: what it finds is what Prometheus would have done."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from windvane_dashboards.cli_rules import command, replay
from windvane_dashboards.cli_rules.backtest import change_threshold
from windvane_dashboards.cli_rules.check import generated_groups
from windvane_dashboards.cli_rules.rulefile import parse_groups
from windvane_dashboards.cli_rules.scratch_prometheus import scratch_prometheus
from windvane_dashboards.rules import Timings, render
from windvane_dashboards.server import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from windvane_dashboards.cli_rules.scratch_prometheus import ScratchPrometheus

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("rules-backtest")]

BEGIN = 1_760_000_400  # a whole hour
HOURS = 9
STEP = 30
MODEL = 'ml_model_name="fares \\"ü\\"",ml_model_version="3",instance="a"'
BINS = ("00", "01", "02", "null")

Series = dict[str, list[float | None]]


def _history() -> Series:
    """Half a day of a feature that breaks at hour 2 and drifts at hour 4, calls that fail at 3, and silence from 6."""
    draw = np.random.default_rng(1)
    count = HOURS * 3600 // STEP
    counts = dict.fromkeys(BINS, 0)
    calls = errors = 0
    history: Series = {}
    for i in range(count):
        hour = i * STEP / 3600
        shares = [0.3, 0.3, 0.2, 0.2]
        if 2 <= hour < 2.7:
            shares = [0, 0, 0, 1]
        elif 4 <= hour < 5.2:
            shares = [0.05, 0.15, 0.6, 0.2]
        for name, number in zip(BINS, draw.multinomial(60, shares).tolist(), strict=True):
            counts[name] += number
        missing = f'{{{MODEL},ml_feature_name="wind",ml_violation_kind="missing"}}'
        calls, errors = calls + 10, errors + (3 if 3 <= hour < 3.4 else 0)
        values: dict[str, float] = {
            f'ml_model_info{{{MODEL},team="pricing",severity="critical"}}': 1,
            f"ml_feature_reference_violations{missing}": 200,
            f"ml_feature_violations_total{missing}": counts["null"],
            f"ml_prediction_duration_seconds_count{{{MODEL}}}": calls,
            f'ml_prediction_duration_seconds_count{{{MODEL},error_type="ValueError"}}': errors,
        }
        for name, reference in zip(BINS, (300, 300, 200, 200), strict=True):
            at = f'{{{MODEL},ml_feature_name="wind",ml_feature_role="input",ml_feature_bin="{name}"}}'
            values[f"ml_feature_observations_total{at}"] = counts[name]
            values[f"ml_feature_reference_observations{at}"] = reference
        for name, value in values.items():
            history.setdefault(name, []).append(None if hour >= 6 else value)
    return history


@pytest.fixture(scope="module")
def history() -> Series:
    """The series, a value every half minute."""
    return _history()


@pytest.fixture(scope="module")
def openmetrics(history: Series, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file in the OpenMetrics format."""
    lines = [
        f"{name} {value} {BEGIN + i * STEP}"
        for name, values in history.items()
        for i, value in enumerate(values)
        if value is not None
    ]
    path = tmp_path_factory.mktemp("history") / "history.om"
    path.write_text("\n".join([*lines, "# EOF", ""]))
    return path


def _backtest(*arguments: object) -> dict[str, Any]:
    window = ("--from", BEGIN, "--to", BEGIN + HOURS * 3600, "--json")
    done = CliRunner().invoke(command, ["backtest", *map(str, (*arguments, *window))])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def told(openmetrics: Path) -> dict[str, Any]:
    """What the rules would have done, and with other thresholds."""
    thresholds = ("MLFeatureDrift=0.5", "MLFeatureBroken=0.9", "MLModelErrors=0.5")
    return _backtest("--openmetrics", openmetrics, *(part for one in thresholds for part in ("--threshold", one)))


def test_alerts_are_told_with_time_and_owner(told: dict[str, Any]) -> None:
    """What breaks, fails, drifts and falls silent, each for its team and severity."""
    severities = {
        "MLFeatureBroken": "critical",
        "MLModelErrors": "critical",
        "MLFeatureDrift": "ticket",
        "MLTelemetryAbsent": "critical",
    }
    alerts = [one for one in told["alerts"] if one["alert"] in severities]
    assert [(one["alert"], one["labels"]["severity"]) for one in alerts] == list(severities.items())
    assert {one["labels"]["team"] for one in alerts} == {"pricing"}
    assert {one["labels"]["ml_model_name"] for one in alerts} == {'fares "ü"'}
    assert [one["ended"] is None for one in alerts] == [False, False, False, True]


def test_a_changed_threshold_tells_what_it_would_have_done(told: dict[str, Any]) -> None:
    """Number or series, the threshold is replaced wherever the alert compares with it."""
    alerts = {one["alert"]: one for one in told["alerts"]}
    changed = {one["alert"]: one for one in told["thresholds"]}
    assert changed["MLFeatureDrift"]["was"] == ["ml_model_feature:ml_feature_psi_ticket_floor:1h"]
    (drift,) = changed["MLFeatureDrift"]["alerts"]
    assert alerts["MLFeatureDrift"]["fired"] < drift["fired"] < drift["ended"] < alerts["MLFeatureDrift"]["ended"]
    assert changed["MLFeatureBroken"]["was"] == ["0.25"]
    assert len(changed["MLFeatureBroken"]["alerts"]) == 1
    assert changed["MLModelErrors"]["alerts"] == []


def test_promtools_own_evaluation_agrees_at_every_third_minute(
    history: Series, stack_binaries: dict[str, Path], tmp_path: Path
) -> None:
    """Pending and firing, `for` and `keep_firing_for`, recorded rules upon recorded rules: `promtool test rules`."""
    # promtool evaluates every group at every minute, whatever its interval.
    files = render(Timings.at_one_interval())
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with scratch_prometheus() as source, scratch_prometheus() as scratch:
        source.write(_series(history))
        own = replay.Replay(
            generated_groups(files), source=source, scratch=scratch, begin=BEGIN, end=BEGIN + HOURS * 3600
        )
        own.load()
        episodes = own.run()
    series = [
        {"series": name, "values": " ".join("_" if value is None else f"{value:g}" for value in values)}
        for name, values in history.items()
    ]
    checks = []
    for minute in range(0, HOURS * 60, 3):
        at = BEGIN + 60 * minute
        firing = [one for one in episodes if one.fired and one.fired <= at < (one.ended or at + 1)]
        samples = [
            {
                "labels": "ALERTS"
                "{"
                + ",".join(
                    f"{name}={json.dumps(text, ensure_ascii=False)}"
                    for name, text in {**dict(one.labels), "alertname": one.alert, "alertstate": "firing"}.items()
                )
                + "}",
                "value": 1,
            }
            for one in firing
        ]
        checks.append({"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m", "exp_samples": samples})
    assert sum(bool(check["exp_samples"]) for check in checks) > 60
    groups = [group["name"] for name, text in files.items() for group in parse_groups(text, name)]
    case = {
        "rule_files": sorted(files),
        "evaluation_interval": "1m",
        "group_eval_order": groups,
        "tests": [{"interval": f"{STEP}s", "input_series": series, "promql_expr_test": checks}],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(case, width=1_000_000))
    done = subprocess.run(
        [stack_binaries["promtool"], "test", "rules", tmp_path / "case.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[:3000]


def test_a_prometheus_is_as_good_a_source_as_a_file(told: dict[str, Any], history: Series) -> None:
    """The same series by its API give the same alerts."""
    with scratch_prometheus() as prometheus:
        prometheus.write(_series(history))
        assert _backtest("--prometheus", prometheus.url)["alerts"] == told["alerts"]


def _series(history: Series) -> Iterator[tuple[dict[str, str], list[tuple[int, float]]]]:
    for name, values in history.items():
        metric, _, rest = name.partition("{")
        labels = yaml.safe_load("{" + rest.rstrip("}").replace("=", ": ") + "}")
        samples = [((BEGIN + i * STEP) * 1000, float(value)) for i, value in enumerate(values) if value is not None]
        yield {"__name__": metric, **labels}, samples


def test_people_read_a_table(openmetrics: Path) -> None:
    """Alert, model, owner, begin, duration; and what a threshold would change."""
    window = ["--from", "2025-10-09T09:00:00+00:00", "--to", "2025-10-09 15:00"]
    options = ["--openmetrics", str(openmetrics), "--threshold", "MLModelErrors=0.5"]
    done = CliRunner().invoke(command, ["backtest", *options, *window])
    assert done.exit_code == 0, done.output
    assert "MLFeatureBroken  fares" in done.output
    assert "pricing  critical  2025-10-09 11:06:00Z" in done.output
    assert "MLModelErrors with 0.5 in place of ml_model_objective:ml_error_budget:burn_threshold_1h" in done.output
    assert ": 0 alerts, 0s in all instead of 1 alert, " in done.output


# --- Evaluation -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source() -> Iterator[ScratchPrometheus]:
    """A Prometheus with a gauge that is on in minutes 10 to 14, 16 to 29 and from 40 on, and is gone in between."""
    with scratch_prometheus() as prometheus:
        on = [*range(10, 15), *range(16, 30), *range(40, 60)]
        samples = [((BEGIN + 60 * minute) * 1000, float(minute in on)) for minute in range(60)]
        prometheus.write([({"__name__": "ml_prediction_active", "i": "a"}, samples)])
        yield prometheus


def _run(source: ScratchPrometheus, *rules: dict[str, Any]) -> list[tuple[Any, ...]]:
    group = {"name": "g", "interval": "1m", "rules": list(rules)}
    with scratch_prometheus() as scratch:
        run = replay.Replay([group], source=source, scratch=scratch, begin=BEGIN, end=BEGIN + 59 * 60)
        run.load()
        found = run.run()
    return [
        (one.alert, *(None if at is None else round((at - BEGIN) / 60) for at in (one.pending, one.fired, one.ended)))
        for one in found
    ]


def test_for_and_keep_firing_for_are_those_of_prometheus(source: ScratchPrometheus) -> None:
    """Too short a time never fires, a short gap is bridged, the last one is still firing."""
    on = {"alert": "A", "expr": "ml_prediction_active > 0"}
    assert _run(source, on) == [("A", 10, 10, 15), ("A", 16, 16, 30), ("A", 40, 40, None)]
    assert _run(source, {**on, "for": "5m"}) == [("A", 10, None, 15), ("A", 16, 21, 30), ("A", 40, 45, None)]
    kept = {**on, "for": "2m", "keep_firing_for": "2m"}
    assert _run(source, kept) == [("A", 10, 12, 32), ("A", 40, 42, None)]


def test_a_recorded_series_ends_where_its_rule_gives_nothing(source: ScratchPrometheus) -> None:
    """A reader does not see the last value for another five minutes."""
    rules = ({"record": "x:on", "expr": "ml_prediction_active > 0"}, {"alert": "A", "expr": "x:on"})
    assert _run(source, *rules) == [("A", 10, 10, 15), ("A", 16, 16, 30), ("A", 40, 40, None)]


@pytest.mark.parametrize("points", [1, 2, 5])
def test_in_how_many_parts_history_is_read_does_not_matter(
    source: ScratchPrometheus, monkeypatch: pytest.MonkeyPatch, points: int
) -> None:
    """Also where a series ends just between two of them."""
    rules = ({"record": "x:on", "expr": "ml_prediction_active > 0"}, {"alert": "A", "expr": "x:on", "for": "2m"})
    whole = _run(source, *rules)
    monkeypatch.setattr(replay, "_FEW_POINTS", points)
    monkeypatch.setattr(replay, "_MOST_VALUES", points)
    assert _run(source, *rules) == whole


def test_one_model_alone_is_read_when_asked_for() -> None:
    """Its name is no pattern; what belongs to no model is read, too."""
    rule = {"alert": "A", "expr": "ml_prediction_active"}
    group = {"name": "g", "interval": "1m", "rules": [rule]}
    names = ("a.b|c", "axb|c", "a.b", "")
    with scratch_prometheus() as source, scratch_prometheus() as scratch:
        sample = [(BEGIN * 1000 + 1000, 1.0)]
        source.write([({"__name__": "ml_prediction_active", "ml_model_name": name}, sample) for name in names])
        run = replay.Replay([group], source=source, scratch=scratch, begin=BEGIN, end=BEGIN + 120)
        assert run.load("a.b|c") == 2
        assert [dict(one.labels).get("ml_model_name") for one in run.run()] == [None, "a.b|c"]


def test_a_rule_reads_its_own_last_value(source: ScratchPrometheus) -> None:
    """What was on once stays on, by a rule that reads itself; and a rule above another sees that one's last value."""
    latch = {"record": "x:latch", "expr": "ml_prediction_active > 0 or x:latch"}
    assert _run(source, latch, {"alert": "A", "expr": "x:latch"}) == [("A", 10, 10, None)]
    above = {"alert": "B", "expr": "x:late"}, {"record": "x:late", "expr": "ml_prediction_active > 0"}
    assert _run(source, *above)[0] == ("B", 11, 11, 16)


def test_groups_keep_their_own_intervals(source: ScratchPrometheus) -> None:
    """An alert that is looked at every four minutes sees no gap of one, and ends at its own evaluation."""
    often = {"name": "a", "interval": "1m", "rules": [{"record": "x:on", "expr": "ml_prediction_active > 0"}]}
    rarely = {"name": "b", "interval": "4m", "rules": [{"alert": "A", "expr": "x:on", "for": "4m"}]}
    with scratch_prometheus() as scratch:
        run = replay.Replay([often, rarely], source=source, scratch=scratch, begin=BEGIN, end=BEGIN + 3540)
        run.load()
        found = [(one.pending - BEGIN, one.fired, one.ended) for one in run.run()]
    assert found == [(12 * 60, BEGIN + 16 * 60, BEGIN + 32 * 60), (40 * 60, BEGIN + 44 * 60, None)]


def test_alerts_that_read_alerts_see_them(source: ScratchPrometheus) -> None:
    """Hysteresis and inhibition within the rules."""
    first = {"alert": "A", "expr": "ml_prediction_active > 0", "for": "3m"}
    second = {"alert": "B", "expr": 'ALERTS{alertname="A", alertstate="firing"}'}
    found = _run(source, first, second)
    assert [one for one in found if one[0] == "B"] == [("B", 13, 13, 15), ("B", 19, 19, 30), ("B", 43, 43, None)]


def test_a_window_that_begins_while_an_alert_fires_says_so(source: ScratchPrometheus) -> None:
    """It is older than it looks."""
    group = {"name": "g", "interval": "1m", "rules": [{"alert": "A", "expr": "ml_prediction_active > 0"}]}
    with scratch_prometheus() as scratch:
        run = replay.Replay([group], source=source, scratch=scratch, begin=BEGIN + 45 * 60, end=BEGIN + 50 * 60)
        run.load()
        assert [one.from_start for one in run.run()] == [True]


# --- Bad input ------------------------------------------------------------------------------------


def test_a_threshold_is_what_the_first_comparison_compares_with() -> None:
    """Also by a join and with matchers; not another number further on; a function is refused."""
    rule = {"alert": "A", "expr": 'a > on (m) group_left () limit{k=">"} and b > on (m) limit{k=">"} unless c > 0.5'}
    assert change_threshold(rule, 3.0)[0]["expr"] == "a > 3.0 and b > 3.0 unless c > 0.5"
    assert change_threshold({"alert": "A", "expr": "rate(a[5m]) >= 1e-3"}, 2.0)[0]["expr"] == "rate(a[5m]) >= 2.0"
    for expr in ("a", "a > max(b)", "a > max by (c) (b)", "a > (b)"):
        with pytest.raises(CommandError, match="no threshold to change"):
            change_threshold({"alert": "A", "expr": expr}, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "7d"], "either --prometheus URL or --openmetrics FILE"),
        (["--from", "yesterday", "--prometheus", "http://127.0.0.1:1"], "'yesterday' is neither"),
        (["--from", "2d", "--to", "3d", "--prometheus", "http://127.0.0.1:1"], "--from must be before --to"),
        (["--from", "7d", "--prometheus", "http://127.0.0.1:1"], "connection refused"),
        (["--from", "7d", "--prometheus", "localhost:9090"], "not an address like http://"),
        (["--from", "2000d", "--prometheus", "http://127.0.0.1:1"], "choose a shorter time"),
        (["--from", "7d", "--prometheus", "http://127.0.0.1:1", "--threshold", "X=1"], "the alerts are MLModelErrors"),
        (["--from", "7d", "--openmetrics", __file__], "promtool makes no blocks of it"),
    ],
    ids=["no source", "no time", "backwards", "refused", "no address", "too long", "no alert", "no OpenMetrics"],
)
def test_bad_input_ends_in_a_line(arguments: list[str], said: str) -> None:
    """Exit code 2, and the next step."""
    done = CliRunner().invoke(command, ["backtest", *arguments])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_a_prometheus_without_the_series_is_named(source: ScratchPrometheus) -> None:
    """Not an empty report that reads as all quiet."""
    done = CliRunner().invoke(command, ["backtest", "--prometheus", source.url, "--from", "100", "--to", "1000"])
    assert done.exit_code == 2
    assert "has none of the series that the rules read" in done.output
