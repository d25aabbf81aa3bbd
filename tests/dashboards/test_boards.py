"""The dashboards as Grafana reads them."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from windvane import semconv
from windvane_dashboards import grafana
from windvane_dashboards.boards import BOARDS, render
from windvane_dashboards.cli_dashboards import command
from windvane_dashboards.rules import METHODS
from windvane_dashboards.rules import render as render_rules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL: dict[str, dict[str, Any]] = {board["uid"]: board for board in map(json.loads, render().values())}
PANELS: list[tuple[str, dict[str, Any]]] = [
    (uid, panel) for uid, board in ALL.items() for panel in board["panels"] if panel["type"] != "row"
]
TABLES = [panel for _, panel in PANELS if panel["transformations"]]
PALETTE = {
    value for name, value in vars(grafana).items() if name.isupper() and isinstance(value, str) and value[0] == "#"
}
# Names that are not windvane's: of the Collector, of Prometheus and of its alerts.
FOREIGN = re.compile(r"otelcol_\w+|prometheus_\w+|ALERTS\w*")

each_board = pytest.mark.parametrize("board", ALL.values(), ids=ALL)
each_panel = pytest.mark.parametrize(
    "panel", [panel for _, panel in PANELS], ids=[f"{u}:{p['title']}" for u, p in PANELS]
)


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


def test_there_is_a_board_for_each_question() -> None:
    """From the whole fleet to one feature, and the three that are looked at on occasion."""
    assert list(ALL) == [
        "windvane-fleet",
        "windvane-model",
        "windvane-feature",
        "windvane-compare",
        "windvane-objectives",
        "windvane-pipeline",
    ]


def _linked(url: str) -> tuple[str, set[str]]:
    match = re.fullmatch(r"/d/([\w-]+)(?:\?(.*))?", url)
    assert match, url
    set_ones = set(re.findall(r"var-(\w+)=", match[2] or ""))
    return match[1], set_ones | set(re.findall(r"\$\{(\w+):queryparam\}", match[2] or ""))


def test_every_link_leads_to_a_board_and_sets_variables_that_it_has() -> None:
    """Of alerts, of tables, and at the top of each board."""
    groups = yaml.safe_load(render_rules()["windvane-alerts.yml"])["groups"]
    alerts = [rule["annotations"]["dashboard_url"] for group in groups for rule in group["rules"]]
    within = [url for url in _values(list(ALL.values()), "url") if url.startswith("/d/")]
    assert len(alerts) > 20
    assert len(within) > 30
    for url in [*alerts, *within]:
        uid, variables = _linked(url)
        assert variables <= {variable["name"] for variable in ALL[uid]["templating"]["list"]}, url


@each_board
def test_links_keep_the_time_and_the_data_source(board: dict[str, Any]) -> None:
    """A click changes what is looked at, never when."""
    for link in board["links"]:
        assert link["keepTime"]
        assert link["includeVars"]
    assert {_linked(link["url"])[0] for link in board["links"]} == set(ALL) - {board["uid"]}
    for url in _values(board["panels"], "url"):
        if url.startswith("/d/"):
            assert "${datasource:queryparam}" in url
            assert "${__url_time_range}" in url


def test_values_in_links_are_encoded() -> None:
    """A model's name may hold anything, `&` and `#` included."""
    for _, panel in PANELS:
        for url in _values(panel, "url"):
            for value in re.findall(r"var-\w+=(\$\{[^}]*\})", url):
                assert value.endswith(":percentencode}"), url


@each_board
def test_the_data_source_is_a_variable_everywhere(board: dict[str, Any]) -> None:
    """The dashboard knows no data source of a particular Grafana."""
    sources = list(_values(board, "datasource"))
    assert len(sources) > 10
    assert {(source["type"], source["uid"]) for source in sources} == {("prometheus", "${datasource}")}


def test_every_dashboard_leads_from_alerts_to_a_model_and_a_feature_and_on() -> None:
    """One click from an alert to what it names; from Fleet to Model, from Model and Compare to Feature."""
    targets = {
        uid: {_linked(url)[0] for url in _values(board["panels"], "url") if url.startswith("/d/")}
        for uid, board in ALL.items()
    }
    assert targets["windvane-fleet"] == {"windvane-model", "windvane-feature", "windvane-objectives"}
    assert targets["windvane-model"] == {"windvane-feature", "windvane-compare", "windvane-objectives"}
    assert targets["windvane-compare"] == {"windvane-feature"}
    assert targets["windvane-objectives"] == targets["windvane-pipeline"] == {"windvane-model"}


@pytest.mark.parametrize("uid", ["windvane-fleet", "windvane-model", "windvane-feature"])
def test_the_runbook_is_one_click_away_from_an_alert(uid: str) -> None:
    """The owner's own, in the row of the alert or, on Model, in the table beside it."""
    overrides = [
        entry
        for panel in ALL[uid]["panels"]
        for entry in panel.get("fieldConfig", {"overrides": []})["overrides"]
        if entry["matcher"]["options"] == "Runbook"
    ]
    (link,) = _values(overrides, "url")
    assert link == "${__value.raw}"


@each_panel
def test_every_panel_says_how_to_read_it(panel: dict[str, Any]) -> None:
    """A description in sentences; a unit wherever a number is drawn."""
    assert panel["description"].endswith(".")
    assert len(panel["description"]) > 30
    if panel["type"] == "heatmap":
        assert panel["options"]["cellValues"]["unit"]
    elif panel["type"] != "table":
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


@pytest.mark.parametrize("panel", TABLES, ids=lambda panel: panel["title"])
def test_every_column_of_a_table_is_of_a_query_and_every_override_of_a_column(panel: dict[str, Any]) -> None:
    """A misspelt heading would lose its unit or its link."""
    (renamed,) = (step["options"]["renameByName"] for step in panel["transformations"] if step["id"] == "organize")
    headings = set(renamed.values())
    assert {entry["matcher"]["options"] for entry in panel["fieldConfig"]["overrides"]} <= headings
    refs = {target["refId"] for target in panel["targets"]}
    values = {field for field in renamed if field.startswith("Value")}
    assert values <= ({f"Value #{ref}" for ref in refs} if len(refs) > 1 else {"Value"})
    for sort in panel["options"].get("sortBy", ()):
        assert sort["displayName"] in headings
    if panel["type"] == "table":
        told = {
            entry["matcher"]["options"]
            for entry in panel["fieldConfig"]["overrides"]
            if {"unit", "mappings"} & {one["id"] for one in entry["properties"]}
        }
        assert {renamed[field] for field in values} <= told  # a number without unit is a riddle


@each_panel
def test_colours_are_told_apart_by_people_of_any_colour_vision(panel: dict[str, Any]) -> None:
    """Every colour is of one palette, and every series of a chart has one of its own."""
    used = set(_values(panel, "fixedColor")) | {
        step["color"] for steps in _values(panel, "steps") for step in _list(steps)
    }
    assert used <= PALETTE | {grafana.NONE}
    assert "color-text" not in json.dumps(panel)  # the palette is no ink: orange on white cannot be read
    modes = {colour["mode"] for colour in _values(panel["fieldConfig"], "color") if isinstance(colour, dict)}
    assert modes <= {"fixed", "palette-classic", "thresholds"}  # classic: for lines whose names nobody knows before
    assert set(_values(panel["options"], "scheme")) <= {"Blues"}
    if panel["type"] in {"timeseries", "barchart"}:
        shades = list(_values(panel["fieldConfig"]["overrides"], "fixedColor"))
        assert len(shades) == len(set(shades))
        named = {entry["matcher"]["options"] for entry in panel["fieldConfig"]["overrides"]}
        legends = {target["legendFormat"] for target in panel["targets"]}
        assert all(legend in named for legend in legends if "{{" not in legend and legend != "__auto")


def _list(steps: object) -> list[dict[str, Any]]:
    return steps if isinstance(steps, list) else []  # a heatmap's `steps` is a number


@each_board
def test_panels_fill_the_grid_without_overlap(board: dict[str, Any]) -> None:
    """No two panels share a cell, none leaves the 24 columns, every id is unique, no line has a gap at its end."""
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not own & cells
        cells |= own
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height
    identities = [panel["id"] for panel in board["panels"]]
    assert len(identities) == len(set(identities))


@each_board
def test_every_name_in_a_query_is_a_metric_a_label_or_recorded(board: dict[str, Any]) -> None:
    """A misspelt name would leave a panel empty for ever."""
    known = set(re.findall(r"record: (\S+)", render_rules(methods=METHODS)["windvane-recording.yml"]))
    known |= {attribute.label for attribute in semconv.ATTRIBUTES}
    for metric in semconv.METRICS:
        known |= {metric.prometheus_name + suffix for suffix in ("", "_bucket", "_count", "_sum")}
    for expr in _values(board, "expr"):
        assert set(re.findall(r"\b(?:ml|windvane)_[a-z0-9_:]+", expr)) <= known
        assert re.search(r"\b(?:ml|windvane)_", expr) or FOREIGN.search(expr)


@each_board
def test_what_the_default_rules_do_not_record_is_not_shown(board: dict[str, Any]) -> None:
    """Statistics that are opt-in would leave a column empty."""
    recorded = set(re.findall(r"record: (\S+)", render_rules()["windvane-recording.yml"]))
    used = {name for expr in _values(board, "expr") for name in re.findall(r"\bml_\w+:[\w:]+", expr)}
    assert used <= recorded


def test_the_fleet_reads_recorded_series_only() -> None:
    """A hundred models are one page: no raw series, no range that grows with the window."""
    for expr in _values(ALL["windvane-fleet"], "expr"):
        assert "[" not in expr
        names = set(re.findall(r"\bml_[a-z0-9_:]+", expr)) - {attribute.label for attribute in semconv.ATTRIBUTES}
        assert all(":" in name for name in names)


def test_latency_carries_exemplars_of_the_raw_histogram() -> None:
    """Recorded series have none, so the query must name the histogram itself."""
    panel = next(panel for _, panel in PANELS if panel["title"].startswith("Latency"))
    exemplars = [target for target in panel["targets"] if target["exemplar"]]
    assert exemplars
    assert all(f"{semconv.PREDICTION_DURATION.prometheus_name}_bucket{{" in target["expr"] for target in exemplars)


def test_rates_span_four_exports_whatever_the_data_source_says() -> None:
    """Services export once a minute: a window of four times the usual 15 s would hold one point and give no rate."""
    rates = [target for _, panel in PANELS for target in panel["targets"] if "$__rate_interval" in target["expr"]]
    assert len(rates) > 8
    assert {target.get("interval") for target in rates} == {"1m"}
    faster = [json.loads(text) for text in render(export_interval="1s").values()]
    assert set(_values([board["panels"] for board in faster], "interval")) == {"1s"}


def test_the_command_writes_the_same_files(tmp_path: Path) -> None:
    """`windvane dashboards render -o` is `render`; without -o it prints."""
    done = CliRunner().invoke(command, ["render", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render()
    assert json.loads(json.dumps(list(BOARDS))) == list(ALL.values())


def test_config_maps_hold_the_dashboards_with_what_the_sidecar_looks_for(tmp_path: Path) -> None:
    """One for each dashboard, below the megabyte that Kubernetes takes; without -o, documents of one stream."""
    done = CliRunner().invoke(command, ["render", "--format", "kubernetes", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(written) == {f"{uid}.yaml" for uid in ALL}
    for name, text in written.items():
        uid, loaded = name.removesuffix(".yaml"), yaml.safe_load(text)
        assert (loaded["kind"], loaded["apiVersion"], loaded["metadata"]["name"]) == ("ConfigMap", "v1", uid)
        assert loaded["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert loaded["metadata"]["annotations"] == {"grafana_folder": "windvane"}
        assert {key: json.loads(value) for key, value in loaded["data"].items()} == {f"{uid}.json": ALL[uid]}
        assert len(text.encode()) < 2**20
    printed = CliRunner().invoke(command, ["render", "--format", "kubernetes"]).output
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(printed)] == list(ALL)
