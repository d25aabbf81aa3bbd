"""Users assert in their own unit tests what their decorated functions emit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from opentelemetry import metrics, trace

import windvane
from windvane import semconv
from windvane.testing import Signals, capture, captured_telemetry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.instrumentation.conftest import Host

__all__ = ["captured_telemetry"]  # a fixture of these tests


def make_model(name: str, version: str = "1") -> windvane.Model:
    frame = {
        "distance": np.linspace(100, 3000, 2000),
        "carrier": np.tile(["AA", "UA"], 1000),
        "score": np.linspace(0, 1, 2000),
    }
    baseline = windvane.Baseline.from_frame(frame, model=name, version="1", output="score")
    return windvane.Model(name, version=version, baseline=baseline)


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, since providers are global."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ROWS = [{"distance": 500.0, "carrier": "AA"}, {"distance": None, "carrier": "ZZ"}]


def test_what_a_call_emits_is_plain_data(model_name: str) -> None:
    """Span, duration, rows, bins, violations and losses of a call can be compared with literals."""
    predict = make_model(model_name).predict(lambda rows: [0.5] * len(rows))
    with capture() as signals:
        predict(ROWS)
    (span,) = signals.predictions
    assert (span.name, span.error_type, span.parent) == (f"predict {model_name}", None, None)
    assert span.attributes == {
        semconv.MODEL_NAME.name: model_name,
        semconv.MODEL_VERSION.name: "1",
        semconv.PREDICTION_ROW_COUNT.name: 2,
    }
    assert 0 < span.seconds < 10
    assert signals.durations == {None: 1}
    assert signals.rows == 2
    assert signals.observations("distance") == {"01": 1, "null": 1}
    assert signals.observations("carrier") == {"c00": 1, "other": 1}
    assert sum(signals.observations("score").values()) == 2
    assert signals.violations("distance") == {"missing": 1}
    assert signals.violations("carrier") == {"category": 1}
    assert signals.violations("score") == {}
    assert signals.dropped == {}


def test_a_call_that_raises_is_captured_with_its_error_and_the_error_goes_on(model_name: str) -> None:
    """The test sees its own exception, and the signals of the call that raised it."""

    @make_model(model_name).predict
    def predict(rows: Any) -> Any:
        raise KeyError(rows)

    with pytest.raises(KeyError), capture() as signals:
        predict(ROWS)
    assert signals.durations == {"KeyError": 1}
    assert [span.error_type for span in signals.predictions] == ["KeyError"]
    assert signals.rows == 2


def test_losses_are_reported_by_reason(model_name: str) -> None:
    """A test can demand that nothing was lost."""
    predict = make_model(model_name).predict(lambda rows: 1.0)
    with capture() as signals:
        predict(object())
    assert signals.dropped == {"unsupported_input": 1}


@pytest.mark.parametrize("calls", [1, 3])
def test_earlier_calls_do_not_show(captured_telemetry: Signals, calls: int) -> None:
    """A model shared by tests counts anew in each of them."""
    predict = make_model("shared-by-tests").predict(lambda rows: 1.0)
    for _ in range(calls):
        predict(ROWS)
    assert captured_telemetry.rows == 2 * calls
    assert captured_telemetry.observations("carrier")["c00"] == calls
    assert len(captured_telemetry.predictions) == calls


def test_signals_stay_as_they_were_at_the_end_of_the_block(model_name: str) -> None:
    """What happens after the block is not in it; what happens within shows at once."""
    predict = make_model(model_name).predict(lambda rows: 1.0)
    with capture() as signals:
        assert signals.rows == 0
        predict(ROWS)
        assert signals.rows == 2
        predict(ROWS)
    predict(ROWS)
    assert (signals.rows, len(signals.predictions)) == (4, 2)


def test_captures_within_each_other_each_count_from_their_own_start(model_name: str) -> None:
    """A helper may capture while the test's fixture does."""
    predict = make_model(model_name).predict(lambda rows: 1.0)
    with capture() as outer:
        predict(ROWS)
        with capture() as inner:
            predict(ROWS)
        predict(ROWS)
    assert (outer.rows, len(outer.predictions)) == (6, 3)
    assert (inner.rows, len(inner.predictions)) == (2, 1)


def test_events_are_captured(model_name: str) -> None:
    """They are plain data, belong to their model, and stay as they were at the end of the block."""

    def declared(name: str) -> Any:
        events = windvane.PredictionEvents(ratio=1, values=["distance"])
        return windvane.Model(name, version="1", features=["distance"], events=events).predict(lambda rows: 1.0)

    first, second = declared(f"{model_name}.a"), declared(f"{model_name}.b")
    with capture() as outer:
        first({"distance": 1.0})
        with capture() as signals:
            first({"distance": 2.0})
            assert [event.body for event in signals.events] == [{"row": 0, "features": {"distance": 2.0}}]
            second({"distance": 3.0})
        first({"distance": 4.0})
    first({"distance": 5.0})
    assert len(signals.events) == 2
    (event,) = signals.of(f"{model_name}.b").events
    assert event.body == {"row": 0, "features": {"distance": 3.0}}
    assert event.severity == "INFO"
    assert event.context == signals.of(f"{model_name}.b").predictions[0].context
    assert len(outer.events) == 4


def test_captured_events_reach_the_logger_provider_of_the_host_as_ever() -> None:
    """During a capture and after it."""
    done = run("""
        import windvane
        from opentelemetry._logs import set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
        from windvane import _runtime
        from windvane.testing import capture

        exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        set_logger_provider(provider)
        events = windvane.PredictionEvents(ratio=1, values=["x"])
        predict = windvane.Model("m", version="1", features=["x"], events=events).predict(lambda rows: 1.0)
        with capture() as signals:
            predict({"x": 1})
        predict({"x": 2})
        assert _runtime.worker.drain(5)
        assert [event.body["features"]["x"] for event in signals.events] == [1]
        assert [log.log_record.body["features"]["x"] for log in exporter.get_finished_logs()] == [1, 2]
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_models_are_told_apart(model_name: str) -> None:
    """With several models the signals add up, and `of` selects one or one version of it."""
    first, second = make_model(f"{model_name}.a"), make_model(f"{model_name}.b")
    newer = make_model(f"{model_name}.a", version="2")
    with capture() as signals:
        first.predict(lambda rows: 1.0)(ROWS)
        second.predict(lambda rows: 1.0)(ROWS[:1])
        newer.predict(lambda rows: 1.0)(ROWS)
    assert signals.rows == 5
    assert signals.of(f"{model_name}.a").rows == 4
    assert signals.of(f"{model_name}.a", "2").rows == 2
    assert len(signals.of(f"{model_name}.a", "2").predictions) == 1
    assert signals.of(f"{model_name}.b").observations("carrier") == {"c00": 1}
    with pytest.raises(windvane.DeclarationError, match=r"both have it; choose one with \.of"):
        signals.observations("carrier")


def test_a_misspelt_name_is_an_error_with_the_right_one(model_name: str) -> None:
    """An assertion on a feature that does not exist must not hold by accident."""
    make_model(model_name)
    with capture() as signals:
        pass
    assert signals.observations("distance") == {}
    with pytest.raises(windvane.DeclarationError, match=r"observations\('distanse'\).*did you mean 'distance'"):
        signals.observations("distanse")
    with pytest.raises(windvane.DeclarationError, match=r"violations\('distanse'\).*did you mean 'distance'"):
        signals.violations("distanse")
    with pytest.raises(windvane.DeclarationError, match=rf"did you mean '{model_name}'"):
        signals.of(model_name + "x")
    with pytest.raises(windvane.DeclarationError, match=r"of\('.*', '9'\): no such model"):
        signals.of(model_name, "9")


def test_calls_of_threads_and_tasks_are_captured(model_name: str) -> None:
    """Where the call ran does not matter."""
    model = make_model(model_name)
    predict = model.predict(lambda rows: 1.0)

    @model.predict
    async def predict_async(rows: Any) -> Any:
        await asyncio.sleep(0)
        return 1.0

    async def gather() -> None:
        await asyncio.gather(*(predict_async(ROWS) for _ in range(5)))

    with capture() as signals:
        threads = [threading.Thread(target=predict, args=(ROWS,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(gather())
    assert signals.durations == {None: 10}
    assert len(signals.predictions) == 10


def test_spans_of_a_host_with_an_sdk_are_captured_and_still_reach_it(host: Host, model_name: str) -> None:
    """The global provider stays the host's, gets its spans, and is the parent of the captured one."""
    predict = make_model(model_name).predict(lambda rows: 1.0)
    with capture() as signals, host.tracer.start_as_current_span("request") as request:
        predict(ROWS)
    assert [span.parent for span in signals.predictions] == [request.get_span_context()]
    assert {span.name for span in host.spans()} == {"request", f"predict {model_name}"}
    assert trace.get_tracer_provider() is host.tracer_provider
    assert metrics.get_meter_provider() is host.meter_provider


def test_many_captures_add_one_processor_to_the_hosts_provider(host: Host, model_name: str) -> None:
    """A long test session does not slow down test by test."""
    with capture():
        pass
    processors = host.tracer_provider._active_span_processor._span_processors
    for _ in range(3):
        with capture():
            pass
    assert host.tracer_provider._active_span_processor._span_processors == processors


def test_nested_models_show_who_called_whom(model_name: str) -> None:
    """The inner model's span has the outer's as its parent."""
    inner = make_model(f"{model_name}.inner").predict(lambda rows: 1.0)
    outer = make_model(f"{model_name}.outer").predict(inner)
    with capture() as signals:
        outer(ROWS)
    below, above = signals.predictions
    assert below.parent == above.context


WITHOUT_PROVIDERS = """
    import socket
    def refuse(*args):
        raise AssertionError("a connection was tried")
    socket.socket.connect = refuse
    from opentelemetry import metrics, trace
    import windvane
    from windvane.testing import capture
    predict = windvane.Model("m", version="1").predict(lambda rows: 1.0)
    providers = trace.get_tracer_provider(), metrics.get_meter_provider()
    with capture() as signals:
        predict([{"x": 1}])
    assert [span.name for span in signals.predictions] == ["predict m"], signals.predictions
    assert (signals.rows, signals.durations) == (1, {None: 1})
    assert providers == (trace.get_tracer_provider(), metrics.get_meter_provider())
    with capture() as signals:
        pass
    assert signals.predictions == []
"""


@pytest.mark.parametrize(
    "environment",
    [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_SAMPLER": "always_off"}],
    ids=["plain", "disabled", "unsampled"],
)
def test_without_providers_spans_are_captured_and_none_is_set(environment: dict[str, str]) -> None:
    """A unit test needs no OpenTelemetry set-up, also where the suite turns it off, and opens no connection."""
    done = run(WITHOUT_PROVIDERS, **environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_disabled_sdk_of_the_host_does_not_hide_the_spans() -> None:
    """The host's provider records nothing under OTEL_SDK_DISABLED; the capture does."""
    code = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        trace.set_tracer_provider(TracerProvider())
    """
    done = run(textwrap.dedent(code) + textwrap.dedent(WITHOUT_PROVIDERS), OTEL_SDK_DISABLED="true")
    assert (done.returncode, done.stderr) == (0, "")


def test_providers_set_after_a_capture_get_the_spans() -> None:
    """After the block windvane's tracer follows the global provider again."""
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        import windvane
        from windvane.testing import capture
        predict = windvane.Model("m", version="1").predict(lambda rows: 1.0)
        with capture() as before:
            predict([{"x": 1}])
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        predict([{"x": 1}])
        with capture() as after:
            predict([{"x": 1}])
        predict([{"x": 1}])
        assert len(before.predictions) == len(after.predictions) == 1
        assert len(exporter.get_finished_spans()) == 3
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_fixture_serves_a_users_own_suite(tmp_path: Path) -> None:
    """Imported in conftest.py, the fixture isolates the tests of a suite from each other."""
    (tmp_path / "conftest.py").write_text("from windvane.testing import captured_telemetry\n")
    (tmp_path / "test_user.py").write_text(
        textwrap.dedent("""
        import windvane
        predict = windvane.Model("m", version="1").predict(lambda rows: 1.0)
        def test_one(captured_telemetry):
            predict([{"x": 1}])
            assert captured_telemetry.rows == 1
        def test_two(captured_telemetry):
            predict([{"x": 1}, {"x": 2}])
            assert captured_telemetry.rows == 2
            assert len(captured_telemetry.predictions) == 1
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_no_pytest_is_needed() -> None:
    """Other frameworks use the context manager where pytest is not installed."""
    done = run(
        """
        import sys
        sys.modules["pytest"] = None
        from windvane import testing
        assert not hasattr(testing, "captured_telemetry")
        with testing.capture() as signals:
            assert signals.rows == 0
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
