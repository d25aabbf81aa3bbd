"""What the rule tests share: promtool of both Prometheus lines, and rendered rule files."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from windvane_dashboards.cli_rules.rulefile import parse_groups
from windvane_dashboards.rules import Timings, render, rule_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session", params=["promtool", "promtool-2"])
def promtool(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Return a function that runs promtool, of Prometheus 3 and of 2, and gives what it printed."""
    # Only where a test needs it: the other tests here run without the stack.
    from windvane_processors import stack  # noqa: PLC0415 - see above

    binary = stack.ensure([request.param])[request.param]

    def run(*arguments: object, succeeds: bool = True) -> str:
        command: list[str] = [str(binary), *map(str, arguments)]
        # Go collects its garbage more seldom: a fifth less time, for 200 MiB more.
        environment = {**os.environ, "GOGC": "400"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is succeeds, output
        return output

    return run


def _only(wanted: re.Pattern[str], text: str) -> str:
    groups = [group for group in parse_groups(text, "rules") if wanted.fullmatch(group["name"])]
    return yaml.dump({"groups": groups}, Dumper=yaml.CSafeDumper, width=10_000)


@pytest.fixture
def evaluate(promtool: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Return a function that asserts the value of expressions over given series, by promtool."""

    def run(
        series: dict[str, str],
        expectations: dict[str, float],
        *,
        at: str,
        interval: str = "1m",
        rules: dict[str, str] | None = None,
        only: str = "",
    ) -> str:
        # promtool evaluates all groups at one interval.
        files = render(Timings.at_one_interval()) if rules is None else rules
        if only:  # groups whose names match: a rule costs as much as a step has series
            files = {name: _only(re.compile(only), text) for name, text in files.items()}
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        groups = rule_set()
        case = {
            "interval": interval,
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": expr, "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
                for expr, value in expectations.items()
            ],
        }
        test = {
            "rule_files": sorted(files),
            "evaluation_interval": interval,
            "group_eval_order": [group.name for group in (*groups.recording, *groups.alerts)],
            "tests": [case],
        }
        path = tmp_path / "case.test.yml"
        path.write_text(yaml.safe_dump(test, width=10_000))
        output: str = promtool("test", "rules", path)
        return output

    return run
