"""From a decorated call to a delivered alert, over the real Collector, Prometheus and Alertmanager."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from receivers import OtlpReceiver, WebhookReceiver

import windvane
from windvane import semconv
from windvane_dashboards.rules import Timings, render
from windvane_processors.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

RUNBOOK = "https://wiki.example.com/flight-delay"
DISTANCE = f'{{{semconv.FEATURE_NAME.label}="distance"}}'


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return what the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.25)
    return result


class Run:
    """One run of everything: the stack, the service and what was received."""

    def __init__(
        self, stack: Stack, traces: OtlpReceiver, hooks: WebhookReceiver, service: subprocess.Popen[str]
    ) -> None:
        self.stack = stack
        self.traces = traces
        self.hooks = hooks
        self.report: dict[str, Any] = {}
        self.psi: tuple[float, float, float] = (math.nan, math.nan, math.nan)
        self._service = service

    def tell(self, **order: str) -> None:
        assert self._service.stdin is not None
        self._service.stdin.write(json.dumps(order) + "\n")
        self._service.stdin.flush()

    def alert(self, name: str, status: str = "firing") -> list[tuple[str, dict[str, Any]]]:
        return [
            (path, alert)
            for path, alert in list(self.hooks.alerts)
            if alert["labels"]["alertname"] == name and alert["status"] == status
        ]


def recorded(stack: Stack, name: str, seconds: int = 5) -> dict[tuple[float, str], float]:
    """Samples of a recorded series of `distance` by time and bin."""
    answer = httpx.get(
        f"{stack.prometheus_url}/api/v1/query", params={"query": f"{name}{DISTANCE}[{seconds}s]"}, timeout=30
    ).json()
    return {
        (at, series["metric"].get(semconv.FEATURE_BIN.label, "")): float(value)
        for series in answer["data"]["result"]
        for at, value in series["values"]
    }


def psi(live: np.ndarray[Any, Any], reference: np.ndarray[Any, Any]) -> float:
    """PSI with half a row added to each bin that is used on either side."""
    used = (live + reference) > 0
    p, q = live[used] + 0.5, reference[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((p - q) * np.log(p / q)).sum())


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("prometheus", "prometheus-2")],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Play the story once: sound traffic, then broken, with a restart of the Collector in between."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    frame = {
        "distance": rng.gamma(4.0, 250.0, 5000),
        "carrier": rng.choice(["AA", "UA", "DL"], 5000),
        "score": rng.uniform(size=5000),
    }
    baseline = windvane.Baseline.from_frame(frame, model="flight-delay", version="7", output="score")
    baseline.save(folder / "baseline.json")
    traces, hooks = OtlpReceiver(), WebhookReceiver()
    receivers = ("unowned", "arrivals-channel", "arrivals-oncall", "departures-channel", "departures-oncall")
    try:
        with Stack(
            workdir=folder / "stack",
            rules=render(timings=Timings().faster(60)),
            evaluation_interval="1s",
            webhooks={name: f"{hooks.endpoint}/{name}" for name in receivers},
            routing={"group_wait": "0s", "group_interval": "1s"},
            prometheus=request.param,
            traces=traces.endpoint,
        ) as stack:
            environment = {
                "OTEL_SERVICE_NAME": "flights",
                "OTEL_EXPORTER_OTLP_ENDPOINT": stack.otlp_http,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "500",
            }
            service = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("service.py"), folder / "baseline.json"],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                text=True,
            )
            try:
                played = Run(stack, traces, hooks, service)
                play(played, baseline, folder / "report.json")
                service.wait(30)
                yield played
            finally:
                service.kill()
                service.wait()
                assert service.stdin is not None
                service.stdin.close()
    finally:
        traces.close()
        hooks.close()


def play(run: Run, baseline: windvane.Baseline, report: Path) -> None:
    """Wait for each effect, so that a fast machine does not wait for a slow one's sake."""
    stack = run.stack
    total = f"sum({semconv.FEATURE_OBSERVATIONS.prometheus_name}{DISTANCE})"
    wait_for(lambda: [s for s in stack.query(total) if s.value > 100], 30, "the first metrics")
    run.tell(mode="broken")
    broken_since = time.monotonic()
    stack.stop("otelcol")
    time.sleep(3)
    stack.start("otelcol")
    wait_for(lambda: run.alert("MLFeatureDrift") and run.alert("MLFeatureBroken"), 90, "both alerts")

    # From then on the windows of a minute and of the rate hold broken rows alone.
    time.sleep(max(0.0, broken_since + 75 - time.monotonic()))
    counts = recorded(stack, "ml_model_feature_bin:ml_feature_observations:increase1h")
    values = recorded(stack, "ml_model_feature:ml_feature_psi:1h")
    times = sorted({at for at, _ in values} & {at for at, _ in counts})
    feature = baseline.inputs[0]
    reference = np.array(feature.counts, dtype=float)
    live = np.array([counts[times[-1], label] for label in feature.bins.labels])
    run.psi = (values[times[-1], ""], psi(live, reference), math.nan)

    run.tell(stop=str(report))
    run.report = wait_for(lambda: report.exists() and report.read_text() and json.loads(report.read_text()), 40, "stop")
    raw, _ = feature.bins.count(np.array(run.report["sent"]["broken"]))
    run.psi = (*run.psi[:2], psi(raw.astype(float), reference))


def test_no_count_is_lost_over_a_restart_of_the_collector(run: Run) -> None:
    """Every row that was sent stands in Prometheus, once."""
    sent = sum(map(len, run.report["sent"].values()))
    assert run.report["flushed"]
    for feature in ("distance", "carrier", "score"):
        query = f'sum({semconv.FEATURE_OBSERVATIONS.prometheus_name}{{{semconv.FEATURE_NAME.label}="{feature}"}})'
        wait_for(lambda q=query: run.stack.query(q)[0].value == sent, 10, f"{feature}: {sent} rows")
    rows = run.stack.query(f"sum({semconv.PREDICTION_ROWS.prometheus_name})")
    assert rows[0].value == sent


def test_psi_in_prometheus_equals_numpy(run: Run) -> None:
    """On the recorded counts to 1e-9; on the raw rows to 2 %, since `increase` extrapolates."""
    in_prometheus, on_counts, on_rows = run.psi
    assert in_prometheus > 0.2
    assert in_prometheus == pytest.approx(on_counts, rel=1e-9)
    assert in_prometheus == pytest.approx(on_rows, rel=0.02)


def test_the_ticket_names_the_feature_and_reaches_the_team(run: Run) -> None:
    """Drift goes to the team's channel as a ticket with the owner's runbook."""
    alerts = [(path, a) for path, a in run.alert("MLFeatureDrift") if a["labels"]["ml_feature_name"] == "distance"]
    assert alerts
    for path, alert in alerts:
        assert path == "arrivals-channel"
        assert alert["labels"]["team"] == "arrivals"
        assert alert["labels"]["severity"] == "ticket"
        assert alert["annotations"]["runbook_url"] == RUNBOOK
        assert {"summary", "description", "dashboard_url"} <= set(alert["annotations"])


def test_the_page_carries_the_severity_that_the_owner_declared(run: Run) -> None:
    """A broken feature goes to whoever is on call."""
    alerts = run.alert("MLFeatureBroken")
    assert {a["labels"]["ml_feature_name"] for _, a in alerts} == {"carrier"}
    for path, alert in alerts:
        assert path == "arrivals-oncall"
        assert alert["labels"]["severity"] == "critical"
        assert alert["labels"]["ml_violation_kind"] == "missing"
        assert alert["annotations"]["runbook_url"] == RUNBOOK


def test_every_name_in_prometheus_is_in_the_conventions(run: Run) -> None:
    """Series and labels under `ml_` and `windvane_` are those that the conventions define, and no others."""
    known: dict[str, set[str]] = {}
    for metric in semconv.METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.instrument == "histogram" else ("",)
        for suffix in suffixes:
            known[metric.prometheus_name + suffix] = {a.label for a in metric.attributes}
    found = httpx.get(
        f"{run.stack.prometheus_url}/api/v1/series",
        params={"match[]": '{__name__=~"(ml|windvane)_[^:]*"}'},
        timeout=30,
    ).json()["data"]
    names = {series["__name__"] for series in found}
    assert semconv.FEATURE_OBSERVATIONS.prometheus_name in names
    assert semconv.MODEL_INFO.prometheus_name in names
    for series in found:
        name = series.pop("__name__")
        assert name in known
        assert set(series) <= known[name] | {"job", "instance", "le"}, name


def test_the_prediction_is_a_child_of_the_host_span(run: Run) -> None:
    """The trace shows the prediction where it happened."""
    spans = run.traces.spans()
    requests = {span.span_id for span in spans if span.name == "request"}
    predictions = [span for span in spans if span.name == "predict flight-delay"]
    assert predictions
    assert all(span.parent_span_id in requests for span in predictions)
    allowed = {attribute.name for attribute in semconv.ATTRIBUTES}
    assert {pair.key for span in predictions for pair in span.attributes} <= allowed


def test_an_exemplar_leads_from_the_latency_to_the_trace(run: Run) -> None:
    """Prometheus keeps exemplars whose trace was received."""
    answer = httpx.get(
        f"{run.stack.prometheus_url}/api/v1/query_exemplars",
        params={
            "query": f"{semconv.PREDICTION_DURATION.prometheus_name}_bucket",
            "start": time.time() - 600,
            "end": time.time() + 60,
        },
        timeout=30,
    ).json()["data"]
    exemplars = {exemplar["labels"]["trace_id"] for series in answer for exemplar in series["exemplars"]}
    assert exemplars
    assert exemplars & {span.trace_id.hex() for span in run.traces.spans()}
