"""`windvane rules explain`: meaning, today's values and runbook of an alert."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from windvane_dashboards.cli_rules import command
from windvane_dashboards.cli_rules.scratch_prometheus import ScratchPrometheus
from windvane_dashboards.rules import ALERT_NAMES, Timings, render
from windvane_processors.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


def _explain(*arguments: str) -> str:
    done = CliRunner().invoke(command, ["explain", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_every_alert_is_explained_with_its_runbook(alert: str) -> None:
    """Why, severity, expression and every section."""
    (told, *_) = json.loads(_explain(alert, "--json"))
    text = " ".join(_explain(alert).split())
    assert told["why"]
    assert told["why"] in text
    assert told["expr"].splitlines()[0] in text
    for section in ("Meaning", "Impact", "First look", "Likely causes", "Mend", "When to silence"):
        assert section in text
    assert told["runbook"].startswith(f"# {alert}\n")


def test_severity_is_told_as_the_owners_or_fixed() -> None:
    """A ticket whatever the owner declared, or what the model declares."""
    assert "severity: ticket" in _explain("MLFeatureDrift")
    assert "severity: the owner's, as the model declares it" in _explain("MLFeatureBroken")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mlfeaturebroken", "did you mean MLFeatureBroken"),
        ("FeatureDrif", "did you mean MLFeatureDrift"),
        ("zzz", "the alerts are MLModelErrors, "),
        ("a\x1b[31m\n", "there is no alert 'a\\\\x1b[31m\\\\n'"),
    ],
)
def test_an_unknown_alert_is_refused_with_what_was_meant(name: str, said: str) -> None:
    """Exit code 2, and nothing of the name reaches the terminal raw."""
    done = CliRunner().invoke(command, ["explain", name])
    assert done.exit_code == 2
    assert said in done.output


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A stack sixty times as fast, with a model of which a feature is half missing, and of another one in a hundred."""
    with Stack(rules=render(Timings().faster(60)), evaluation_interval="1s") as running:
        now = int(time.time())
        seconds = range(now - 60, now + 60)
        at = {"ml_model_version": "3", "instance": "a"}
        kind = {"ml_feature_name": "wind", "ml_violation_kind": "missing"}
        bins = {"ml_feature_name": "wind", "ml_feature_role": "input", "ml_feature_bin": "00"}
        series = []
        for model, missing in (("fares", 50), ('odd "name" \\ {é}', 1)):
            of = {**at, "ml_model_name": model}
            counters = {
                "ml_feature_violations_total": ({**of, **kind}, missing),
                "ml_feature_observations_total": ({**of, **bins}, 100),
            }
            for name, (labels, step) in counters.items():
                samples = [(second * 1000, float(step * i)) for i, second in enumerate(seconds)]
                series.append(({"__name__": name, **labels}, samples))
            info = {"__name__": "ml_model_info", **of, "team": "pricing", "severity": "critical"}
            series.append((info, [(second * 1000, 1.0) for second in seconds]))
        ScratchPrometheus(running.prometheus_url).write(series)
        yield running


@pytest.mark.stack
@pytest.mark.xdist_group("rules-explain")
def test_values_of_today_come_from_prometheus(stack: Stack) -> None:
    """What the expression reads for every model, for which it holds, and the state of the alert."""
    deadline = time.monotonic() + 30
    while True:
        (told,) = json.loads(_explain("MLFeatureBroken", "--prometheus", stack.prometheus_url, "--json"))
        if [one["state"] for one in told["now"]["alerts"]] == ["firing"] or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    now: dict[str, Any] = told["now"]
    assert [one["state"] for one in now["alerts"]] == ["firing"]
    (holds,) = now["holds_for"]
    assert holds["labels"]["team"] == "pricing"
    assert holds["value"] == pytest.approx(0.5, abs=0.01)
    excess = now["reads"]["ml_model_feature_kind:ml_feature_violations:excess"]
    assert [one["labels"]["ml_model_name"] for one in excess] == ["fares", 'odd "name" \\ {é}']
    assert [one["value"] for one in excess] == pytest.approx([0.5, 0.01], abs=0.005)
    text = _explain("MLFeatureBroken", "--prometheus", stack.prometheus_url)
    assert "Its expression holds now for 1 series:" in text
    assert "firing since 20" in text
    assert 'odd "name" \\ {é} 3' in text


@pytest.mark.stack
@pytest.mark.xdist_group("rules-explain")
def test_an_alert_that_reads_nothing_yet_says_so(stack: Stack) -> None:
    """No series is another thing than no alert."""
    text = _explain("MLModelLatency", "--prometheus", stack.prometheus_url)
    assert "holds now for 0 series." in text
    assert "ml_model:ml_prediction_slow:ratio_1h: no series" in text


def test_a_prometheus_that_does_not_answer_is_one_line() -> None:
    """Exit code 2."""
    done = CliRunner().invoke(command, ["explain", "MLFeatureDrift", "--prometheus", "http://127.0.0.1:1"])
    assert done.exit_code == 2
    assert "connection refused" in done.output
