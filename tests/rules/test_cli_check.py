"""`windvane rules render --format` and `check`: the forms of the rules, and what is deployed against them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from windvane_dashboards.cli_rules import command
from windvane_dashboards.cli_rules.rulefile import compare, parse_groups, seconds
from windvane_dashboards.rules import render
from windvane_dashboards.rules.model import MAX_RULES_PER_GROUP
from windvane_dashboards.server import CommandError
from windvane_processors.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result

FORMATS = ("prometheus", "mimir", "kubernetes")
BROKEN = "ml_model_feature_kind:ml_feature_violations:excess > 0.25"


def _rules(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(part) for part in arguments])


def _rendered(folder: Path, form: str = "prometheus", *options: str) -> list[Path]:
    done = _rules("render", "--format", form, "-o", folder, *options)
    assert done.exit_code == 0, done.output
    return sorted(folder.iterdir())


# --- render ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_the_same_rules_and_the_reasons(form: str, tmp_path: Path) -> None:
    """Groups, order and expressions are those of the rule files; comments stay."""
    paths = _rendered(tmp_path, form)
    expected = [group for name, text in render().items() for group in parse_groups(text, name)]
    found = [group for path in paths for group in parse_groups(path.read_text(), path.name)]
    assert sorted(found, key=lambda group: group["name"]) == sorted(expected, key=lambda group: group["name"])
    text = "".join(path.read_text() for path in paths)
    assert "# Far more values than in the reference are missing" in text
    assert max(len(group["rules"]) for group in found) <= MAX_RULES_PER_GROUP


def test_mimirs_file_has_one_namespace(tmp_path: Path) -> None:
    """Mimirtool takes a namespace once."""
    (path,) = _rendered(tmp_path, "mimir")
    assert yaml.load(path.read_text(), yaml.CSafeLoader)["namespace"] == "windvane"


def test_kubernetes_takes_an_object_for_each_file(tmp_path: Path) -> None:
    """Kind, name and labels; names that Kubernetes allows."""
    for path in _rendered(tmp_path, "kubernetes"):
        told = yaml.load(path.read_text(), yaml.CSafeLoader)
        assert (told["apiVersion"], told["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
        assert told["metadata"] == {"name": path.stem, "labels": {"app.kubernetes.io/name": "windvane"}}


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    """The line names what there is."""
    done = _rules("render", "--format", "zabbix")
    assert done.exit_code == 2
    assert "'zabbix' is not one of 'prometheus', 'mimir', 'kubernetes'" in done.output


# --- check of files -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_rendered_is_the_same_in_every_form(form: str, tmp_path: Path) -> None:
    """Also after another program has written the file anew."""
    paths = _rendered(tmp_path, form)
    for path in paths:
        path.write_text(yaml.dump_all([yaml.load(path.read_text(), yaml.CSafeLoader)], Dumper=yaml.CSafeDumper))
    done = _rules("check", *paths)
    assert done.exit_code == 0, done.output
    assert "the same: " in done.output


def test_a_file_edited_by_hand_is_shown_as_a_diff(tmp_path: Path) -> None:
    """Expression, wait and label of an alert; durations written otherwise are no change."""
    alerts, recording = _rendered(tmp_path)
    text = alerts.read_text().replace(BROKEN, BROKEN.replace("0.25", "0.9"))
    text = text.replace("keep_firing_for: 10m", "keep_firing_for: 600s").replace(
        'severity: "ticket"', "severity: page", 1
    )
    alerts.write_text(text)
    done = _rules("check", alerts, recording)
    assert done.exit_code == 1
    assert f"-    {BROKEN}" in done.output
    assert f"+    {BROKEN.replace('0.25', '0.9')}" in done.output
    assert "-  severity: ticket" in done.output
    assert "+  severity: page" in done.output
    assert "600s" not in done.output


def test_missing_foreign_moved_and_repeated_rules_are_named(tmp_path: Path) -> None:
    """One line each."""
    alerts, recording = _rendered(tmp_path)
    told = yaml.load(alerts.read_text(), yaml.CSafeLoader)
    rules = told["groups"][0]["rules"]
    gone = rules.pop(0)
    rules[0], rules[1] = rules[1], rules[0]
    rules.append({"alert": "TeamsOwn", "expr": "up == 0"})
    told["groups"].append({"name": "windvane-calls", "interval": "1m", "rules": [{"record": "a:b", "expr": "1"}]})
    alerts.write_text(yaml.dump(told, Dumper=yaml.CSafeDumper, sort_keys=False))
    done = _rules("check", recording, alerts)
    assert done.exit_code == 1
    assert f"missing  windvane-alerts-service: {gone['alert']}" in done.output
    assert "foreign  windvane-alerts-service: TeamsOwn" in done.output
    assert "another order" in done.output
    assert "foreign  windvane-calls: a:b\n         a second time" in done.output
    alone = _rules("check", alerts)
    assert "missing  windvane-owners\n" in alone.output


def test_other_options_and_another_interval_are_differences(tmp_path: Path) -> None:
    """Check takes the options of render."""
    paths = _rendered(tmp_path, "prometheus", "--method", "ks", "--dashboard-base", "https://g.example.org")
    assert _rules("check", *paths).exit_code == 1
    assert _rules("check", "--method", "ks", "--dashboard-base", "https://g.example.org", *paths).exit_code == 0
    faster = _rendered(tmp_path, "prometheus", "--faster", "60")
    assert "-interval: 60s" in _rules("check", *faster).output


@pytest.mark.stack
def test_promtool_has_its_say(tmp_path: Path) -> None:
    """An expression that Prometheus would refuse is failing, besides being changed; in each form."""
    for form in FORMATS:
        paths = _rendered(tmp_path / form, form)
        for path in paths:
            path.write_text(path.read_text().replace(BROKEN, "sum by (("))
        done = _rules("check", *paths)
        assert done.exit_code == 1
        assert "failing " in done.output
        assert "could not parse expression" in done.output
        assert "/rules.yml" not in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [b", "(line 2) is no YAML"),
        ("- a", "is no rule file: it needs `groups:`"),
        ("groups: [{rules: []}]", "a group without a name"),
        ("groups: [{name: a, rules: [{expr: b}]}]", "every rule needs `expr` and either `record` or `alert`"),
        ("groups: [{name: windvane-alerts-health, interval: soon}]", "'soon' is no duration"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
    ids=["no YAML", "no rules", "no name", "no alert", "no duration", "no text"],
)
def test_a_file_that_cannot_be_judged_is_named(text: str | bytes, said: str, tmp_path: Path) -> None:
    """Exit code 2."""
    path = tmp_path / "rules.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = _rules("check", path)
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.startswith("windvane: ")


def test_files_or_a_prometheus_are_asked_for() -> None:
    """Neither and both are refused."""
    assert "either rule files or --prometheus URL" in _rules("check").output


def test_two_rules_of_one_alert_are_compared_in_their_order() -> None:
    """As burn-rate alerts have them."""
    rules = [{"alert": "A", "expr": "x > 1"}, {"alert": "A", "expr": "x > 2"}]
    expected = [{"name": "g", "interval": "1m", "rules": rules}]
    assert compare(expected, [{"name": "g", "interval": "60s", "rules": rules}], everything=True) == []
    (found,) = compare(expected, [{"name": "g", "interval": "1m", "rules": rules[:1]}], everything=True)
    assert (found.status, found.rule) == ("missing", "A")


def test_durations_are_read_as_prometheus_writes_them() -> None:
    """Also those of several parts; anything else is refused."""
    assert [seconds(text) for text in ("59m30s", "1d", "1500ms", "0s", 0, None)] == [3570, 86_400, 1.5, 0, 0, 0]
    with pytest.raises(CommandError, match="'5 minutes' is no duration"):
        seconds("5 minutes")


# --- check of a Prometheus ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["prometheus", "prometheus-2"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A Prometheus of each line with the generated rules; a test that loads others puts them back."""
    with Stack(rules=render(), prometheus=request.param) as running:
        yield running


@contextlib.contextmanager
def _loaded(stack: Stack, **files: str) -> Iterator[None]:
    stack.reload_rules(files)
    try:
        yield
    finally:
        stack.reload_rules(render())


@pytest.mark.stack
@pytest.mark.xdist_group("rules-check")
def test_a_prometheus_with_the_generated_rules_is_the_same(stack: Stack) -> None:
    """Though it tells expressions in its own layout; others' rules beside them do not matter."""
    theirs = "groups: [{name: theirs, rules: [{alert: DiskFull, expr: disk > 1}]}]"
    with _loaded(stack, **{**render(), "theirs.yml": theirs}):
        done = _rules("check", "--prometheus", stack.prometheus_url)
    assert done.exit_code == 0, done.output


@pytest.mark.stack
@pytest.mark.xdist_group("rules-check")
def test_a_prometheus_with_other_rules_is_told_apart(stack: Stack) -> None:
    """Changed, missing, foreign in our groups, and our names in a group of somebody else."""
    files = render()
    alerts = (
        files["windvane-alerts.yml"].replace(BROKEN, BROKEN.replace("0.25", "0.9")).replace(" for: 10m", " for: 11m", 1)
    )
    told = yaml.load(files["windvane-recording.yml"], yaml.CSafeLoader)
    told["groups"][0]["rules"][0]["record"] = "ml_model:renamed:rate5m"
    theirs = "groups: [{name: theirs, rules: [{alert: MLFeatureDrift, expr: disk > 1}, {alert: Own, expr: disk > 1}]}]"
    other = {"alerts.yml": alerts, "recording.yml": yaml.dump(told, Dumper=yaml.CSafeDumper), "theirs.yml": theirs}
    with _loaded(stack, **other):
        done = _rules("check", "--prometheus", stack.prometheus_url)
    assert done.exit_code == 1
    assert "-for: 600s" in done.output
    assert "+for: 660s" in done.output
    assert "excess > 0.9" in done.output
    assert "foreign  windvane-calls: ml_model:renamed:rate5m" in done.output
    assert "foreign  theirs: MLFeatureDrift" in done.output
    assert "Own" not in done.output


@pytest.mark.parametrize(
    ("url", "said"),
    [("http://127.0.0.1:1", "connection refused"), ("http://windvane.invalid", "does not answer: ")],
    ids=["refused", "unknown host"],
)
def test_a_prometheus_that_does_not_answer_is_one_line(url: str, said: str) -> None:
    """Exit code 2: that is no difference."""
    done = _rules("check", "--prometheus", url)
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1


@pytest.mark.stack
@pytest.mark.xdist_group("rules-check")
def test_another_server_in_its_place_is_noticed(stack: Stack) -> None:
    """Alertmanager's API has other pages."""
    done = _rules("check", "--prometheus", stack.alertmanager_url)
    assert done.exit_code == 2
    assert "is this the address below which /api/v1 is?" in done.output
