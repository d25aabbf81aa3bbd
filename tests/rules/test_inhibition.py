"""The example of inhibition rules, in a real Alertmanager."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from windvane_dashboards.rules import ALERT_NAMES
from windvane_dashboards.server import Server
from windvane_processors.stack import Child, answers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stack

EXAMPLE = Path(__file__).parents[2] / "collector-config" / "alertmanager-inhibition.example.yml"


@pytest.fixture
def alertmanager(stack_binaries: dict[str, Path], tmp_path: Path) -> Iterator[Server]:
    """An Alertmanager with the example below its own route."""
    path = tmp_path / "alertmanager.yml"
    own = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    path.write_text(yaml.safe_dump(own | yaml.safe_load(EXAMPLE.read_text())))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    flags = [f"--config.file={path}", f"--storage.path={tmp_path / 'data'}", f"--web.listen-address={address}"]
    child = Child(
        "alertmanager", [stack_binaries["alertmanager"], *flags, "--cluster.listen-address="], tmp_path / "log"
    )
    child.start(lambda: answers(f"http://{address}/-/ready"))
    try:
        yield Server("Alertmanager", f"http://{address}")
    finally:
        child.stop()


def _alert(name: str, *, model: str = "fares", version: str = "3", feature: str = "") -> dict[str, Any]:
    labels = {"alertname": name, "ml_model_name": model, "ml_model_version": version, "ml_feature_name": feature}
    return {"labels": {key: text for key, text in labels.items() if text}}


def _inhibits(alertmanager: Server, alerts: list[dict[str, Any]], expected: list[bool]) -> None:
    """Post alerts and wait until those that are expected to be inhibited are; then no other may be."""
    body, headers = json.dumps(alerts).encode(), {"content-type": "application/json"}
    alertmanager.request("POST", "/api/v2/alerts", body=body, headers=headers)
    keys = [json.dumps(one["labels"], sort_keys=True) for one in alerts]
    deadline = time.monotonic() + 10
    found: list[bool] = []
    while found != expected and time.monotonic() < deadline:
        time.sleep(0.05)
        told = json.loads(alertmanager.request("GET", "/api/v2/alerts")[1])
        inhibited = {json.dumps(one["labels"], sort_keys=True): bool(one["status"]["inhibitedBy"]) for one in told}
        found = [inhibited.get(key, False) for key in keys]
    assert found == expected


def test_a_broken_feature_inhibits_its_drift_and_no_others(alertmanager: Server) -> None:
    """Only that feature's, of that version."""
    alerts = [
        _alert("MLFeatureBroken", feature="wind"),
        _alert("MLFeatureDrift", feature="wind"),
        _alert("MLFeatureViolations", feature="wind"),
        _alert("MLOutputDrift", feature="delay"),
        _alert("MLFeatureDrift", feature="rain"),
        _alert("MLFeatureDrift", feature="wind", version="4"),
        _alert("MLModelErrors"),
    ]
    _inhibits(alertmanager, alerts, [False, True, True, True, False, False, False])


def test_absent_telemetry_inhibits_all_of_its_model_but_itself(alertmanager: Server) -> None:
    """In any version; not what probes find, who need no telemetry of the model; another model's alerts stay."""
    others = [name for name in ALERT_NAMES if name not in {"MLTelemetryAbsent", "MLProbeFailing", "MLProbeStopped"}]
    alerts = [
        _alert("MLTelemetryAbsent"),
        *(_alert(name, version="4", feature="wind") for name in others),
        _alert("MLFeatureDrift", model="routes", feature="wind"),
        _alert("MLProbeFailing"),
        _alert("MLProbeStopped"),
    ]
    _inhibits(alertmanager, alerts, [False, *[True] * len(others), False, False, False])


def test_what_pages_inhibits_its_tickets(alertmanager: Server) -> None:
    """Errors those on the error budget, latency those on its own."""
    alerts = [
        _alert("MLModelErrors"),
        _alert("MLErrorBudgetBurn"),
        _alert("MLCanaryErrors"),
        _alert("MLLatencyBudgetBurn"),
    ]
    _inhibits(alertmanager, alerts, [False, True, True, False])
