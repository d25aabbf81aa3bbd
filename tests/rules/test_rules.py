"""The rendered rules as text: names, limits, what every alert carries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from windvane import semconv
from windvane_dashboards.cli_rules import command
from windvane_dashboards.cli_rules.rulefile import parse_groups
from windvane_dashboards.promql import OWNER_REPORTING, SOURCE_DECLARED
from windvane_dashboards.rules import ALERT_NAMES, METHODS, Links, Timings, render
from windvane_dashboards.rules.model import MAX_RULES_PER_GROUP

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
FACTORS = (1, 60)


def _groups(files: dict[str, str]) -> list[dict[str, Any]]:
    return [group for name, text in files.items() for group in parse_groups(text, name)]


def _rules(files: dict[str, str]) -> list[dict[str, Any]]:
    return [rule for group in _groups(files) for rule in group["rules"]]


def _alerts() -> list[dict[str, Any]]:
    return [rule for rule in _rules(render()) if "alert" in rule]


def test_no_group_has_more_rules_than_mimir_takes() -> None:
    """Also with every drift statistic."""
    assert max(len(group["rules"]) for group in _groups(render(methods=METHODS))) <= MAX_RULES_PER_GROUP


def test_recorded_names_are_unique_and_do_not_depend_on_the_clock() -> None:
    """Dashboards and alerts stay as they are when a demonstration runs faster."""
    names = [
        [rule["record"] for rule in _rules(render(Timings().faster(factor), methods=METHODS)) if "record" in rule]
        for factor in FACTORS
    ]
    assert names[0] == names[1]
    assert len(names[0]) == len(set(names[0]))


@pytest.mark.parametrize("factor", FACTORS)
def test_every_name_in_an_expression_is_a_metric_a_label_or_recorded(factor: float) -> None:
    """A misspelt name would make a rule silently empty."""
    rules = _rules(render(Timings().faster(factor), methods=METHODS))
    known = {rule["record"] for rule in rules if "record" in rule} | {a.label for a in semconv.ATTRIBUTES}
    for metric in semconv.METRICS:
        known.add(metric.prometheus_name)
        if metric.instrument == "histogram":
            known |= {metric.prometheus_name + suffix for suffix in ("_bucket", "_count", "_sum")}
    used = {name for rule in rules for name in re.findall(r"\b(?:ml|windvane)_[a-z0-9_:]+", rule["expr"])}
    assert used <= known


def test_every_recorded_series_is_read_before_it_is_aggregated_away() -> None:
    """A rule reads what its own group recorded above it, never below, where it would lag by an interval.

    The choices of owners and sources are the exception: they read their own last values on purpose.
    """
    for group in _groups(render(methods=METHODS)):
        names = [rule.get("record") for rule in group["rules"]]
        for position, rule in enumerate(group["rules"]):
            used = set(re.findall(r"\b(?:ml|windvane)_[a-z0-9_:]+", rule["expr"]))
            late = used & set(names[position:]) - {OWNER_REPORTING, SOURCE_DECLARED}
            assert not late, f"{names[position]} reads {late}"


def test_the_alerts_are_those_that_are_announced() -> None:
    """`ALERT_NAMES` is what others rely on."""
    assert tuple(alert["alert"] for alert in _alerts()) == ALERT_NAMES


@pytest.mark.parametrize("alert", _alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_tells_what_to_do_and_whom_it_belongs_to(alert: dict[str, Any]) -> None:
    """Summary, description, runbook and dashboard are there; team comes from the join."""
    annotations = alert["annotations"]
    assert set(annotations) == {"summary", "description", "runbook_url", "windvane_runbook_url", "dashboard_url"}
    assert all(annotations.values())
    assert "$labels.ml_model_name" in annotations["summary"]
    assert "var-model=" in annotations["dashboard_url"]
    # MLTelemetryAbsent's own series carries the owner; every other alert joins it.
    assert re.search(r"group_left \([^)]*team", alert["expr"]) or "last_seen" in alert["expr"]


def test_only_what_pages_takes_the_owners_severity() -> None:
    """Drift and traffic are tickets whatever the owner declared."""
    severities = {alert["alert"]: alert["labels"].get("severity", "the owner's") for alert in _alerts()}
    paging = {name for name, severity in severities.items() if severity == "the owner's"}
    assert paging == {
        "MLModelErrors",
        "MLModelLatency",
        "MLFeatureBroken",
        "MLProbeFailing",
        "MLModelQuality",
        "MLTelemetryAbsent",
    }
    assert {severities[name] for name in severities.keys() - paging} == {"ticket"}


def test_each_alert_has_a_runbook_with_every_section_and_no_page_is_left_over() -> None:
    """Pages and alerts stay in step."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERT_NAMES)
    sections = ["Meaning", "Impact", "First look", "Likely causes", "Mend", "When to silence"]
    for name in ALERT_NAMES:
        text = (RUNBOOKS / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == sections


def test_links_point_where_they_are_told_to() -> None:
    """A published documentation and a Grafana elsewhere are two parameters."""
    links = Links(runbook_base="https://docs.example.org/windvane/", dashboard_base="https://grafana.example.org/")
    alert = next(rule for rule in _rules(render(links=links)) if rule.get("alert") == "MLFeatureDrift")
    page = "https://docs.example.org/windvane/MLFeatureDrift.md"
    assert alert["annotations"]["windvane_runbook_url"] == page
    assert page in alert["annotations"]["runbook_url"]
    assert alert["annotations"]["dashboard_url"].startswith("https://grafana.example.org/d/windvane-feature?")


def test_an_unknown_statistic_is_refused_with_the_known_ones() -> None:
    """The message names what there is."""
    with pytest.raises(ValueError, match=r"'wasserstein'; there are psi, js_divergence, hellinger, ks"):
        render(methods=["wasserstein"])


@pytest.mark.parametrize("factor", [0, -1, float("nan"), 1e9])
def test_a_clock_that_cannot_be_is_refused(factor: float) -> None:
    """PromQL tells milliseconds; half an interval must be one."""
    with pytest.raises(ValueError, match="factor"):
        Timings().faster(factor)


def test_a_faster_clock_scales_every_window_and_wait() -> None:
    """An hour is a minute, and the half interval that is left off stays half an interval."""
    files = render(Timings().faster(60))
    groups = _groups(files)
    assert {group["interval"] for group in groups} == {"1s", "4s", "20s"}
    assert "[59s500ms]) * 1\n" in files["windvane-recording.yml"]
    waits = {rule["alert"]: rule["for"] for rule in _rules(files) if "alert" in rule}
    assert waits["MLFeatureDrift"] == "10s"


def test_the_command_writes_the_same_files(tmp_path: Path) -> None:
    """`windvane rules render -o` is `render`."""
    done = CliRunner().invoke(command, ["render", "--faster", "60", "--method", "ks", "-o", str(tmp_path / "rules")])
    assert done.exit_code == 0, done.output
    expected = render(Timings().faster(60), methods=["psi", "hellinger", "ks"])
    assert {path.name: path.read_text() for path in (tmp_path / "rules").iterdir()} == expected


def test_the_command_prints_without_a_directory() -> None:
    """Both files, parted as YAML documents."""
    done = CliRunner().invoke(command, ["render"])
    assert done.exit_code == 0
    assert len(list(yaml.safe_load_all(done.output))) == 2


def test_the_command_refuses_a_factor_that_cannot_be() -> None:
    """A line that names the option, no traceback."""
    done = CliRunner().invoke(command, ["render", "--faster", "1e9"])
    assert done.exit_code == 2
    assert "--faster" in done.output
