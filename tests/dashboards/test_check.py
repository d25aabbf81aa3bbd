"""`windvane dashboards check` on a real Prometheus: which panel would be empty, and why."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from windvane import semconv
from windvane_dashboards.cli_dashboards import command
from windvane_dashboards.cli_rules.scratch_prometheus import ScratchPrometheus, scratch_prometheus
from windvane_dashboards.promql import AGE_LIMIT, CALL_RATE, OWNER, REALISED_SHARE, DriftSeries, outcome_count

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("dashboards-check")]

MODEL = 'a"b'
AT = {semconv.MODEL_NAME.label: MODEL, semconv.MODEL_VERSION.label: "1"}
RIGHT = "Right predictions: realised and expected"
DISTANCE = {semconv.FEATURE_NAME.label: "distance"}


@pytest.fixture(scope="module")
def prometheus() -> Iterator[ScratchPrometheus]:
    with scratch_prometheus() as running:
        yield running


def write(prometheus: ScratchPrometheus, *series: dict[str, str]) -> None:
    now = round(time.time() * 1000)
    prometheus.write([(labels, [(now, 1.0)]) for labels in series])


def run(prometheus: ScratchPrometheus, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(command, ["check", "--prometheus", prometheus.url, "--json", *arguments])
    return done.exit_code, json.loads(done.output)


def found(told: dict[str, Any], panel: str, query: str = "A") -> tuple[str, str]:
    (one,) = (one for one in told["queries"] if (one["panel"], one["query"]) == (panel, query))
    return one["status"], one["reason"]


def test_without_any_model_the_next_step_is_told(prometheus: ScratchPrometheus) -> None:
    """There is nothing to choose: no model reports."""
    done = CliRunner().invoke(
        command, ["check", "--prometheus", prometheus.url, "--board", "windvane-model", "--var", "version=1"]
    )
    assert done.exit_code == 2
    assert "so there is no model to choose: no model reports it" in done.output


def test_each_empty_panel_is_named_with_its_reason(prometheus: ScratchPrometheus) -> None:
    """What is missing is told apart from what has nothing to show; hostile names are only names."""
    write(
        prometheus,
        {"__name__": semconv.MODEL_INFO.prometheus_name, **AT},
        {"__name__": CALL_RATE, **AT},
        {"__name__": OWNER, **AT, "team": "t"},
        {"__name__": DriftSeries("1h").statistic("psi"), **AT, "ml_feature_name": "other", "ml_feature_role": "input"},
        {"__name__": semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name, **AT, **DISTANCE},
    )
    code, told = run(prometheus, "--board", "windvane-model", "--board", "windvane-feature")
    assert code == 1
    assert told["variables"]["windvane-feature"] == {"model": MODEL, "version": "1", "feature": "distance"}
    assert found(told, "Requests") == ("ok", "")
    assert {one["status"] for one in told["queries"] if one["panel"] == "Firing alerts"} == {"quiet"}
    assert found(told, "Broken features") == ("quiet", "no value is in violation")
    status, reason = found(told, "Errors")
    assert status == "empty"
    assert "windvane's rules record it" in reason
    status, reason = found(told, "PSI")
    assert (status, reason) == (
        "empty",
        f'{DriftSeries("1h").statistic("psi")} is there, but not with ml_feature_name="distance"',
    )
    assert found(told, "Importance") == (
        "empty",
        (
            f"no series {semconv.FEATURE_IMPORTANCE.prometheus_name}: no model reports it. "
            f"{semconv.FEATURE_IMPORTANCE.description}"
        ),
    )
    assert "Collector's own metrics" in found(run(prometheus, "--board", "windvane-pipeline")[1], "Queues")[1]


def test_what_a_new_or_sound_model_lacks_is_no_fault(prometheus: ScratchPrometheus) -> None:
    """No call has failed, and no past has been learned from: quiet, not empty."""
    calls = f"{semconv.PREDICTION_DURATION.prometheus_name}_count"
    write(
        prometheus,
        {"__name__": semconv.MODEL_INFO.prometheus_name, **AT},
        {"__name__": semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name, **AT, **DISTANCE},
        {"__name__": calls, **AT},
    )
    _, told = run(prometheus, "--board", "windvane-model", "--board", "windvane-feature")
    assert found(told, "Errors by type") == ("quiet", f"no {calls} has {semconv.ERROR_TYPE.label}")
    for panel, query, series in (("Drift", "E", DriftSeries("1h").past), ("Age", "B", AGE_LIMIT)):
        assert found(told, panel, query) == (
            "quiet",
            f"{series} is learned from past days, of which there are none yet",
        )


def test_a_model_without_outcomes_or_of_another_kind_is_no_fault(prometheus: ScratchPrometheus) -> None:
    """Quiet with the reason, until outcomes are reported and the rules do not record them."""
    write(prometheus, {"__name__": semconv.MODEL_INFO.prometheus_name, **AT})
    _, told = run(prometheus, "--board", "windvane-model")
    assert found(told, RIGHT) == ("quiet", "no outcomes are reported")
    assert found(told, RIGHT, "D") == ("quiet", "no baseline has a calibration (baseline build --actual)")
    assert found(told, "Outcomes refused") == ("quiet", "no outcome was refused")
    write(prometheus, {"__name__": semconv.OUTCOME_COUNT.prometheus_name, **AT, "ml_outcome_result": "unjudged"})
    status, reason = found(run(prometheus, "--board", "windvane-model")[1], RIGHT)
    assert status == "empty"
    assert "windvane's rules record it" in reason
    write(prometheus, {"__name__": outcome_count(semconv.OUTCOME_COUNT, "rate5m"), **AT})
    assert found(run(prometheus, "--board", "windvane-model")[1], RIGHT) == (
        "quiet",
        f"no {REALISED_SHARE.ratio('1d')}: this model has no outcomes, none of this kind, or too few",
    )


def test_people_read_what_is_missing_and_the_slowest_query(prometheus: ScratchPrometheus) -> None:
    """One line for each query without an answer, and a sum for each dashboard."""
    write(prometheus, {"__name__": semconv.MODEL_INFO.prometheus_name, **AT})
    done = CliRunner().invoke(command, ["check", "--prometheus", prometheus.url, "--board", "windvane-objectives"])
    assert done.exit_code == 1
    assert "queries have an answer; the slowest took" in done.output
    assert "Budgets" in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--board", "windvane-nothing"], "there is no dashboard windvane-nothing"),
        (["--var", "model"], "give NAME=VALUE"),
        (["--prometheus", "http://127.0.0.1:1"], "connection refused"),
    ],
)
def test_what_cannot_be_checked_is_said_in_a_line(arguments: list[str], told: str) -> None:
    """Exit code 2 and the next step."""
    done = CliRunner().invoke(command, ["check", *arguments])
    assert (done.exit_code, told in done.output) == (2, True)
