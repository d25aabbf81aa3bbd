"""The Model dashboard as Grafana reads it."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from windvane import semconv
from windvane_dashboards import grafana
from windvane_dashboards.cli_dashboards import command
from windvane_dashboards.dashboards import render
from windvane_dashboards.rules import METHODS
from windvane_dashboards.rules import render as render_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARD: dict[str, Any] = json.loads(render()["windvane-model.json"])
PANELS: list[dict[str, Any]] = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
PALETTE = {
    value for name, value in vars(grafana).items() if name.isupper() and isinstance(value, str) and value[0] == "#"
}


def _values(node: object, key: str) -> Iterator[Any]:
    """Yield every value that stands under a key, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _values(value, key)


def test_the_dashboard_is_found_where_alerts_link_to() -> None:
    """The uid is in every alert's dashboard_url, and its variables are the ones that links set."""
    assert BOARD["uid"] == "windvane-model"
    links = re.findall(r"/d/([\w-]+)\?(\S+)", render_rules()["windvane-alerts.yml"])
    assert links
    names = {variable["name"] for variable in BOARD["templating"]["list"]}
    for uid, query in links:
        assert uid == BOARD["uid"]
        assert set(re.findall(r"var-(\w+)=", query)) <= names


def test_the_data_source_is_a_variable_everywhere() -> None:
    """The dashboard knows no data source of a particular Grafana."""
    sources = list(_values(BOARD, "datasource"))
    assert len(sources) > 40
    assert {(source["type"], source["uid"]) for source in sources} == {("prometheus", "${datasource}")}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_says_how_to_read_it(panel: dict[str, Any]) -> None:
    """A description in sentences; a unit wherever a number is drawn."""
    assert panel["description"].endswith(".")
    assert len(panel["description"]) > 40
    if panel["type"] != "table":
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


def test_colours_are_told_apart_by_people_of_any_colour_vision() -> None:
    """Every colour is of one palette, and every series of a chart has one of its own."""
    used = {*_values(BOARD, "fixedColor"), *_values(BOARD, "iconColor")}
    used |= {step["color"] for steps in _values(BOARD, "steps") for step in steps}
    assert used <= PALETTE
    for panel in PANELS:
        if panel["type"] in {"timeseries", "barchart"}:
            shades = list(_values(panel["fieldConfig"]["overrides"], "fixedColor"))
            assert len(shades) == len(set(shades)), panel["title"]
            named = {entry["matcher"]["options"] for entry in panel["fieldConfig"]["overrides"]}
            legends = {target["legendFormat"] for target in panel["targets"]}
            assert all(legend in named for legend in legends if "{{" not in legend and legend != "__auto")


def test_panels_fill_the_grid_without_overlap() -> None:
    """No two panels share a cell, none leaves the 24 columns, every id is unique."""
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not own & cells
        cells |= own
    identities = [panel["id"] for panel in BOARD["panels"]]
    assert len(identities) == len(set(identities))


def test_every_name_in_a_query_is_a_metric_a_label_or_recorded() -> None:
    """A misspelt name would leave a panel empty for ever."""
    known = set(re.findall(r"record: (\S+)", render_rules(methods=METHODS)["windvane-recording.yml"]))
    known |= {attribute.label for attribute in semconv.ATTRIBUTES}
    for metric in semconv.METRICS:
        known |= {metric.prometheus_name + suffix for suffix in ("", "_bucket", "_count", "_sum")}
    for expr in _values(BOARD, "expr"):
        assert set(re.findall(r"\b(?:ml|windvane)_[a-z0-9_:]+", expr)) <= known


def test_what_the_default_rules_do_not_record_is_not_shown() -> None:
    """Statistics that are opt-in would leave a column empty."""
    recorded = set(re.findall(r"record: (\S+)", render_rules()["windvane-recording.yml"]))
    used = {name for expr in _values(BOARD, "expr") for name in re.findall(r"\bml_\w+:[\w:]+", expr)}
    assert used
    assert used <= recorded


def test_latency_carries_exemplars_of_the_raw_histogram() -> None:
    """Recorded series have none, so the query must name the histogram itself."""
    panel = next(panel for panel in PANELS if panel["title"].startswith("Latency"))
    exemplars = [target for target in panel["targets"] if target["exemplar"]]
    assert exemplars
    assert all(f"{semconv.PREDICTION_DURATION.prometheus_name}_bucket{{" in target["expr"] for target in exemplars)


def test_links_within_keep_time_and_variables() -> None:
    """A click on a feature changes the feature and nothing else."""
    links = [url for url in _values(BOARD, "url") if url.startswith("/d/")]
    assert links
    for url in links:
        for kept in ("${__url_time_range}", "${datasource:queryparam}", "${model:queryparam}", "${version:queryparam}"):
            assert kept in url


def test_the_command_writes_the_same_file(tmp_path: Path) -> None:
    """`windvane dashboards render -o` is `render`; without -o it prints."""
    done = CliRunner().invoke(command, ["render", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render()
    assert json.loads(CliRunner().invoke(command, ["render"]).output) == BOARD
