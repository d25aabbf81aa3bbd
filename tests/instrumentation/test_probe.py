"""A probe asks a known case, judges the answer and counts the result."""

from __future__ import annotations

import hmac
import logging
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry import baggage, context

import windvane
from windvane import _runtime, semconv
from windvane._probe_mark import load_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Host
    from receivers import OtlpReceiver


@pytest.fixture(autouse=True)
def _no_probes_of_other_tests() -> Iterator[None]:
    yield
    _runtime._probes.__init__()  # type: ignore[misc] # a process keeps its probes, and takes a hundred at most


def runs(host: Host, name: str) -> dict[str, float]:
    return {
        point.attributes[semconv.PROBE_RESULT.name]: point.value
        for point in host.measured(semconv.PROBE_RUNS.name, **{semconv.PROBE_NAME.name: name})
    }


def raising(error: BaseException) -> Callable[[], bool]:
    def check() -> bool:
        raise error

    return check


def unequal() -> bool:
    np.testing.assert_allclose([0.1], [0.9], atol=0.1)
    return True


@pytest.mark.parametrize(
    ("check", "result", "reason"),
    [
        (lambda: True, "passed", ""),
        (lambda: np.float64(0.9) > 0.5, "passed", ""),
        (lambda: False, "failed", "returned False"),
        (lambda: np.float64(0.1) > 0.5, "failed", "returned False"),
        (unequal, "failed", "Not equal to tolerance"),
        (raising(AssertionError("0.1 is not late")), "failed", "0.1 is not late"),
        (raising(AssertionError()), "failed", "an assertion does not hold"),
        (raising(ConnectionError("refused")), "error", "ConnectionError: refused"),
        (raising(SystemExit(1)), "error", "SystemExit: 1"),
        (lambda: None, "error", "returned NoneType, neither True nor False"),
        (lambda: 1, "error", "returned int"),
    ],
)
def test_a_run_passes_fails_or_has_no_answer_to_judge(check: Callable[[], bool], result: str, reason: str) -> None:
    """True passes, False and an assertion fail; whatever else comes of a check is an error, never a pass."""
    run = windvane.Probe("case", model="flights", check=check).run()
    assert run[:2] == ("case", result)
    assert reason in run.reason
    assert len(run.reason) <= 300
    assert 0 < run.seconds < 5


def test_results_and_durations_are_counted_from_zero(host: Host) -> None:
    """All three results are exported at zero before the first run, and then as they came."""
    answers = iter([True, True, False])
    probe = windvane.Probe("counted", model="flights", version="3", check=lambda: next(answers))
    assert runs(host, "counted") == {"passed": 0, "failed": 0, "error": 0}
    for _ in range(4):
        probe.run()
    assert runs(host, "counted") == {"passed": 2, "failed": 1, "error": 1}
    (point,) = host.measured(semconv.PROBE_DURATION.name, **{semconv.PROBE_NAME.name: "counted"})
    assert point.count == 4
    assert point.attributes == {"ml.model.name": "flights", "ml.model.version": "3", "ml.probe.name": "counted"}


def test_a_run_before_the_first_export_is_preceded_by_a_zero(host: Host) -> None:
    """Otherwise Prometheus' increase() would not see it."""
    windvane.Probe("early", model="flights", check=lambda: True).run()
    assert windvane.flush(10)
    sent = [
        point.as_int
        for request in host.otlp.metrics
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == semconv.PROBE_RUNS.name
        for point in metric.sum.data_points
        if any(pair.value.string_value == "passed" for pair in point.attributes)
    ]
    assert sent[0] == 0
    assert sent[-1] == 1


def test_a_probe_without_a_version_names_none(host: Host) -> None:
    """It asks whichever version answers."""
    windvane.Probe("unversioned", model="flights", check=lambda: True)
    points = host.measured(semconv.PROBE_RUNS.name, **{semconv.PROBE_NAME.name: "unversioned"})
    assert all(semconv.MODEL_VERSION.name not in point.attributes for point in points)


def test_the_prediction_stands_under_the_span_of_the_run(host: Host, model_name: str) -> None:
    """From a probe that fails one gets to the very prediction; no message leaves with the span."""
    model = windvane.Model(model_name, version="1")

    @model.predict
    def predict(rows: list[dict[str, float]]) -> list[float]:
        return [row["x"] for row in rows]

    def check() -> bool:
        assert predict([{"x": 0.25}]) == [1.0], "secret 0.25"
        return True

    windvane.Probe("traced", model=model_name, check=check).run()
    spans = {span.name: span for span in host.spans()}
    probe = spans["probe traced"]
    (child,) = [span for span in host.spans() if span.parent is not None]
    assert child.parent.span_id == probe.context.span_id
    assert dict(probe.attributes or {}) == {
        "ml.model.name": model_name,
        "ml.probe.name": "traced",
        "ml.probe.result": "failed",
    }
    assert not probe.events
    assert "secret" not in probe.to_json()


def test_a_check_that_hangs_is_an_error_and_hangs_alone(host: Host) -> None:
    """The run ends at the timeout, and no second thread is started while the first hangs."""
    released = threading.Event()
    probe = windvane.Probe("hanging", model="flights", check=lambda: released.wait(30), timeout=0.2)
    begin = time.perf_counter()
    assert probe.run()[1:2] == ("error",)
    assert time.perf_counter() - begin < 5
    before = threading.active_count()
    assert "not ended yet" in probe.run().reason
    assert threading.active_count() == before
    released.set()
    assert runs(host, "hanging")["error"] == 2


def test_a_schedule_runs_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    """Runs follow one another; what does not pass is logged without its reason; a stop ends the thread."""
    told: list[windvane.ProbeRun] = []
    asked = threading.Event()
    scheduled = windvane.Probe("scheduled", model="flights", check=lambda: True, timeout=0.01)
    logged = windvane.Probe("logged", model="flights", check=raising(AssertionError("0.25")), timeout=0.01)

    def tell(run: windvane.ProbeRun) -> None:
        told.append(run)
        if len(told) == 3:
            asked.set()
        if len(told) == 1:
            msg = "a callback that raises ends nothing"
            raise ValueError(msg)

    with caplog.at_level(logging.WARNING, "windvane"):
        scheduled.start(every=0.05, on_run=tell)
        logged.start(every=0.05)
        assert asked.wait(10)
        while not any("probe logged: failed" in message for message in caplog.messages):
            time.sleep(0.01)
        scheduled.stop()
        logged.stop()
    time.sleep(0.2)
    number = len(told)
    time.sleep(0.2)
    assert len(told) == number
    assert not any("0.25" in message for message in caplog.messages)
    with pytest.raises(windvane.DeclarationError, match="started already"):
        scheduled.start(every=0.05)


async def never() -> bool:
    return True


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": " "}, "Probe.name"),
        ({"name": "n" * 65}, "65 characters, at most 64"),
        ({"model": "a b"}, "model name"),
        ({"version": ""}, "model version"),
        ({"check": None}, "Probe.check"),
        ({"check": never}, "asyncio.run"),
        ({"timeout": 0}, "Probe.timeout"),
        ({"timeout": 61}, "at most 60"),
        ({"timeout": True}, "Probe.timeout"),
        ({"timeout": float("nan")}, "Probe.timeout"),
    ],
)
def test_what_cannot_be_declared_is_refused_by_name(fields: dict[str, Any], message: str) -> None:
    """Errors come at declaration, and say which field."""
    with pytest.raises(windvane.DeclarationError, match=message):
        windvane.Probe(**{"name": "case", "model": "flights", "check": lambda: True, **fields})


@pytest.mark.parametrize(("every", "message"), [(301, "at most 300"), (-1, "above 0"), (0.5, "less than the timeout")])
def test_an_interval_that_no_rule_could_follow_is_refused(every: float, message: str) -> None:
    """The rules look at ten minutes; a run must end before the next."""
    probe = windvane.Probe("case", model="flights", check=lambda: True, timeout=1)
    with pytest.raises(windvane.DeclarationError, match=message):
        probe.start(every=every)


def test_a_process_has_no_more_than_a_hundred_probes() -> None:
    """Their series are bounded; the same probe declared twice is one."""
    for number in range(100):
        windvane.Probe(f"case {number}", model="flights", check=lambda: True)
    windvane.Probe("case 0", model="flights", check=lambda: True)
    with pytest.raises(windvane.DeclarationError, match="100 probes"):
        windvane.Probe("case 100", model="flights", check=lambda: True)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The secret that probes and services share."""
    with monkeypatch.context() as environment:
        environment.setenv("WINDVANE_PROBE_KEY", "a secret of at least 32 characters")
        yield
    load_key()


@pytest.mark.usefixtures("key")
def test_the_calls_of_probes_with_the_shared_secret_are_no_traffic(host: Host, model_name: str) -> None:
    """They have their span, but no duration, no rows and no features; the calls of others are counted."""
    model = windvane.Model(model_name, version="1", features=["x"])

    @model.predict
    def predict(rows: list[dict[str, float]]) -> list[float]:
        return [row["x"] for row in rows]

    predict([{"x": 1.0}])
    assert windvane.Probe("marked", model=model_name, check=lambda: predict([{"x": 1.0}]) == [1.0]).run()[1] == "passed"
    of_model = {semconv.MODEL_NAME.name: model_name}
    (durations,) = host.measured(semconv.PREDICTION_DURATION.name, **of_model)
    assert durations.count == 1
    (rows,) = host.measured(semconv.PREDICTION_ROWS.name, **of_model)
    assert rows.value == 1
    assert sum(p.value for p in host.measured(semconv.FEATURE_OBSERVATIONS.name, **of_model)) == 2
    (active,) = host.measured(semconv.PREDICTION_ACTIVE.name, **of_model)
    assert active.value == 0
    assert len([span for span in host.spans() if span.name == f"predict {model_name}"]) == 2


@pytest.mark.usefixtures("key")
def test_the_calls_of_probes_have_tokens_all_the_same(model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that answers with tokens answers a probe as it answers others."""
    monkeypatch.setenv("WINDVANE_TOKEN_KEYS", "unsigned")
    model = windvane.Model(model_name, version="1", features=["x"], outcomes=windvane.Outcomes("binary"))
    predict = model.predict(lambda rows: [row["x"] for row in rows])

    def check() -> bool:
        return len(predict([{"x": 0.5}, {"x": 0.7}])) == len(model.tokens()) == 2

    assert windvane.Probe("tokens", model=model_name, check=check).run().result == "passed"


def mark_of(secret: str, at: float) -> str:
    text = str(int(at))
    return f"{text}.{hmac.digest(secret.encode(), text.encode(), 'sha256').hex()}"


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("mark", "counted"),
    [
        (lambda: mark_of("a secret of at least 32 characters", time.time()), 0),
        (lambda: mark_of("a secret of at least 32 characters", time.time() - 290), 0),
        (lambda: mark_of("a secret of at least 32 characters", time.time() - 310), 1),
        (lambda: mark_of("a secret of at least 32 characters", time.time() + 310), 1),
        (lambda: mark_of("another secret of 32 characters ...", time.time()), 1),
        (lambda: "", 1),
        (lambda: "1", 1),
        (lambda: f"{int(time.time())}.", 1),
        (lambda: f"{int(time.time())}.\u00e4", 1),
        (lambda: "\u0661.a", 1),
        (lambda: "9" * 5000 + ".a", 1),
        (lambda: "9" * 60 + ".a", 1),
        (lambda: f"{int(time.time())}.\udc80", 1),
    ],
    ids=range(13),
)
def test_a_mark_is_believed_with_the_secret_and_for_five_minutes_only(
    host: Host, model_name: str, mark: Callable[[], str], counted: int
) -> None:
    """Whoever calls from outside cannot keep what he does out of the telemetry."""
    model = windvane.Model(model_name, version="1", features=["x"])
    token = context.attach(baggage.set_baggage(semconv.PROBE_MARK, mark()))
    try:
        with model.prediction([{"x": 1.0}]) as prediction:
            prediction.output = [1.0]
    finally:
        context.detach(token)
    points = host.measured(semconv.PREDICTION_ROWS.name, **{semconv.MODEL_NAME.name: model_name})
    assert sum(point.value for point in points) == counted


def test_without_a_secret_no_mark_is_made_nor_believed(host: Host, model_name: str) -> None:
    """A probe's calls are traffic as any other."""
    model = windvane.Model(model_name, version="1", features=["x"])
    predict = model.predict(lambda rows: [row["x"] for row in rows])
    seen: list[object] = []

    def check() -> bool:
        seen.append(baggage.get_baggage(semconv.PROBE_MARK))
        return predict([{"x": 1.0}]) == [1.0]

    assert windvane.Probe("unmarked", model=model_name, check=check).run().result == "passed"
    assert seen == [None]
    (rows,) = host.measured(semconv.PREDICTION_ROWS.name, **{semconv.MODEL_NAME.name: model_name})
    assert rows.value == 1


def test_a_secret_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch, model_name: str) -> None:
    """By the service and by the probes, without being shown."""
    monkeypatch.setenv("WINDVANE_PROBE_KEY", "s3cret")
    with pytest.raises(windvane.DeclarationError, match="has 6 characters; it needs 32") as refused:
        windvane.Model(model_name, version="1")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(windvane.DeclarationError, match="WINDVANE_PROBE_KEY"):
        windvane.Probe("case", model=model_name, check=lambda: True)


PROCESS = """
import os, windvane
windvane.configure()
probe = windvane.Probe("forked", model="flights", check=lambda: True)
probe.run()
if os.fork() == 0:
    probe.run(); probe.run(); windvane.flush(10); os._exit(0)
os.wait()
"""


def test_a_process_of_probes_alone_counts_over_forks_and_sends_at_its_end(otlp: OtlpReceiver) -> None:
    """No model is declared; the child counts from zero under an id of its own, and the parent's exit flushes."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESS],
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "3600000"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    passed = otlp.points(semconv.PROBE_RUNS.name, **{semconv.PROBE_RESULT.name: "passed"})
    assert sorted(value for _, value in passed) == [1, 2]
