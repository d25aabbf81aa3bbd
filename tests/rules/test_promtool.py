"""The rules as Prometheus reads them: checked, and tested by promtool over written-out series."""

from __future__ import annotations

import functools
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from windvane_dashboards.cli_rules.rulefile import parse_groups, seconds
from windvane_dashboards.promql import duration
from windvane_dashboards.rules import ALERT_NAMES, METHODS, Timings, render, rule_set

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.stack

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.test.yml"))


def _whole(tests: str, folder: Path) -> str:
    """Put before the tests of a case what promtool needs besides: the rules, and the order of their groups.

    The rules are rendered for the one interval at which promtool evaluates all groups. The tests stay the text that
    they are: PyYAML and promtool disagree on what `0x60` is. A case names in a line `# Groups: ...` the groups that it
    needs, and one over days in a line `# Interval: ...` a longer one, since promtool takes its time for each.
    """
    found = re.search(r"^# Groups: (.+)$", tests, flags=re.MULTILINE)
    wanted = found[1].split() if found else None
    longer = re.search(r"^# Interval: (\d+)m$", tests, flags=re.MULTILINE)
    timings = Timings.at_one_interval(timedelta(minutes=int(longer[1]) if longer else 1))
    rules = rule_set()
    files = []
    for name, text in render(timings).items():
        groups = [g for g in parse_groups(text, name) if wanted is None or g["name"] in wanted]
        files.append(folder / name)
        files[-1].write_text(yaml.dump({"groups": groups}, Dumper=yaml.CSafeDumper))
    return (
        yaml.safe_dump(
            {
                "rule_files": list(map(str, files)),
                "evaluation_interval": duration(timings.interval),
                "group_eval_order": [
                    group.name for group in (*rules.recording, *rules.alerts) if wanted is None or group.name in wanted
                ],
            },
            width=10_000,
        )
        + tests
    )


@pytest.mark.parametrize("factor", [1, 60, 7])
def test_promtool_accepts_the_rules_at_any_speed(promtool: Callable[..., str], tmp_path: Path, factor: float) -> None:
    """Windows that are no whole minutes or seconds are valid too."""
    files = []
    for name, text in render(Timings().faster(factor), methods=METHODS).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    assert "SUCCESS" in promtool("check", "rules", *files)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name.split(".")[0])
def test_alerts_fire_stay_quiet_and_resolve(promtool: Callable[..., str], case: Path, tmp_path: Path) -> None:
    """The cases beside this file hold on both lines of Prometheus."""
    path = tmp_path / case.name
    path.write_text(_whole(case.read_text(), tmp_path))
    promtool("test", "rules", path)


def test_a_wrong_expectation_fails(promtool: Callable[..., str], tmp_path: Path) -> None:
    """A promtool that passes whatever it is given would prove nothing."""
    tests = (HERE / "canary_output.test.yml").read_text()
    assert "severity: ticket" in tests
    path = tmp_path / "wrong.test.yml"
    path.write_text(_whole(tests.replace("severity: ticket", "severity: page"), tmp_path))
    assert "FAILED" in promtool("test", "rules", path, succeeds=False)


@functools.cache
def _cases() -> list[dict[str, Any]]:
    return [case for path in CASES for case in yaml.load(path.read_text(), yaml.CSafeLoader)["tests"]]


def test_every_alert_has_a_case_that_fires() -> None:
    """No alert is shipped that nothing has seen firing with its text."""
    fired = {test["alertname"] for case in _cases() for test in case.get("alert_rule_test", []) if test["exp_alerts"]}
    assert fired == set(ALERT_NAMES)


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_every_alert_is_quiet_before_it_fires_and_resolves(alert: str) -> None:
    """In one case, by what promtool was told to expect of it: nothing, then firing, then nothing again."""
    told = [_told(alert, case) for case in _cases()]
    assert any(quiet and fired and min(quiet) < min(fired) for quiet, fired in told)
    assert any(quiet and fired and max(quiet) > max(fired) for quiet, fired in told)


def _told(alert: str, case: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return the seconds at which a case says that an alert does not fire, and that it does."""
    quiet, fired = [], []
    for test in case.get("alert_rule_test", []):
        if test["alertname"] == alert:
            (fired if test["exp_alerts"] else quiet).append(seconds(test["eval_time"]))
    for test in case.get("promql_expr_test", []):
        name = re.search(r'alertname="(\w+)"', test["expr"])
        if test["expr"].startswith("ALERTS") and (name is None or name[1] == alert):
            shown = any(f'"{alert}", alertstate="firing"' in one["labels"] for one in test["exp_samples"])
            (fired if shown else quiet).append(seconds(test["eval_time"]))
    return quiet, fired
