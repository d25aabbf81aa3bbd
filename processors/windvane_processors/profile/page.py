"""A comparison as one HTML page that needs nothing else: no script, no request, no font."""

from __future__ import annotations

import base64
import hashlib
import math
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from windvane.baseline import Baseline
from windvane_processors.profile.comparison import describe, moment, sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from windvane.profiles import DatasetProfile
    from windvane_processors.profile.comparison import ColumnComparison, Comparison, Curve, Histogram

__all__ = ["html_page"]

_WIDTH: Final = 340
_HEIGHT: Final = 132
_TOP: Final = 8
_BOTTOM: Final = 22
_LEFT: Final = 42
_SHOWN_CATEGORIES: Final = 9
_ROW: Final = 18
_NAMES: Final = 108
_VALUES: Final = 40
_LONGEST_NAME: Final = 17
_CHARACTER: Final = 5.5
_OUTER: Final = 0.005
_LARGE: Final = 100
_TINY: Final = 1e-300
_THOUSAND: Final = 1000
_MILLION: Final = 1_000_000
_FEW: Final = 3
_SHOWN_FINDINGS: Final = 40

_POLICY: Final = "default-src 'none'; style-src 'sha256-{}'"
_HINT: Final = (
    "Those that explain most of the drift first. Contribution is the share of the drift beyond chance, weighted by "
    "importance. A column whose PSI is above its noise floor has shifted. Missing is by how many percentage points the "
    "share of missing values has changed."
)
_LEGEND: Final = '<span class="key before"></span>reference <span class="key now"></span>current'

_Bin: TypeAlias = "tuple[str, float, float]"
"""What a bin holds, its share of the reference, and of the current values."""

_VERDICTS: Final = {
    "shifted": "bad",
    "missing": "bad",
    "stable": "good",
    "new": "note",
    "too few": "note",
    "not compared": "note",
}


def html_page(comparison: Comparison) -> str:
    """Write a comparison as a page.

    The page follows the browser's choice of light and dark, and each plot has a text alternative. Whatever
    names and categories hold is shown as text.
    """
    style = resources.files("windvane_processors.profile").joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    columns = comparison.columns
    title = _title(comparison)
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{style}</style></head><body>',
            f'<header id="top"><h1>{title}</h1>{_sides(comparison)}</header><main>',
            _tiles(columns),
            _findings(columns),
            f'<section><h2>All columns</h2><p class="hint">{_HINT}</p>',
            '<div class="scroll" role="region" aria-label="All columns" tabindex="0"><table class="all"><thead><tr>',
            *(f'<th scope="col">{head}</th>' for head in _HEAD),
            "</tr></thead><tbody>",
            *(_row(number, column) for number, column in enumerate(columns)),
            "</tbody></table></div></section>",
            f'<section><h2>Column by column</h2><p class="legend">{_LEGEND}</p><div class="cards">',
            *(_card(number, column) for number, column in enumerate(columns)),
            "</div></section></main>",
            f"<footer>{_text(sentence(comparison), 400)} Written by windvane.</footer></body></html>",
            "",
        ]
    )


_HEAD: Final = (
    "Column", "Verdict", "Contribution", "PSI", "Noise floor", "Jensen-Shannon", "Hellinger", "KS", "Wasserstein",
    "Chi-squared p", "Missing",
)  # fmt: skip


def _title(comparison: Comparison) -> str:
    about = describe(comparison.current)
    return f"Drift of {_text(about['model'])}" if about["model"] else "Drift between two profiles"


def _sides(comparison: Comparison) -> str:
    def one(kind: str, side: DatasetProfile | Baseline) -> str:
        about = describe(side)
        name = " ".join(_text(about[part]) for part in ("model", "version") if about[part])
        what = "baseline made" if isinstance(side, Baseline) else "data of"
        return (
            f'<div><dt><span class="key {kind}"></span>{"Reference" if kind == "before" else "Current"}</dt>'
            f"<dd>{f'<b>{name}</b> ' if name else ''}{about['rows']:,} rows, {what} {moment(about['time'])}</dd></div>"
        )

    return f'<dl class="sides">{one("before", comparison.reference)}{one("now", comparison.current)}</dl>'


def _tiles(columns: Sequence[ColumnComparison]) -> str:
    shifted = [column for column in columns if column.verdict == "shifted"]
    compared = sum(column.verdict in {"shifted", "stable"} for column in columns)
    large = sum(column.grade == "large" for column in shifted)
    missing = sum(column.verdict == "missing" for column in columns)
    new = sum(column.verdict == "new" for column in columns)
    units = [column for column in columns if column.unit_change]
    nulls = max(columns, key=lambda column: abs(column.missing_change or 0.0))
    change = nulls.missing_change or 0.0
    tiles = [
        ("bad" if shifted else "good", f"{len(shifted)} of {compared}", "columns shifted", f"{large} by a large step"),
        ("bad" if missing else "", str(missing), "columns missing", f"{new} new"),
        ("bad" if units else "", str(len(units)), "changes of unit suspected", _list(c.name for c in units) or "none"),
        (
            "",
            f"{change * 100:+.1f} points",
            "largest change of missing values",
            _text(nulls.name) if change else "none",
        ),
    ]
    return '<section class="tiles" aria-label="Summary">{}</section>'.format(
        "".join(
            f'<div class="tile {kind}"><b>{number}</b><span>{what}</span><small>{more}</small></div>'
            for kind, number, what, more in tiles
        )
    )


def _list(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _FEW} more" if len(every) > _FEW else ""
    return ", ".join(map(_text, every[:_FEW])) + more


def _findings(columns: Sequence[ColumnComparison]) -> str:
    found = [(number, column) for number, column in enumerate(columns) if column.drifted or column.verdict == "new"]
    if not found:
        return '<section class="findings"><h2>What drifted</h2><p>Nothing beyond chance.</p></section>'
    items = "".join(
        f'<li><a href="#c{number}">{_text(column.name)}</a> {_badge(column)} '
        f"{_text('; '.join(column.findings), 400)}</li>"
        for number, column in found[:_SHOWN_FINDINGS]
    )
    more = len(found) - _SHOWN_FINDINGS
    rest = f"<p>and {more} more, in the table below</p>" if more > 0 else ""
    return f'<section class="findings"><h2>What drifted</h2><ol>{items}</ol>{rest}</section>'


def _row(number: int, column: ColumnComparison) -> str:
    change = column.missing_change
    cells = (
        _contribution(column.contribution),
        _number(column.psi),
        _number(column.noise_floor),
        _number(column.js_divergence),
        _number(column.hellinger),
        _number(column.ks),
        _number(column.wasserstein),
        "" if column.chi_squared is None else f"{column.chi_squared.p_value:.2g}",
        "" if change is None else f"{change * 100:+.2f}" if change else "0",
    )
    return (
        f'<tr><th scope="row"><a href="#c{number}">{_text(column.name)}</a><td>{_badge(column)}'
        f"{''.join(f'<td>{cell}' for cell in cells)}"
    )


def _contribution(share: float | None) -> str:
    if share is None:
        return ""
    bar = f'<svg class="bar" viewBox="0 0 50 8" aria-hidden="true"><path d="M0 0h{share * 50:.1f}v8H0z"/></svg>'
    return f"{bar if share else ''}{share:.1%}"


def _card(number: int, column: ColumnComparison) -> str:
    plots = ""
    if column.histogram is not None:
        draw = _bars if column.histogram.kind == "numeric" else _category_bars
        plots = draw(number, column.histogram)
    if column.curves is not None:
        plots += _curves(number, *column.curves)
    findings = "".join(f"<li>{_text(finding, 400)}</li>" for finding in column.findings)
    return (
        f'<article id="c{number}"><h3>{_text(column.name)}</h3>{_badge(column)}'
        f"{f'<ul>{findings}</ul>' if findings else ''}{plots}{_sides_table(column)}</article>"
    )


def _sides_table(column: ColumnComparison) -> str:
    before, now = column.reference, column.current
    rows = []
    for name, write in _SIDE_ROWS:
        cells = ["" if side is None else write(side) for side in (before, now)]
        if any(cells):
            rows.append(f"<tr><th>{name}<td>{cells[0]}<td>{cells[1]}")
    head = '<tr><th><th scope="col">reference<th scope="col">current'
    scores = [
        ("PSI", _number(column.psi)),
        ("noise floor", _number(column.noise_floor)),
        ("JS", _number(column.js_divergence)),
        ("Hellinger", _number(column.hellinger)),
        ("KS", _number(column.ks)),
        ("Wasserstein", _number(column.wasserstein)),
    ]
    listed = "".join(f"<tr><th>{name}<td>{value}" for name, value in scores if value)
    # HTML lets the ends of cells and rows be left out, which halves the size of a page of hundreds of columns.
    return f'<div class="numbers"><table>{head}{"".join(rows)}</table><table>{listed}</table></div>'


_SIDE_ROWS: Final = (
    ("type", lambda side: side.type),
    ("values", lambda side: f"{side.observations:,}"),
    ("missing", lambda side: f"{side.missing_share:.2%}"),
    ("mean", lambda side: _plain(side.mean)),
    ("sd", lambda side: _plain(side.standard_deviation)),
    ("min", lambda side: _plain(side.minimum)),
    ("median", lambda side: _plain(side.median)),
    ("max", lambda side: _plain(side.maximum)),
    ("distinct", lambda side: "" if side.distinct is None else f"{side.distinct:,.0f}"),
)


def _bars(number: int, histogram: Histogram) -> str:
    """Draw numeric bins side by side in their order; missing and other values only where there are any."""
    shares = _bins(histogram)
    inner, apart = shares[:-2], [one for one in shares[-2:] if one[1] or one[2]]
    bins = inner + apart
    top = max(max(before, now) for _, before, now in bins)
    step = (_WIDTH - _LEFT) / len(bins)
    base = _HEIGHT - _BOTTOM

    def path(side: int) -> str:
        return "".join(
            f"M{_LEFT + step * (i + 0.3 + 0.4 * side):.0f} {base}v-{(base - _TOP) * of_sides[side] / top:.0f}"
            for i, (_, *of_sides) in enumerate(bins)
        )

    single = [" " not in label for label, _, _ in inner]
    names = [(_LEFT + (len(inner) + i + 0.5) * step, label) for i, (label, _, _) in enumerate(apart)]
    names += [(_LEFT + (i + 0.5) * step, label) for i, (label, _, _) in enumerate(inner) if single[i]]
    for i, edge in enumerate(histogram.edges):
        if not (single[i] or single[i + 1]):
            names.append((_LEFT + (i + 1) * step, _tick(edge)))
        elif i in {0, len(histogram.edges) - 1} and single[i] != single[i + 1]:
            outside = (0, f"< {inner[1][0]}") if not single[i] else (i + 1, f"> {inner[i][0]}")
            names.append((_LEFT + (outside[0] + 0.5) * step, outside[1]))
    return _svg(
        f"h{number}",
        _HEIGHT,
        "Share of values by bin",
        _alternative(bins),
        f'{_axis(top)}<g stroke-width="{step * 0.4:.0f}"><path class="before" d="{path(0)}"/>'
        f'<path class="now" d="{path(1)}"/></g>{_ticks(names)}',
    )


def _bins(histogram: Histogram) -> list[_Bin]:
    return list(zip(histogram.bins, histogram.reference, histogram.current, strict=True))


def _category_bars(number: int, histogram: Histogram) -> str:
    """Draw categories below each other, the most frequent of either side; the rest together."""
    *categories, missing, other = _bins(histogram)
    shown = sorted(categories, key=lambda one: -max(one[1:]))[:_SHOWN_CATEGORIES]
    rest = [other, *(one for one in categories if one not in shown)]
    others = ("all others", sum(one[1] for one in rest), sum(one[2] for one in rest))
    bins = [one for one in categories if one in shown] + [one for one in (others, missing) if one[1] or one[2]]
    top = max(max(before, now) for _, before, now in bins)
    width = _WIDTH - _NAMES - _VALUES
    parts: dict[str, list[str]] = {"before": [], "now": []}
    texts = []
    for i, (label, before, now) in enumerate(bins):
        y = _TOP + i * _ROW
        parts["before"].append(f"M{_NAMES} {y + 3}h{width * before / top:.0f}")
        parts["now"].append(f"M{_NAMES} {y + 10}h{width * now / top:.0f}")
        name = _text(label, _LONGEST_NAME)
        texts.append(f'<text x="{_NAMES - 6}" y="{y + 10}">{name}</text>')
        texts.append(f'<text x="{_WIDTH}" y="{y + 10}">{now:.1%}</text>')
    paths = "".join(f'<path class="{kind}" d="{"".join(drawn)}"/>' for kind, drawn in parts.items())
    return _svg(
        f"h{number}",
        _TOP + len(bins) * _ROW,
        "Share of values by category",
        _alternative(bins),
        f'<g class="end">{"".join(texts)}</g><g stroke-width="6">{paths}</g>',
    )


def _curves(number: int, before: Curve, now: Curve) -> str:
    """Draw both distribution functions, without the outermost values, which may lie far away."""
    low = min(_at(before, _OUTER), _at(now, _OUTER))
    high = max(_at(before, 1 - _OUTER), _at(now, 1 - _OUTER))
    if not (math.isfinite(high - low) and high > low):
        return ""
    base = _HEIGHT - _BOTTOM

    def path(curve: Curve) -> str:
        points = [f"M{_LEFT} {base}"]
        last = math.nan
        for value, share in zip((*curve.values, high), (*curve.shares, 1.0), strict=True):
            x = _LEFT + (_WIDTH - _LEFT) * min(1.0, max(0.0, (value - low) / (high - low)))
            y = base - (base - _TOP) * share
            if value == last:
                step = f"V{y:.0f}"
            elif points[-1].startswith("V"):  # behind a value that comes often there is none
                step = f"H{x:.0f}V{y:.0f}"
            else:
                step = f"L{x:.0f} {y:.0f}"
            last = value
            if step != points[-1]:
                points.append(step)
        return "".join(points)

    names = [(_LEFT + (_WIDTH - _LEFT) * share, _tick(low + (high - low) * share)) for share in (1.0, 0.0, 0.5)]
    medians = f"Median of the reference {_plain(_at(before, 0.5))}, current {_plain(_at(now, 0.5))}."
    return _svg(
        f"f{number}",
        _HEIGHT,
        "Share of numbers up to each value",
        f"From {_plain(low)} to {_plain(high)}. {medians}",
        f'{_axis(1.0)}<path class="before" d="{path(before)}"/><path class="now" d="{path(now)}"/>{_ticks(names)}',
        kind="curve",
    )


def _at(curve: Curve, share: float) -> float:
    return float(np.interp(share, curve.shares, curve.values))


def _axis(top: float) -> str:
    """Draw two lines, at the top and half of it, that tell how much the height means."""
    base = _HEIGHT - _BOTTOM
    middle = (_TOP + base) / 2
    texts = "".join(
        f'<text x="{_LEFT - 4}" y="{y + 3:.0f}">{share * 100:.3g}%</text>'
        for share, y in ((top, _TOP), (top / 2, middle))
    )
    return f'<path class="line" d="M{_LEFT} {_TOP}H{_WIDTH}M{_LEFT} {middle:.0f}H{_WIDTH}"/><g class="end">{texts}</g>'


def _ticks(names: Sequence[tuple[float, str]]) -> str:
    """Write names below an axis, those that come first first, and none over another."""
    taken: list[tuple[float, float]] = []
    ticks = []
    for x, name in names:
        half = len(name) * _CHARACTER / 2 + 4
        middle = min(max(x, half), _WIDTH - half)
        if all(middle + half <= left or middle - half >= right for left, right in taken):
            taken.append((middle - half, middle + half))
            ticks.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}">{_text(name)}</text>')
    return f'<g class="mid">{"".join(ticks)}</g>'


def _alternative(bins: Sequence[_Bin]) -> str:
    listed = "; ".join(f"{_text(name, _LONGEST_NAME)} {before:.1%}, {now:.1%}" for name, before, now in bins)
    return f"Reference, current: {listed}"


def _svg(name: str, height: int, title: str, text: str, content: str, *, kind: str = "bars") -> str:
    """Write a plot.

    Args:
        name: its id.
        height: its height.
        title: what it is, plain text without markup.
        text: what it shows, as HTML.
        content: what it is drawn with.
        kind: how it is drawn.
    """
    return (
        f'<svg class="{kind}" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="{name} {name}d">'
        f'<title id="{name}">{title}</title><desc id="{name}d">{text}</desc>{content}</svg>'
    )


def _badge(column: ColumnComparison) -> str:
    grade = f": {column.grade}" if column.grade else ""
    return f'<span class="badge {_VERDICTS[column.verdict]} {column.grade or ""}">{column.verdict}{grade}</span>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if value < _LARGE else f"{value:.4g}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _tick(value: float) -> str:
    if _THOUSAND <= abs(value) < _MILLION:
        return f"{value:,.0f}"
    return f"{value if abs(value) > _TINY else 0.0:.3g}"


def _text(value: str, longest: int = 48) -> str:
    """Write any text as HTML, on one line, what would steer the reader as escapes, and cut where it is long."""
    whole = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return escape(whole if len(whole) <= longest else f"{whole[: longest - 1]}…")
