"""The shipped configurations are what the pinned programs take."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from windvane_processors.stack.config import collector_config, generated

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = collector_config()


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CONFIG / name).read_text())
    return loaded


@pytest.mark.stack
@pytest.mark.parametrize(
    "files",
    [
        ["collector.yaml"],
        ["collector.yaml", "collector-traces.yaml"],
        ["collector.yaml", "collector-logs.yaml"],
        ["collector.yaml", "collector-profiles.yaml"],
        ["collector.yaml", "collector-traces.yaml", "collector-logs.yaml", "collector-profiles.yaml"],
    ],
    ids=" ".join,
)
def test_collector_accepts_its_configurations(
    stack_binaries: dict[str, Path], tmp_path: Path, files: list[str]
) -> None:
    """Alone, and with a back end for traces, for logs, for profiles, and for all of them."""
    flags = [f"--config={CONFIG / file}" for file in files]
    run(stack_binaries["otelcol"], "validate", *flags, WINDVANE_STORAGE=str(tmp_path))


@pytest.mark.stack
def test_collector_has_what_its_manifest_lists(stack_binaries: dict[str, Path]) -> None:
    """Each module of the manifest is in the program, at the manifest's version."""
    told = run(stack_binaries["otelcol"], "components")
    manifest = load("builder.yaml")
    for kind in ("receivers", "processors", "exporters", "extensions"):
        for component in manifest[kind]:
            assert component["gomod"] in told


@pytest.mark.stack
@pytest.mark.parametrize("promtool", ["promtool", "promtool-2"])
def test_both_lines_of_prometheus_accept_configuration_and_rules(
    stack_binaries: dict[str, Path], tmp_path: Path, promtool: str
) -> None:
    """The generated rules stand where the configuration looks for them."""
    (tmp_path / "prometheus.yml").write_text((CONFIG / "prometheus.yml").read_text())
    (tmp_path / "rules").symlink_to(generated() / "rules")
    told = run(stack_binaries[promtool], "check", "config", tmp_path / "prometheus.yml")
    assert "rules found" in told
    assert "FAILED" not in told


@pytest.mark.stack
def test_alertmanager_accepts_its_configuration(stack_binaries: dict[str, Path]) -> None:
    """By its own tool."""
    assert "SUCCESS" in run(stack_binaries["amtool"], "check-config", CONFIG / "alertmanager.yml")


@pytest.mark.stack
@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["team=arrivals", "severity=page"], "arrivals-oncall"),
        (["team=arrivals", "severity=critical"], "arrivals-oncall"),
        (["team=arrivals", "severity=ticket"], "arrivals-channel"),
        (["team=departures", "severity=page"], "departures-oncall"),
        (["team=departures", "severity=ticket"], "departures-channel"),
        (["team=gates", "severity=page"], "unowned"),
        (["severity=page"], "unowned"),
    ],
)
def test_alerts_are_routed_by_team_and_severity(
    stack_binaries: dict[str, Path], labels: list[str], receiver: str
) -> None:
    """What pages reaches whoever is on call, the rest the channel; without a known team, a last resort."""
    configuration = f"--config.file={CONFIG / 'alertmanager.yml'}"
    assert run(stack_binaries["amtool"], "config", "routes", "test", configuration, *labels).strip() == receiver


def test_routing_knows_nothing_of_windvane() -> None:
    """It plays what a company has already."""
    assert "windvane" not in yaml.safe_dump(load("alertmanager.yml"))
    assert "ml_" not in yaml.safe_dump(load("alertmanager.yml"))


def test_memory_limiter_is_first_wherever_something_is_received() -> None:
    """The second pipeline of metrics takes only what the first has let in."""
    pipelines = load("collector.yaml")["service"]["pipelines"]
    outer = [pipeline for pipeline in pipelines.values() if pipeline["receivers"] == ["otlp"]]
    assert len(outer) == 3
    assert all(pipeline["processors"][0] == "memory_limiter" for pipeline in outer)


def test_compose_file_uses_the_same_files_and_versions_and_loopback() -> None:
    """Every mounted file exists, every port is bound to loopback, versions are those of the native stack."""
    compose = load("compose.yaml")
    services = compose["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (CONFIG / source).exists(), volume
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert not service["image"].endswith(":latest")
    version = load("builder.yaml")["dist"]["version"]
    assert services["collector"]["image"].endswith(f":{version}")


def test_grafana_of_the_compose_file_is_provisioned_with_every_dashboard() -> None:
    """The provider reads the folder that is mounted; data sources know each other; the home page is a dashboard."""
    grafana = load("compose.yaml")["services"]["grafana"]
    mounts = {inside: (CONFIG / source).resolve() for source, inside, *_ in (v.split(":") for v in grafana["volumes"])}
    (provider,) = load("grafana/dashboards.yaml")["providers"]
    dashboards = {path.name for path in mounts[provider["options"]["path"]].glob("*.json")}
    assert len(dashboards) >= 6
    folder, _, home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")
    assert folder == provider["options"]["path"]
    assert home in dashboards
    assert 11 <= int(grafana["image"].partition(":")[2].partition(".")[0]) <= 13
    sources = {source["uid"]: source for source in load("grafana/datasources.yaml")["datasources"]}
    (default,) = (source for source in sources.values() if source.get("isDefault"))
    assert default["type"] == "prometheus"  # what the variable of the dashboards offers first
    exemplars, traces = default["jsonData"]["exemplarTraceIdDestinations"], sources["tempo"]["jsonData"]
    assert [(one["name"], sources[one["datasourceUid"]]["type"]) for one in exemplars] == [("trace_id", "tempo")]
    assert sources[traces["tracesToLogsV2"]["datasourceUid"]]["type"] == "loki"
