"""Every dashboard against the types that Grafana publishes for 11, 12 and 13, by the TypeScript compiler.

`schema/types.ts` says of each kind of panel what its options and its custom fields are; an unknown key, a value of
another type and one that an enumeration does not have are errors.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from windvane_dashboards.boards import BOARDS

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).with_name("schema")
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "preserveSymlinks": True,
    "skipLibCheck": True,
    "types": [],
}

each_version = pytest.mark.parametrize("version", [11, 12, 13], ids="grafana-{}".format)


def errors(version: int, boards: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return what the compiler says of each dashboard that is none by the types of this version."""
    published = FOLDER / "node_modules" / f"grafana-schema-{version}"
    if not published.is_dir():
        pytest.fail(f"{published} is missing: run `make types`")
    (folder / "node_modules" / "@grafana").mkdir(parents=True)
    (folder / "node_modules" / "@grafana" / "schema").symlink_to(published)
    (folder / "types.ts").write_text((FOLDER / "types.ts").read_text())
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["*.ts"]}))
    for name, board in boards.items():
        literal = f"import type {{ Board }} from './types';\nexport const board: Board = {json.dumps(board)};\n"
        (folder / f"{name}.ts").write_text(literal)
    compiler = [Path(sys.executable).with_name("node"), FOLDER / "node_modules" / "typescript" / "bin" / "tsc"]
    done = subprocess.run(
        [*compiler, "--project", folder, "--pretty", "false"], capture_output=True, text=True, check=False, timeout=120
    )
    told = {
        Path(file).stem: text for file, text in re.findall(r"^(\S+\.ts)\(\d+,\d+\): (.+)", done.stdout, re.MULTILINE)
    }
    assert "types" not in told, told["types"]
    assert (done.returncode == 0) == (not told), done.stdout + done.stderr
    return told


@each_version
def test_every_dashboard_is_one_by_grafanas_types(version: int, tmp_path: Path) -> None:
    """Of the oldest release of 11 and the newest of 12 and 13."""
    assert errors(version, {board["uid"]: board for board in BOARDS}, tmp_path) == {}


def _mutants() -> dict[str, dict[str, Any]]:
    """Return a dashboard for each mistake, by its name."""
    mutants: dict[str, dict[str, Any]] = {}

    def mutant(name: str) -> dict[str, Any]:
        mutants[name] = json.loads(json.dumps(next(board for board in BOARDS if board["uid"] == "windvane-model")))
        return mutants[name]

    def panel(name: str, kind: str) -> dict[str, Any]:
        of_kind: dict[str, Any] = next(panel for panel in mutant(name)["panels"] if panel["type"] == kind)
        return of_kind

    mutant("unknown-key")["refreshEvery"] = "1m"
    mutant("unknown-cursor")["graphTooltip"] = 3
    del mutant("no-schema-version")["schemaVersion"]
    mutant("wrong-link")["links"][0]["type"] = "dashboard"
    mutant("variable-refresh")["templating"]["list"][1]["refresh"] = 3
    mutant("variable-current")["templating"]["list"][1]["current"] = {}
    del mutant("annotation-without-colour")["annotations"]["list"][0]["iconColor"]
    panel("unknown-panel", "stat")["type"] = "gauges"
    panel("unknown-panel-key", "stat")["desciption"] = "misspelt"
    panel("unknown-option", "stat")["options"]["colourMode"] = "value"
    panel("unknown-value-of-option", "stat")["options"]["graphMode"] = "areas"
    panel("unknown-calculation-place", "stat")["options"]["reduceOptions"]["calc"] = ["last"]
    panel("wrong-legend", "timeseries")["options"]["legend"]["placement"] = "below"
    panel("unknown-custom-field", "timeseries")["fieldConfig"]["defaults"]["custom"]["lineWith"] = 2
    panel("wrong-custom-field", "timeseries")["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines"
    panel("wrong-unit", "timeseries")["fieldConfig"]["defaults"]["unit"] = 1
    panel("wrong-colour", "timeseries")["fieldConfig"]["defaults"]["color"] = {"mode": "palette"}
    panel("wrong-threshold", "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] = "none"
    panel("wrong-override", "timeseries")["fieldConfig"]["overrides"][0]["properties"][0]["id"] = "colour"
    panel("wrong-custom-override", "timeseries")["fieldConfig"]["overrides"][0]["properties"][0] = {
        "id": "custom.lineStyle",
        "value": {"fill": "dashes"},
    }
    panel("wrong-cell", "table")["fieldConfig"]["defaults"]["custom"]["cellOptions"] = {"type": "colour-text"}
    panel("wrong-query", "timeseries")["targets"][0]["exemplars"] = True
    panel("wrong-grid", "timeseries")["gridPos"] = {"x": 0, "y": 0, "width": 12}
    return mutants


@each_version
def test_mistakes_are_found(version: int, tmp_path: Path) -> None:
    """Misspelt keys, values that no enumeration has and wrong types, from the dashboard down to an override."""
    mutants = _mutants()
    assert set(errors(version, mutants, tmp_path)) == set(mutants)


def test_what_only_newer_grafanas_have_is_found(tmp_path: Path) -> None:
    """An option that came after 11.0 would be lost there."""
    board = json.loads(json.dumps(BOARDS[0]))
    panel = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    panel["options"]["tooltip"]["hideZeros"] = True
    for version in (11, 13):
        (tmp_path / str(version)).mkdir()
    assert set(errors(11, {"newer": board}, tmp_path / "11")) == {"newer"}
    assert errors(13, {"newer": board}, tmp_path / "13") == {}
