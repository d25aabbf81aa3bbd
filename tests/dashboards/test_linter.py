"""Grafana's own dashboard linter on every dashboard, with what `dashboards/.lint` leaves out and why."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from windvane_dashboards.boards import render

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.stack

LEFT_OUT = Path(__file__).parents[2] / "dashboards" / ".lint"
BOARDS = render()


@pytest.fixture(scope="module")
def linter(stack_binaries: dict[str, Path]) -> Path:
    return stack_binaries["dashboard-linter"]


def lint(linter: Path, text: str, folder: Path, *, configuration: Path | None = LEFT_OUT) -> tuple[int, str]:
    """Run the linter; return its exit code and what it says of each rule that something breaks."""
    file = folder / "board.json"
    file.write_text(text)
    command = [linter, "lint", "--strict", file, *(["--config", configuration] if configuration else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def broken_rules(linter: Path, told: str) -> set[str]:
    """Return the names of the rules below whose description an error stands."""
    printed = subprocess.run([linter, "rules"], capture_output=True, text=True, check=True, timeout=60).stdout
    names = {description: name for name, description in re.findall(r"\* `([\w-]+)` - (.+)", printed)}
    assert len(names) > 15
    found, current = set(), ""
    for line in told.splitlines():
        current = names.get(line, current)
        if line.startswith("["):
            found.add(current)
    return found


@pytest.mark.parametrize("name", BOARDS)
def test_the_linter_has_nothing_to_say(linter: Path, tmp_path: Path, name: str) -> None:
    """No error and no warning, beyond what is left out."""
    code, told = lint(linter, BOARDS[name], tmp_path)
    assert code == 0, told


def test_what_is_left_out_has_a_reason_and_is_needed(linter: Path, tmp_path: Path) -> None:
    """Without the list exactly its rules are broken: none stands there in vain."""
    excluded = yaml.safe_load(LEFT_OUT.read_text())["exclusions"]
    assert all(len(rule["reason"]) > 30 for rule in excluded.values())
    told = ""
    for text in BOARDS.values():
        code, one = lint(linter, text, tmp_path, configuration=None)
        assert code != 0
        told += one
    assert broken_rules(linter, told) == set(excluded)
    without_unit = set(re.findall(r"Dashboard '([^']+)', panel '([^']+)' has no or invalid units", told))
    assert without_unit == {(one["dashboard"], one["panel"]) for one in excluded["panel-units-rule"]["entries"]}


def _first(board: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(panel for panel in board["panels"] if panel["type"] == kind)


def _set(value: object, *keys: str | int) -> Callable[[dict[str, Any]], None]:
    """Return what puts a value into the first line chart."""

    def mutate(board: dict[str, Any]) -> None:
        at: Any = _first(board, "timeseries")
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = value

    return mutate


def _set_variable(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda board: board["templating"]["list"][1].update(changes)


@pytest.mark.parametrize(
    ("rule", "mutate"),
    [
        ("panel-title-description-rule", _set("", "description")),
        ("panel-units-rule", _set("furlongs", "fieldConfig", "defaults", "unit")),
        ("panel-datasource-rule", _set("prometheus-of-one-grafana", "datasource", "uid")),
        ("panel-no-targets-rule", _set(None, "targets")),
        ("target-promql-rule", _set("sum(up", "targets", 0, "expr")),
        ("target-rate-interval-rule", _set("rate(up_total[5m])", "targets", 0, "expr")),
        ("target-counter-agg-rule", _set("sum(up_total)", "targets", 0, "expr")),
        ("template-label-promql-rule", _set_variable(query="label_valuse(up, job)")),
        ("template-on-time-change-reload-rule", _set_variable(refresh=1)),
        ("template-datasource-rule", lambda board: board["templating"]["list"][0].update(name="ds")),
    ],
)
def test_the_linter_sees_mistakes(
    linter: Path, tmp_path: Path, rule: str, mutate: Callable[[dict[str, Any]], None]
) -> None:
    """Each rule that applies fails on a dashboard that breaks it."""
    board = json.loads(BOARDS["windvane-model.json"])
    mutate(board)
    code, told = lint(linter, json.dumps(board), tmp_path)
    assert code != 0
    assert rule in broken_rules(linter, told)
