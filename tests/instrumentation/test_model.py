"""A declared model watches calls and never changes what they do."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from opentelemetry.trace import StatusCode

import windvane
from windvane import semconv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.instrumentation.conftest import Host

ROWS = [{"distance": 500.0, "carrier": "AA"}, {"distance": 2500.0, "carrier": "UA"}]


def make_baseline(name: str) -> windvane.Baseline:
    rng = np.random.default_rng(0)
    frame = {
        "distance": rng.uniform(100, 3000, 2000),
        "carrier": rng.choice(["AA", "UA", "DL"], 2000),
        "score": rng.uniform(0, 1, 2000),
    }
    return windvane.Baseline.from_frame(frame, model=name, version="1", output="score")


def observations(host: Host, model: str, feature: str) -> dict[str, float]:
    """Counts by bin of what the process has exported for a feature."""
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model, semconv.FEATURE_NAME.name: feature}
    points = host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted)
    return {attributes[semconv.FEATURE_BIN.name]: value for attributes, value in points}


def violations(host: Host, model: str, feature: str) -> dict[str, float]:
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model, semconv.FEATURE_NAME.name: feature}
    points = host.otlp.points(semconv.FEATURE_VIOLATIONS.name, **wanted)
    return {attributes[semconv.VIOLATION_KIND.name]: value for attributes, value in points if value}


def dropped(host: Host, model: str) -> dict[str, float]:
    assert windvane.flush(10)
    points = host.otlp.points(semconv.RECORDS_DROPPED.name, **{semconv.MODEL_NAME.name: model})
    return {attributes[semconv.DROP_REASON.name]: value for attributes, value in points if value}


def test_the_call_returns_the_very_object_and_keeps_its_signature(host: Host, model_name: str) -> None:
    """The decorated function is the function, to its callers."""
    model = windvane.Model(model_name, version="1")
    answer = object()

    @model.predict
    def predict(rows: list[dict[str, float]], *, scale: int = 1) -> object:
        """Predict."""
        return answer

    assert predict([{"x": 1.0}], scale=2) is answer
    assert predict.__name__ == "predict"
    assert predict.__doc__ == "Predict."
    assert list(inspect.signature(predict).parameters) == ["rows", "scale"]


def test_the_exception_goes_through_and_its_message_stays(host: Host, model_name: str) -> None:
    """A failing call raises the same exception; the span and the duration carry its type and not its message."""
    model = windvane.Model(model_name, version="1")
    error = ValueError("secret 4711")

    @model.predict
    def predict(rows: object) -> None:
        raise error

    with pytest.raises(ValueError, match="secret") as caught:
        predict([{"x": 1}])
    assert caught.value is error
    (span,) = host.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes[semconv.ERROR_TYPE.name] == "ValueError"
    assert "4711" not in span.to_json()
    wanted = {semconv.MODEL_NAME.name: model_name}
    points = host.measured(semconv.PREDICTION_DURATION.name, **wanted)
    assert {point.attributes.get(semconv.ERROR_TYPE.name): point.count for point in points} == {
        None: 0,
        "ValueError": 1,
    }


def test_the_span_is_a_child_of_the_host_span(host: Host, model_name: str) -> None:
    """The prediction's span nests under the span of the caller, and spans of the function under it."""
    model = windvane.Model(model_name, version="1")

    @model.predict
    def predict(rows: object) -> int:
        with host.tracer.start_as_current_span("inner"):
            return 1

    with host.tracer.start_as_current_span("request"):
        predict({"x": 1})
    inner, prediction, request = host.spans()
    assert prediction.name == f"predict {model_name}"
    assert prediction.parent is not None
    assert prediction.parent.span_id == request.context.span_id
    assert inner.parent is not None
    assert inner.parent.span_id == prediction.context.span_id
    assert prediction.attributes is not None
    assert prediction.attributes[semconv.PREDICTION_ROW_COUNT.name] == 1


def test_the_duration_has_an_exemplar_that_leads_to_the_trace(host: Host, model_name: str) -> None:
    """The histogram's exemplar holds the prediction's own span."""
    model = windvane.Model(model_name, version="1")
    model.predict(lambda rows: 1)({"x": 1})
    (span,) = host.spans()
    (point,) = host.measured(semconv.PREDICTION_DURATION.name, **{semconv.MODEL_NAME.name: model_name})
    assert point.count == 1
    assert point.exemplar_spans == [span.context.span_id]


@pytest.mark.parametrize(
    "rows",
    [ROWS, tuple(ROWS), np.array([[500.0, 0], [2500.0, 1]]), pd.DataFrame(ROWS)],
    ids=["list", "tuple", "array", "pandas"],
)
def test_every_shape_is_counted_alike(host: Host, model_name: str, rows: Any) -> None:
    """A list of dicts, a 2-D array and a frame of the same rows fall into the same bins."""
    baseline = make_baseline(model_name)
    model = windvane.Model(model_name, version="1", baseline=baseline)
    predict = model.predict(lambda batch: np.array([0.1, 0.9]))
    predict(rows)
    expected, _ = baseline.inputs[0].bins.count(np.array([500.0, 2500.0]))
    counted = observations(host, model_name, "distance")
    assert counted == dict(zip(baseline.inputs[0].bins.labels, expected.tolist(), strict=True))
    assert sum(observations(host, model_name, "score").values()) == 2
    assert dropped(host, model_name) == {}


def test_one_dict_is_one_row(host: Host, model_name: str) -> None:
    """A dict is a single row, whose absent features count as missing."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    predict = model.predict(lambda row: 0.5)
    predict({"distance": 500.0})
    assert observations(host, model_name, "carrier")[semconv.BIN_NULL] == 1
    assert violations(host, model_name, "carrier") == {"missing": 1}
    assert violations(host, model_name, "distance") == {}


def test_methods_are_watched(host: Host, model_name: str) -> None:
    """`self` is not taken for the rows."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))

    class Service:
        @model.predict
        def predict(self, rows: list[dict[str, Any]]) -> list[float]:
            return [0.5 for _ in rows]

    assert Service().predict(rows=ROWS) == [0.5, 0.5]
    assert sum(observations(host, model_name, "distance").values()) == 2


def test_the_rows_parameter_can_be_named(host: Host, model_name: str) -> None:
    """`features` names the parameter that holds the rows."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))

    @model.predict(features="rows")
    def predict(session: str, rows: list[dict[str, Any]]) -> float:
        return 0.5

    predict("s", ROWS)
    predict("s", rows=ROWS)
    assert sum(observations(host, model_name, "distance").values()) == 4


def test_coroutines_are_watched_to_their_end(host: Host, model_name: str) -> None:
    """The span of an async function ends when it is done, and concurrent calls keep apart."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))

    @model.predict
    async def predict(rows: list[dict[str, Any]]) -> list[float]:
        with host.tracer.start_as_current_span("inner"):
            await asyncio.sleep(0.01)
        return [0.5] * len(rows)

    async def both() -> list[list[float]]:
        return await asyncio.gather(predict(ROWS), predict(ROWS))

    assert asyncio.run(both()) == [[0.5, 0.5], [0.5, 0.5]]
    spans = host.spans()
    inner = [span.parent.span_id for span in spans if span.name == "inner" and span.parent]
    outer = [span.context.span_id for span in spans if span.name != "inner"]
    assert sorted(inner) == sorted(outer)
    assert sum(observations(host, model_name, "distance").values()) == 4


def test_a_block_is_watched_as_one_call(host: Host, model_name: str) -> None:
    """The context manager counts rows and output like the decorator."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    with model.prediction(ROWS) as prediction:
        prediction.output = [0.1, 0.2]
    assert sum(observations(host, model_name, "distance").values()) == 2
    assert sum(observations(host, model_name, "score").values()) == 2
    assert len(host.spans()) == 1


@pytest.mark.parametrize("shape", ["list", "array", "pandas"])
def test_what_the_caller_changes_later_does_not_matter(host: Host, model_name: str, shape: str) -> None:
    """Rows are counted as they were when the call began."""
    baseline = make_baseline(model_name)
    model = windvane.Model(model_name, version="1", baseline=baseline)
    rows: Any = [{"distance": 500.0, "carrier": "AA"}]
    if shape == "array":
        rows = np.array([[500.0, 0.0]])
    elif shape == "pandas":
        rows = pd.DataFrame(rows)
    output = np.array([0.5])

    @model.predict
    def predict(batch: Any) -> Any:
        if shape == "list":
            batch[0]["distance"] = 1e9
        elif shape == "array":
            batch[0, 0] = 1e9
        else:
            batch.loc[0, "distance"] = 1e9
        return output

    predict(rows)
    output[0] = 1e9
    assert violations(host, model_name, "distance") == {}
    assert violations(host, model_name, "score") == {}


def test_inputs_are_counted_when_the_model_raises(host: Host, model_name: str) -> None:
    """The rows that break a model are the ones worth seeing."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))

    @model.predict
    def predict(rows: Any) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        predict(ROWS)
    assert sum(observations(host, model_name, "distance").values()) == 2
    assert sum(observations(host, model_name, "score").values()) == 0


class Hostile:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (None, "unsupported_input"),
        (42, "unsupported_input"),
        ("text", "unsupported_input"),
        (np.zeros(3), "unsupported_input"),
        (np.zeros((2, 1)), "unsupported_input"),
        ([1, 2, 3], "unsupported_input"),
        ([None], "unsupported_input"),
        (Hostile, "capture_failed"),
        (pd.DataFrame([[1.0, 2.0, "AA"]], columns=["distance", "distance", "carrier"]), "unsupported_input"),
    ],
    ids=["none", "number", "text", "1-D", "too few columns", "numbers", "nones", "hostile", "duplicate columns"],
)
def test_rows_that_cannot_be_read_are_counted_and_change_nothing(
    host: Host, model_name: str, rows: Any, reason: str
) -> None:
    """The call answers as ever; the loss has a reason."""
    rows = rows() if rows is Hostile else rows  # an instance would break the test runner's own printing
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    predict = model.predict(lambda batch: 0.5)
    assert predict(rows) == 0.5
    assert dropped(host, model_name) == {reason: 1}
    assert sum(observations(host, model_name, "score").values()) == 1


@pytest.mark.parametrize("make_output", [dict, lambda: np.zeros((2, 2)), Hostile, object], ids=range(4))
def test_an_output_that_cannot_be_read_is_counted_and_the_inputs_still_count(
    host: Host, model_name: str, make_output: Callable[[], Any]
) -> None:
    """An unknown kind of answer costs the answer's counts only."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    output = make_output()
    predict = model.predict(lambda batch: output)
    assert predict(ROWS) is output
    assert sum(dropped(host, model_name).values()) == 1
    assert sum(observations(host, model_name, "distance").values()) == 2


def test_empty_input_counts_nothing(host: Host, model_name: str) -> None:
    """No rows are no loss."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    predict = model.predict(lambda batch: [])
    for rows in ([], np.zeros((0, 2)), pd.DataFrame({"distance": [], "carrier": []})):
        predict(rows)
    assert sum(observations(host, model_name, "distance").values()) == 0
    assert dropped(host, model_name) == {}


def test_every_bin_is_exported_from_zero(host: Host, model_name: str) -> None:
    """The first export shows zeros, since Prometheus sees only what a series gains after its first sample."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    model.predict(lambda batch: [0.5, 0.5])(ROWS)
    assert sum(observations(host, model_name, "distance").values()) == 2
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_NAME.name: "distance"}
    exports = [
        host.otlp.points_of([request], semconv.FEATURE_OBSERVATIONS.name, **wanted) for request in host.otlp.metrics
    ]
    assert [sum(value for _, value in points) for points in exports if points][:2] == [0, 2]


def test_what_is_declared_is_exported(host: Host, model_name: str) -> None:
    """Owner, objectives and the reference travel with the model."""
    baseline = make_baseline(model_name)
    windvane.Model(
        model_name,
        version="1",
        baseline=baseline,
        owner=windvane.Owner(team="arrivals", severity="critical", runbook_url="https://wiki.example.com/x"),
        objectives=windvane.Objectives(availability=0.999, latency=(0.25, 0.99), baseline_age=timedelta(days=90)),
    )
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name}
    ((info, one),) = host.otlp.points(semconv.MODEL_INFO.name, **wanted)
    assert one == 1
    assert info[semconv.TEAM.name] == "arrivals"
    assert info[semconv.SEVERITY.name] == "critical"
    assert info[semconv.RUNBOOK_URL.name] == "https://wiki.example.com/x"
    assert info[semconv.BASELINE_ID.name] == baseline.id
    objectives = {
        attributes[semconv.OBJECTIVE.name]: v for attributes, v in host.otlp.points("ml.model.objective", **wanted)
    }
    assert objectives == {"availability": 0.999, "latency": 0.99}
    assert [v for _, v in host.otlp.points(semconv.MODEL_LATENCY_OBJECTIVE.name, **wanted)] == [0.25]
    assert [v for _, v in host.otlp.points(semconv.BASELINE_AGE_OBJECTIVE.name, **wanted)] == [90 * 86_400]
    ((made, when),) = host.otlp.points(semconv.BASELINE_TIMESTAMP.name, **wanted)
    assert made[semconv.BASELINE_VERSION.name] == baseline.model_version
    assert datetime.fromtimestamp(when, UTC) == datetime.fromisoformat(baseline.created)
    reference = host.otlp.points(
        semconv.FEATURE_REFERENCE_OBSERVATIONS.name, **wanted, **{semconv.FEATURE_NAME.name: "distance"}
    )
    assert sum(v for _, v in reference) == 2000
    assert {attributes[semconv.FEATURE_BIN.name] for attributes, _ in reference} == set(baseline.inputs[0].bins.labels)


def test_every_exported_name_is_in_the_conventions(host: Host, model_name: str) -> None:
    """Nothing leaves under a name that the conventions do not define, with attributes they do not list."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name), variant="canary")
    model.predict(lambda batch: [0.5, 0.5])(ROWS)
    assert windvane.flush(10)
    allowed = {metric.name: {a.name for a in metric.attributes} for metric in semconv.METRICS}
    seen = set()
    for request in host.otlp.metrics:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    seen.add(metric.name)
                    for point in getattr(metric, metric.WhichOneof("data")).data_points:
                        assert {pair.key for pair in point.attributes} <= allowed[metric.name], metric.name
    assert {m.name for m in (semconv.PREDICTION_DURATION, semconv.PREDICTION_ROWS, semconv.PREDICTION_ACTIVE)} <= seen
    assert semconv.FEATURE_OBSERVATIONS.name in seen


def test_rows_and_active_calls_are_counted(host: Host, model_name: str) -> None:
    """Rows add up over calls; calls under way are seen while they last and not after."""
    model = windvane.Model(model_name, version="1")
    entered, leave = threading.Event(), threading.Event()
    wanted = {semconv.MODEL_NAME.name: model_name}

    @model.predict
    def predict(rows: Any) -> None:
        entered.set()
        assert leave.wait(10)

    thread = threading.Thread(target=predict, args=(ROWS,))
    thread.start()
    assert entered.wait(10)
    assert [p.value for p in host.measured(semconv.PREDICTION_ACTIVE.name, **wanted)] == [1]
    leave.set()
    thread.join()
    assert [p.value for p in host.measured(semconv.PREDICTION_ACTIVE.name, **wanted)] == [0]
    assert [p.value for p in host.measured(semconv.PREDICTION_ROWS.name, **wanted)] == [2]


def test_many_threads_lose_nothing(host: Host, model_name: str) -> None:
    """Counts are exact under concurrent calls."""
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    predict = model.predict(lambda batch: 0.5)

    def call() -> None:
        for _ in range(500):
            predict(ROWS)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(observations(host, model_name, "distance").values()) == 4 * 500 * 2
    assert dropped(host, model_name) == {}


def test_a_full_queue_drops_and_counts(host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is counted as dropped, so that counted and dropped add up to the calls."""
    monkeypatch.setattr("windvane._worker.MAX_HELD_BYTES", 10)
    model = windvane.Model(model_name, version="1", baseline=make_baseline(model_name))
    predict = model.predict(lambda batch: 0.5)
    for _ in range(200):
        predict(ROWS)
    lost = dropped(host, model_name)
    assert lost["queue_full"] > 0
    assert sum(observations(host, model_name, "distance").values()) == 2 * (200 - lost["queue_full"])


def test_nothing_happens_without_a_baseline_but_the_call_itself(host: Host, model_name: str) -> None:
    """A model without a baseline has spans and durations, and no distributions."""
    model = windvane.Model(model_name, version="1")
    assert model.predict(lambda batch: 1)(ROWS) == 1
    assert windvane.flush(10)
    assert host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **{semconv.MODEL_NAME.name: model_name}) == []
    assert len(host.spans()) == 1


def test_the_same_declaration_twice_is_one_model(host: Host, model_name: str) -> None:
    """Two modules may declare the same model version; both count into it."""
    baseline = make_baseline(model_name)
    for _ in range(2):
        windvane.Model(model_name, version="1", baseline=baseline).predict(lambda batch: 0.5)(ROWS)
    assert sum(observations(host, model_name, "distance").values()) == 4


def test_a_contradicting_declaration_is_refused(host: Host, model_name: str) -> None:
    """One model version cannot have two owners in one process."""
    windvane.Model(model_name, version="1", owner=windvane.Owner(team="a"))
    with pytest.raises(windvane.DeclarationError, match="already declared"):
        windvane.Model(model_name, version="1", owner=windvane.Owner(team="b"))


def test_bad_declarations_name_the_field_and_the_mend(host: Host, model_name: str, tmp_path: Path) -> None:
    """Each error says which field is wrong and what would be right."""
    baseline = make_baseline(model_name)
    path = tmp_path / "b.json"
    baseline.save(path)
    foreign = tmp_path / "foreign.json"
    foreign.write_text("{}")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": "no spaces!"}, "name"),
        ({"name": ""}, "name"),
        ({"version": ""}, "version"),
        ({"baseline": path, "name": "another"}, f"built for model '{model_name}'"),
        ({"baseline": tmp_path / "missing.json"}, "missing.json"),
        ({"baseline": foreign}, "foreign.json"),
        ({"features": ["distance", "carrier", "distance"], "baseline": path}, "'distance' stands twice"),
        ({"features": ["distance", "carier"], "baseline": path}, "did you mean 'carier'"),
        ({"features": "distance"}, "list of column names"),
        ({"owner": "arrivals"}, r"owner: must be a windvane\.Owner"),
        ({"objectives": {"availability": 0.9}}, r"objectives: must be a windvane\.Objectives"),
        ({"variant": ""}, "variant"),
    ]
    for arguments, message in cases:
        with pytest.raises(windvane.WindvaneError, match=message):
            windvane.Model(**{"name": model_name, "version": "2", **arguments})


def test_owner_and_objectives_are_checked() -> None:
    """Unknown objectives, shares out of range and odd addresses are refused."""
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (windvane.Objectives, {"availabilty": 0.9}, "did you mean 'availability'"),
        (windvane.Objectives, {"availability": 1.0}, "share between 0 and 1"),
        (windvane.Objectives, {"availability": "0.9"}, "share between 0 and 1"),
        (windvane.Objectives, {"latency": 0.25}, "seconds, share"),
        (windvane.Objectives, {"latency": (0.12, 0.99)}, r"nearest are 0\.1 and 0\.15"),
        (windvane.Objectives, {"latency": (0.25, 99)}, "share between 0 and 1"),
        (windvane.Objectives, {"latency": (float("nan"), 0.9)}, "number of seconds"),
        (windvane.Objectives, {"baseline_age": 90}, "positive timedelta"),
        (windvane.Objectives, {"baseline_age": timedelta(0)}, "positive timedelta"),
        (windvane.Owner, {"team": ""}, r"Owner\.team"),
        (windvane.Owner, {"team": "t" * 300}, "at most 256"),
        (windvane.Owner, {"team": "t", "severity": None}, r"Owner\.severity"),
        (windvane.Owner, {"team": "t", "runbook_url": "wiki/page"}, "web address"),
        (windvane.Owner, {"team": "t", "runbook_url": "javascript:alert(1)"}, "web address"),
    ]
    for kind, arguments, message in cases:
        with pytest.raises(windvane.DeclarationError, match=message):
            kind(**arguments)


def test_what_cannot_be_watched_is_refused(host: Host, model_name: str) -> None:
    """The decorator refuses what it could not watch, when it is applied."""
    model: Any = windvane.Model(model_name, version="1")

    def nothing() -> None:
        """Take no rows."""

    class Predictor:
        """Called, it makes a predictor and no prediction."""

    with pytest.raises(windvane.DeclarationError, match="no function"):
        model.predict(Predictor)
    with pytest.raises(windvane.DeclarationError, match="function that returns the rows"):
        model.predict(features=1)(nothing)
    with pytest.raises(windvane.DeclarationError, match="no argument"):
        model.predict(nothing)
    with pytest.raises(windvane.DeclarationError, match="no function"):
        model.predict(42)
    with pytest.raises(windvane.DeclarationError, match=r"did you mean 'rows'"):
        model.predict(features="row")(lambda rows: rows)
