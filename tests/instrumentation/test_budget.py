"""The series of a model are known from its baseline, and held within a limit that names what it leaves out."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from receivers import attributes_of

import windvane
from windvane import semconv
from windvane._durations import MAX_ERROR_TYPES
from windvane.budget import SERIES_LIMIT, budget
from windvane.cli.budget import command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.instrumentation.conftest import Host

OBJECTIVES = windvane.Objectives(
    availability=0.999, latency=(0.25, 0.99), quality=0.9, drift=0.99, baseline_age=timedelta(days=90)
)
IMPORTANCES = {"speed": 1.0, "wind": 6.0, "carrier": 3.0}


def make_baseline(name: str = "m", *, importances: dict[str, float] | None = None) -> windvane.Baseline:
    """Make a baseline with the inputs speed, wind and carrier, the output delay and the derived feature."""
    rng = np.random.default_rng(0)
    speed = rng.normal(size=1000)
    frame = {
        "speed": speed,
        "wind": speed + rng.normal(size=1000),
        "carrier": rng.choice(["AA", "UA", "DL"], 1000),
        "delay": rng.normal(size=1000),
    }
    baseline = windvane.Baseline.from_frame(frame, model=name, version="1", output="delay", importances=importances)
    assert baseline.derived is not None
    return baseline


BASELINE = make_baseline(importances=IMPORTANCES)
LEAST = budget(None).model
"""Series of a model without any feature."""
LEAST_WITH_BASELINE = budget(BASELINE).model


def exported(host: Host, model: str) -> dict[str | None, int]:
    """Count the series in Prometheus of what left for a model, by feature."""
    assert windvane.flush(10)
    series: dict[tuple[Any, ...], int] = {}
    for request in host.otlp.metrics:
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                attributes = attributes_of(point.attributes)
                if attributes.get(semconv.MODEL_NAME.name) == model:
                    buckets = len(point.bucket_counts) + 2 if metric.HasField("histogram") else 1
                    series[metric.name, *sorted(attributes.items())] = buckets
    by_feature: dict[str | None, int] = {}
    for (_, *attributes), number in series.items():
        name = dict(attributes).get(semconv.FEATURE_NAME.name)
        by_feature[name] = by_feature.get(name, 0) + number
    return by_feature


def left_out(host: Host, model: str) -> float:
    """Return what an SRE sees of it."""
    assert windvane.flush(10)
    ((_, value),) = host.otlp.points(semconv.FEATURES_LEFT_OUT.name, **{semconv.MODEL_NAME.name: model})
    return value


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.mark.parametrize("importances", [None, IMPORTANCES], ids=["no-importances", "importances"])
def test_the_budget_is_what_prometheus_gets(host: Host, model_name: str, importances: dict[str, float] | None) -> None:
    """The number computed from the baseline is the number of series that leave the process, feature by feature."""
    baseline = make_baseline(model_name, importances=importances)
    windvane.Model(model_name, version="1", baseline=baseline, objectives=OBJECTIVES)
    computed = budget(baseline)
    found = exported(host, model_name)
    assert found == {
        None: computed.model - 1,
        semconv.UNEXPECTED_FEATURE: 1,
        **{feature.name: feature.series for feature in computed.features},
    }
    assert sum(found.values()) == computed.per_process == computed.needed
    assert left_out(host, model_name) == 0


def test_the_budget_of_a_model_without_a_baseline_is_what_prometheus_gets(host: Host, model_name: str) -> None:
    """Its declared inputs and its output cost their universal bins, and ages a histogram each."""
    event_time = {"speed": "seen_at", "wind": "seen_at"}
    windvane.Model(model_name, version="1", features=["speed", "wind"], event_time=event_time, objectives=OBJECTIVES)
    computed = budget(None, features=["speed", "wind"], event_times=event_time)
    found = exported(host, model_name)
    ages = (computed.model - LEAST - found["seen_at"]) // 2
    assert ages > 10
    assert found == {
        None: LEAST,
        "seen_at": 3,
        "output": 61,
        "speed": 61 + ages,
        "wind": 61 + ages,
    }
    assert sum(found.values()) == computed.per_process


def test_the_limit_holds_without_a_baseline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Declared inputs over the limit are left out from the last on."""
    names = [f"f{i}" for i in range(5)]
    monkeypatch.setenv(SERIES_LIMIT, str(budget(None, features=names).needed - 1))
    assert budget(None, features=names).left_out == ("f4",)


def test_errors_add_no_more_than_the_budget_says(host: Host, model_name: str) -> None:
    """Calls that end with ever new types of errors add series up to a bound, and then no more."""
    model = windvane.Model(model_name, version="1", objectives=OBJECTIVES)
    for i in range(MAX_ERROR_TYPES + 20):
        error = type(f"Error{i}", (Exception,), {})
        with pytest.raises(error), model.prediction([{"x": 1}]):
            raise error
    computed = budget(None)
    assert exported(host, model_name) == {None: computed.model + computed.errors}


def test_the_limit_keeps_the_output_then_the_derived_feature_then_by_importance() -> None:
    """What is dear to a user goes last, so the features stand in the order in which they are kept."""
    by_importance = budget(make_baseline(importances=IMPORTANCES))
    in_order = budget(make_baseline())
    assert [f.name for f in by_importance.features] == ["delay", "reconstruction_error", "wind", "carrier", "speed"]
    assert [f.name for f in in_order.features] == ["delay", "reconstruction_error", "speed", "wind", "carrier"]


@given(limit=st.integers(LEAST_WITH_BASELINE, 400))
def test_a_limit_is_held_and_a_higher_one_takes_nothing_away(limit: int) -> None:
    """The series stay within any limit; one more allowed keeps at least the same features."""
    baseline = BASELINE
    computed, higher = budget(baseline, limit=limit), budget(baseline, limit=limit + 1)
    assert computed.per_process <= limit
    assert set(higher.left_out) <= set(computed.left_out)
    kept = [feature.kept for feature in computed.features]
    assert kept == sorted(kept, reverse=True)
    first_out = next((f for f in computed.features if not f.kept), None)
    assert first_out is None or computed.per_process + first_out.series > limit


def test_all_replicas_count() -> None:
    """Each replica has series of its own, of the reference too."""
    assert budget(BASELINE, replicas=12).total == 12 * budget(BASELINE).per_process


def test_features_over_the_limit_are_not_exported_and_named_once(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The limit of the environment leaves out the least important features: a log line, a gauge, no series."""
    baseline = make_baseline(model_name, importances=IMPORTANCES)
    limit = budget(baseline).needed - 1
    monkeypatch.setenv(SERIES_LIMIT, str(limit))
    with caplog.at_level(logging.WARNING, "windvane"):
        for _ in range(2):
            model = windvane.Model(model_name, version="1", baseline=baseline, objectives=OBJECTIVES)
    (message,) = [record.getMessage() for record in caplog.records]
    assert "1 of 5 features" in message
    assert "'speed'" in message
    assert SERIES_LIMIT in message
    assert "'wind'" not in message
    with model.prediction([{"speed": 0.0, "wind": 0.0, "carrier": "AA"}] * 7) as prediction:
        prediction.output = [0.0] * 7
    found = exported(host, model_name)
    assert set(found) == {None, semconv.UNEXPECTED_FEATURE, "delay", "reconstruction_error", "wind", "carrier"}
    assert sum(found.values()) == budget(baseline).per_process <= limit
    assert left_out(host, model_name) == 1
    # The derived feature still has all it is made of, and the process itself still knows.
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_NAME.name: "reconstruction_error"}
    assert sum(value for _, value in host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted)) == 7
    assert {feature.name: feature.observations for feature in model.snapshot().features}["speed"] == 7


def test_the_log_names_a_bounded_number_of_features(
    model_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With hundreds of features left out the line stays readable, and on one line whatever the names are."""
    frame = {f"line\nbreak {i}": np.arange(20.0) for i in range(100)}
    baseline = windvane.Baseline.from_frame(frame, model=model_name, version="1")
    monkeypatch.setenv(SERIES_LIMIT, str(LEAST_WITH_BASELINE))
    with caplog.at_level(logging.WARNING, "windvane"):
        windvane.Model(model_name, version="1", baseline=baseline)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.count("break") == 20
    assert "\n" not in message
    assert f"and {len(baseline.features) - 20} more" in message


@pytest.mark.parametrize("text", ["many", "0", str(LEAST - 1), "-5", "1e4", "9" * 5000])
def test_a_limit_that_cannot_be_used_is_refused_at_declaration(
    model_name: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The error names the variable and what may stand there."""
    monkeypatch.setenv(SERIES_LIMIT, text)
    with pytest.raises(
        windvane.DeclarationError, match=rf"{SERIES_LIMIT}: .*whole number, at least {LEAST} "
    ) as caught:
        windvane.Model(model_name, version="1")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("arguments", [{"limit": LEAST_WITH_BASELINE - 1}, {"limit": True}, {"replicas": 0}])
def test_arguments_that_cannot_be_used_are_named(arguments: dict[str, Any]) -> None:
    """A limit below the model's own series and no replica at all are errors."""
    with pytest.raises(windvane.DeclarationError, match=next(iter(arguments))):
        budget(BASELINE, **arguments)


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenTelemetry has it: an empty variable is an unset one."""
    monkeypatch.setenv(SERIES_LIMIT, " ")
    assert budget(None).limit == 10_000


def test_the_command_prints_what_the_budget_says(tmp_path: Path) -> None:
    """A person reads each feature's series, the totals, what is left out, and the limit that keeps all."""
    path = tmp_path / "baseline.json"
    BASELINE.save(path)
    computed = budget(BASELINE, limit=150, replicas=3)
    assert computed.left_out
    result = run(path, "--limit", 150, "--replicas", 3)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    for line, feature in zip(lines[1:], computed.features, strict=False):
        assert line.startswith(f"{feature.name} ")
        assert line.endswith(f" {feature.series}")
        assert ("left out" in line) is not feature.kept
    assert f"per process: {computed.per_process}, the limit is 150" in result.output
    assert f"over 3 replicas: {computed.total}" in result.output
    assert f"features are left out: {', '.join(computed.left_out)}" in result.output
    assert f"{SERIES_LIMIT}={computed.needed} keeps all" in result.output
    assert budget(BASELINE, limit=computed.needed).left_out == ()


def test_the_command_prints_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program reads the same; without the option the limit is the service's own."""
    monkeypatch.setenv(SERIES_LIMIT, "150")
    path = tmp_path / "baseline.json"
    BASELINE.save(path)
    computed = budget(BASELINE)
    document = json.loads(run(path, "--json").output)
    assert document["limit"] == 150
    assert document["total"] == document["per_process"] == computed.per_process
    assert document["left_out"] == list(computed.left_out)
    assert [(f["name"], f["series"], f["kept"]) for f in document["features"]] == [
        (f.name, f.series, f.kept) for f in computed.features
    ]


def test_the_command_knows_models_without_a_baseline() -> None:
    """Named inputs are counted, and event times; neither a baseline nor inputs, or both, is a mistake."""
    computed = budget(None, features=["a", "b"], event_times={"a": "seen_at", "other_at": "other_at"})
    arguments = ("--feature", "a", "--feature", "b", "--event-time", "a=seen_at", "--event-time", "other_at")
    document = json.loads(run(*arguments, "--json").output)
    assert document["per_process"] == computed.per_process
    assert [feature["name"] for feature in document["features"]] == ["output", "a", "b"]
    assert run().exit_code == run("baseline.json", "--feature", "a").exit_code == 2


def test_the_command_writes_no_control_characters_of_a_name(tmp_path: Path) -> None:
    """A name that holds an escape sequence cannot play with the reader's terminal."""
    path = tmp_path / "baseline.json"
    windvane.Baseline.from_frame({"a\x1b[2J\u202eb": np.arange(9.0)}, model="m", version="1").save(path)
    output = run(path, "--limit", LEAST_WITH_BASELINE).output
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert r"a\x1b[2J\u202eb" in output
