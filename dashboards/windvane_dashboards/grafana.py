"""Pieces of Grafana's classic dashboard JSON, which Grafana 11 to 13 read.

Nothing here knows of models. Panels take their data source from the `datasource` variable only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "BLUE",
    "BROWN",
    "EXPORT_INTERVAL",
    "GREEN",
    "GREY",
    "NONE",
    "ORANGE",
    "PURPLE",
    "SKY",
    "SLATE",
    "VERMILLION",
    "YELLOW",
    "Json",
    "annotation",
    "barchart",
    "bargauge",
    "colour",
    "dashboard",
    "graded",
    "heatmap",
    "instant",
    "link",
    "navigation",
    "override",
    "place",
    "query",
    "row",
    "stat",
    "table",
    "thresholds",
    "timeseries",
    "variable",
]

Json: TypeAlias = dict[str, Any]

# Okabe and Ito's palette, told apart by people of any colour vision.
BLUE: Final = "#0072B2"
ORANGE: Final = "#E69F00"
GREEN: Final = "#009E73"
VERMILLION: Final = "#D55E00"
SKY: Final = "#56B4E9"
PURPLE: Final = "#CC79A7"
YELLOW: Final = "#F0E442"
BROWN: Final = "#8C564B"
SLATE: Final = "#44546A"
GREY: Final = "#8E8E8E"
NONE: Final = "transparent"

# Where the axis ends at least, by unit: nothing but zeros would otherwise be drawn below 10,000 %.
_AXES: Final = {"percentunit": 0.01, "cps": 0.1, "reqps": 0.1}

_DATASOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA_VERSION: Final = 39  # of Grafana 11.0; newer ones migrate it when they load it
EXPORT_INTERVAL: Final = "1m"
"""How often services export: OpenTelemetry's own default."""


def query(ref: str, expr: str, legend: str = "", *, exemplars: bool = False) -> Json:
    """Return a query over the dashboard's time range.

    Grafana makes `$__rate_interval` four times the query's least step; without one it takes the data source's scrape
    interval, 15 s by default, and there would be no two points of a service that exports once a minute in it.
    """
    return {
        **({"interval": EXPORT_INTERVAL} if "$__rate_interval" in expr else {}),
        "refId": ref,
        "datasource": _DATASOURCE,
        "expr": expr,
        "legendFormat": legend or "__auto",
        "range": True,
        "instant": False,
        "exemplar": exemplars,
        "editorMode": "code",
    }


def instant(ref: str, expr: str, legend: str = "", *, as_table: bool = False) -> Json:
    """Return a query at the end of the time range."""
    return {
        **query(ref, expr, legend),
        "range": False,
        "instant": True,
        "format": "table" if as_table else "time_series",
    }


def thresholds(*steps: tuple[float, str], base: str = BLUE) -> Json:
    """Return thresholds: the base colour, then one colour from each value up."""
    return {
        "mode": "absolute",
        "steps": [{"color": base, "value": None}, *({"color": c, "value": value} for value, c in steps)],
    }


def colour(name: str) -> Json:
    """Return a fixed colour."""
    return {"mode": "fixed", "fixedColor": name}


def override(field: str, properties: Mapping[str, Any]) -> Json:
    """Return what differs for the field of this name."""
    return {
        "matcher": {"id": "byName", "options": field},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def graded(unit: str, decimals: int, *steps: tuple[float, str], base: str = NONE) -> Json:
    """Return what colours a table's numbers: the ground, since Grafana writes on it in what can be read there.

    Args:
        unit: Grafana's id of the unit.
        decimals: how many.
        steps: one colour from each value up.
        base: colour below the first.
    """
    return {
        "unit": unit,
        "decimals": decimals,
        "color": {"mode": "thresholds"},
        "custom.cellOptions": {"type": "color-background", "mode": "basic"},
        "thresholds": thresholds(*steps, base=base),
    }


def link(title: str, url: str, *, new_tab: bool = False) -> Json:
    """Return a data link or a dashboard link."""
    return {"title": title, "url": url, "targetBlank": new_tab}


def navigation(title: str, uid: str, description: str) -> Json:
    """Return a link at the top of a dashboard; time and variables go along."""
    return {
        "type": "link",
        "title": title,
        "tooltip": description,
        "url": f"/d/{uid}",
        "keepTime": True,
        "includeVars": True,
        "targetBlank": False,
        "asDropdown": False,
        "icon": "",
        "tags": [],
    }


def _panel(
    kind: str,
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    defaults: Json,
    options: Json,
    overrides: Iterable[Json] = (),
    transformations: Iterable[Json] = (),
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": _DATASOURCE,
        "targets": list(targets),
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
        "transformations": list(transformations),
    }


def timeseries(
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    unit: str,
    colours: Mapping[str, str],
    dashed: Iterable[str] = (),
    limits: Json | None = None,
    maximum: float | None = None,
    stacked: bool = False,
) -> Json:
    """Return lines over time.

    Args:
        title: of the panel.
        description: how to read it.
        targets: queries.
        unit: Grafana's id of the unit.
        colours: fixed colour by series name.
        dashed: names of series that are limits rather than measurements.
        limits: thresholds to draw as dashed lines.
        maximum: upper end of the axis.
        stacked: add the series up.
    """
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineWidth": 2,
            "fillOpacity": 30 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if limits else "off"},
            **({"axisSoftMax": _AXES[unit]} if unit in _AXES and maximum is None else {}),
        },
        "thresholds": limits or thresholds(),
    }
    if maximum is not None:
        defaults["max"] = maximum
    limit_style = {"custom.lineStyle": {"fill": "dash", "dash": [10, 8]}, "custom.fillOpacity": 0}
    dashes = set(dashed)
    return _panel(
        "timeseries",
        title,
        description,
        targets,
        defaults=defaults,
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        overrides=[
            override(name, {"color": colour(shade), **(limit_style if name in dashes else {})})
            for name, shade in colours.items()
        ],
    )


def stat(title: str, description: str, target: Json, *, unit: str, limits: Json, decimals: int | None = None) -> Json:
    """Return one big number with its recent course."""
    defaults: Json = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": limits, "noValue": "no data"}
    if decimals is not None:
        defaults["decimals"] = decimals
    return _panel(
        "stat",
        title,
        description,
        [target],
        defaults=defaults,
        options={
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def bargauge(title: str, description: str, target: Json, *, unit: str, limits: Json, maximum: float) -> Json:
    """Return one horizontal bar for each series, as long as its last value."""
    return _panel(
        "bargauge",
        title,
        description,
        [target],
        defaults={
            "unit": unit,
            "min": 0,
            "max": maximum,
            "color": {"mode": "thresholds"},
            "thresholds": limits,
            "noValue": "none",
        },
        options={
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "color",
            "namePlacement": "left",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


_COLUMN, _NUMBER, _CHARACTER, _PADDING, _ARROW = 70, 80, 8, 14, 20
"""Pixels: the least width of a table's column, what a number with its unit takes, and a heading's characters, margins
and arrow of sorting."""

_MANY: Final = 12
"""Columns of a table, each of which has less than a hundred pixels at 1280."""


def table(
    title: str,
    description: str,
    targets: Sequence[Json],
    *,
    columns: Mapping[str, str],
    overrides: Iterable[Json] = (),
    sort: str = "",
) -> Json:
    """Return a table with one row for each label set.

    Args:
        title: of the panel.
        description: how to read it.
        targets: instant queries in table format; rows with the same labels are merged.
        columns: fields to show, in order, and their headings.
        overrides: by heading.
        sort: heading to sort by, largest first.
    """
    return _panel(
        "table",
        title,
        description,
        targets,
        defaults={
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False, "minWidth": _COLUMN},
            "thresholds": thresholds(),
        },
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": sort, "desc": True}] if sort else [],
        },
        overrides=[*overrides, *(_fixed(columns, sort) if len(columns) > _MANY else ())],
        transformations=[{"id": "merge", "options": {}}, *_pick(columns)],
    )


def _fixed(columns: Mapping[str, str], sort: str) -> Iterator[Json]:
    """Fix the widths of numbers, by their headings; labels share what is left."""
    for field, heading in columns.items():
        if field.startswith("Value"):
            width = _CHARACTER * len(heading) + _PADDING + (_ARROW if heading == sort else 0)
            yield override(heading, {"custom.width": max(width, _NUMBER)})


def barchart(
    title: str, description: str, targets: Sequence[Json], *, columns: Mapping[str, str], sort: str, colours: Json
) -> Json:
    """Return bars side by side over categories.

    Args:
        title: of the panel.
        description: how to read it.
        targets: instant queries in table format; rows with the same labels are merged.
        columns: the category's field first, then the fields of the values, and their names.
        sort: field that orders the categories.
        colours: fixed colour by name.
    """
    category = next(iter(columns.values()))
    return _panel(
        "barchart",
        title,
        description,
        targets,
        defaults={
            "unit": "percentunit",
            "min": 0,
            "color": {"mode": "palette-classic"},
            "custom": {"fillOpacity": 80, "lineWidth": 1},
            "thresholds": thresholds(),
            "noValue": "no data",
        },
        options={
            "xField": category,
            "orientation": "auto",
            "stacking": "none",
            "showValue": "never",
            "groupWidth": 0.8,
            "barWidth": 0.9,
            "xTickLabelRotation": -30,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        overrides=[override(name, {"color": colour(shade)}) for name, shade in colours.items()],
        transformations=[
            {"id": "merge", "options": {}},
            {"id": "sortBy", "options": {"sort": [{"field": sort, "desc": False}]}},
            *_pick(columns),
        ],
    )


def heatmap(title: str, description: str, target: Json, *, unit: str) -> Json:
    """Return one line of coloured cells for each series, in the order of their names."""
    return _panel(
        "heatmap",
        title,
        description,
        [target],
        defaults={
            "custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}},
            "thresholds": thresholds(),
        },
        options={
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": unit},
            "color": {"mode": "scheme", "scheme": "Blues", "scale": "linear", "reverse": False, "steps": 64, "min": 0},
            "exemplars": {"color": VERMILLION},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
            "yAxis": {"axisPlacement": "left", "reverse": False},
        },
    )


def _pick(columns: Mapping[str, str]) -> tuple[Json, Json]:
    """Keep the named fields only, in order, under their headings."""
    return (
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {field: index for index, field in enumerate(columns)},
                "renameByName": dict(columns),
            },
        },
    )


def row(title: str) -> Json:
    """Return a heading across the dashboard."""
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def variable(name: str, label: str, expr: str, *, descending: bool = False, multiple: bool = False) -> Json:
    """Return a variable that is filled by a query.

    Args:
        name: as in `$name`.
        label: heading of its choice.
        expr: `label_values(series, label)`.
        descending: offer the last value first.
        multiple: let any number be chosen, all by default; else one is.
    """
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": _DATASOURCE,
        "query": {"query": expr, "refId": name},
        "definition": expr,
        "refresh": 2,  # whenever the time range changes
        "sort": 4 if descending else 3,  # by number where there is one
        "multi": multiple,
        "includeAll": multiple,
        "regex": "",
        "hide": 0,
        "options": [],
        **({"allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}} if multiple else {}),
    }


def place(panels: Iterable[tuple[Json, int, int]]) -> list[Json]:
    """Set panels left to right and top to bottom on Grafana's 24 columns, numbered from 1.

    Args:
        panels: each panel with its width and height in grid units.
    """
    placed: list[Json] = []
    x = y = line_height = 0
    for number, (panel, width, height) in enumerate(panels, start=1):
        if x + width > 24:  # noqa: PLR2004 - the grid's columns
            x, y, line_height = 0, y + line_height, 0
        placed.append({"id": number, **panel, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, line_height = x + width, max(line_height, height)
    return placed


def dashboard(
    uid: str,
    title: str,
    description: str,
    *,
    variables: Iterable[Json],
    panels: Iterable[Json],
    annotations: Iterable[Json],
    links: Iterable[Json],
    tags: Iterable[str],
) -> Json:
    """Return a whole dashboard; its first variable chooses the data source."""
    datasource: Json = {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "regex": "",
        "hide": 0,
        "options": [],
    }
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": list(tags),
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # one cross-hair over all panels
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "refresh": "1m",
        "templating": {"list": [datasource, *variables]},
        "annotations": {"list": list(annotations)},
        "links": list(links),
        "panels": list(panels),
    }


def annotation(name: str, expr: str, *, title: str, shade: str) -> Json:
    """Return marks on every panel while a query has series."""
    return {
        "name": name,
        "datasource": _DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": shade,
        "expr": expr,
        "titleFormat": title,
        "step": "60s",
    }
