"""Recording rules for drift: each feature's live bins against its reference.

Every statistic is computed over the sum of all replicas. The expressions agree with numpy on equal
counts; `tests/rules` proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    BIN,
    BIN_LABEL,
    DISPERSION,
    FEATURE,
    FEATURE_RATE,
    FEATURE_ROLE,
    MODEL,
    MODEL_DISPERSION,
    MODEL_LABEL,
    MODEL_SHIFTED,
    OBSERVATION_RATE,
    OWNER_REPORTING,
    REFERENCE,
    REFERENCE_ROWS,
    ROLE_LABEL,
    VIOLATION_EXCESS,
    DriftSeries,
    duration,
    lines,
    nested,
)
from windvane_dashboards.rules.alerting import (
    FEATURE_LABELS,
    FEATURE_SHOWN,
    MODEL_SHOWN,
    TICKET,
    alert_annotations,
    alert_labels,
    owned,
    queried,
)
from windvane_dashboards.rules.health import BROKEN
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import MIN_ROWS, sum_of_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import timedelta

    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["DEFAULT_METHODS", "METHODS", "MODERATE", "TICKET_QUANTILE", "alerts", "chance", "psi", "recording"]

METHODS: Final = semconv.DRIFT_METHOD.values
DEFAULT_METHODS: Final = ("psi", "hellinger")
"""Jensen-Shannon and KS cost more and say little that these two do not, so they are asked for by name."""

_SMOOTHING: Final = 0.5
"""Added to each used bin of either side, so that no share is zero (Krichevsky and Trofimov, 1981)."""

_NOISE_QUANTILE: Final = 3.09
"""Standard normal quantile of 0.999: chance passes the noise floor once in a thousand windows."""

TICKET_QUANTILE: Final = 6
"""Standard normal quantile for tickets: no false one in a model's month (docs/alert-quality.md)."""

_BUDGET_QUANTILE: Final = 4
"""Standard normal quantile for the drift budget, which adds up many features and days: at 3.09 the rest of the seasons
alone burns it, at 6 many small shifts at once do not (docs/alert-quality.md)."""

_SEASONS: Final = 2
"""How many times more than at the same time of the past a feature must have shifted to be news."""

_GROSS: Final = 0.25
"""Least PSI over an hour while nothing is known of the same hour of the past."""

MODERATE: Final = 0.1
"""Least PSI against live rows, which may come in clusters of any size."""

_NUMERIC_BINS: Final = 10
"""Deciles; KS has one term for each inner edge."""


def recording(timings: Timings, methods: Collection[str]) -> tuple[Group, ...]:
    """Return the groups for both drift windows.

    Args:
        timings: windows and interval.
        methods: of `semconv.DRIFT_METHOD.values`; PSI is always among the output, as alerts need it.
    """
    observations = semconv.FEATURE_OBSERVATIONS.prometheus_name
    now = Recording(
        FEATURE_RATE,
        f"sum by ({FEATURE}) (rate({observations}[{duration(timings.rate)}]))",
        "Values of the feature per second, over all replicas.",
    )
    rate = Recording(
        OBSERVATION_RATE,
        lines(f"sum by ({BIN}) (", f"  rate({observations}[{duration(timings.slow_rate)}])", ")"),
        "Rows per second in each bin, over all replicas, of twice the time between two evaluations. Both windows add "
        "up this rate: they never read the raw counters.",
    )
    references = (
        Recording(
            REFERENCE,
            f"max by ({BIN}) ({semconv.FEATURE_REFERENCE_OBSERVATIONS.prometheus_name})",
            "Reference rows in each bin: the same gauge on every replica, hence max and never sum.",
        ),
        Recording(REFERENCE_ROWS, f"sum by ({FEATURE}) ({REFERENCE}) > 0", "Values of the feature in the reference."),
        Recording(
            DISPERSION,
            f"max by ({FEATURE}) ({semconv.FEATURE_REFERENCE_DISPERSION.prometheus_name})",
            "How many times more the reference's blocks differ than chance explains.",
        ),
        Recording(
            MODEL_DISPERSION,
            f"quantile by ({MODEL_LABEL}) (0.5, {DISPERSION})",
            "The median of the model's features: how many rows come together, where seasons are those of a few.",
        ),
    )
    hour, day, computed = DriftSeries("1h"), DriftSeries("1d"), DriftSeries("1d", computed=True)
    return (
        Group("windvane-observations", timings.interval, (now,)),
        Group("windvane-reference", timings.slow_interval, references),
        Group(
            "windvane-drift-1h",
            timings.slow_interval,
            (
                rate,
                *_computed(hour, timings.short, timings, methods),
                *_verdict(hour, timings),
                _shifted_of_model(hour),
            ),
        ),
        Group("windvane-drift-1d", timings.day_interval, _computed(computed, timings.long, timings, methods)),
        Group(
            "windvane-drift-1d-latest",
            timings.slow_interval,
            (*_latest(day, computed, timings, methods), *_verdict(day, timings)),
        ),
    )


def _recorded(methods: Collection[str]) -> tuple[str, ...]:
    return tuple(method for method in METHODS if method == "psi" or method in methods)


def _computed(
    series: DriftSeries, span: timedelta, timings: Timings, methods: Collection[str]
) -> tuple[Recording, ...]:
    """Return what is computed from each bin: all that costs."""
    statistics: dict[str, Callable[[DriftSeries], tuple[Recording, ...]]] = {
        "psi": _psi,
        "js_divergence": _js_divergence,
        "hellinger": _hellinger,
        "ks": _ks,
    }
    return (
        *_counts(series, span, timings),
        *(rule for method in _recorded(methods) for rule in statistics[method](series)),
        Recording(
            series.null_ratio,
            lines(
                f'{series.live}{{{BIN_LABEL}="{semconv.BIN_NULL}"}}',
                f"/ ignoring ({BIN_LABEL}) ({series.live_total} > 0)",
            ),
            "Share of missing values.",
        ),
    )


def _latest(
    series: DriftSeries, computed: DriftSeries, timings: Timings, methods: Collection[str]
) -> tuple[Recording, ...]:
    """Carry on what is computed more seldom than Prometheus takes a sample for the present."""
    since = duration(timings.day_lookback)
    names = (
        (series.live_total, computed.live_total),
        (series.reference_total, computed.reference_total),
        (series.used_bins, computed.used_bins),
        *((series.statistic(method), computed.statistic(method)) for method in _recorded(methods)),
        (series.null_ratio, computed.null_ratio),
    )
    return tuple(
        Recording(name, f"last_over_time({of}[{since}])", "The latest that was computed.") for name, of in names
    )


def _shifted_of_model(series: DriftSeries) -> Recording:
    return Recording(
        MODEL_SHIFTED, f"sum by ({MODEL}) ({series.shifted})", "How many of a model's features have shifted."
    )


def _counts(series: DriftSeries, span: timedelta, timings: Timings) -> tuple[Recording, ...]:
    week = f"{series.live} offset {duration(timings.week)}"
    return (
        Recording(
            series.live,
            lines(
                sum_of_rates(OBSERVATION_RATE, span, timings, slow=True),
                f"or 0 * {REFERENCE}",
            ),
            f"Rows of the last {series.window} in each bin; bins that only the reference has count 0.",
        ),
        Recording(
            series.reference,
            lines(
                REFERENCE,
                f"or ({week} unless on ({FEATURE_ROLE}) {REFERENCE})",
                f"or 0 * {series.live}",
            ),
            "Reference rows in each bin; bins that only the live window has count 0. Without a baseline, the rows of "
            "the same window one week before.",
        ),
        Recording(
            series.live_total,
            f"sum by ({FEATURE_ROLE}) ({series.live})",
            f"Rows of the last {series.window}.",
        ),
        Recording(
            series.reference_total,
            f"sum by ({FEATURE_ROLE}) ({series.reference}) > 0",
            "Reference rows; features without any have no drift.",
        ),
        Recording(
            series.used_bins,
            f"count by ({FEATURE_ROLE}) ({series.live} + {series.reference} > 0)",
            "How many bins are used. One that is empty on both sides is not: smoothed, it would make PSI grow with "
            "every bin nobody uses.",
        ),
    )


def _smoothed_total(total: str, used_bins: str) -> str:
    return f"({total} + {_SMOOTHING:g} * {used_bins})"


def _enough(series: DriftSeries) -> str:
    return f"and ({series.live_total} >= {MIN_ROWS})"


def psi(by: str, bins: tuple[str, str], totals: tuple[str, str], used_bins: str) -> str:
    """Return the expression for the population stability index of two sides.

    It is the sum of (p - q) ln(p / q) over the smoothed shares. As both sum to 1, the totals in the logarithm cancel
    out; and a bin that is empty on both sides adds ln(1) = 0.

    Args:
        by: labels of a feature.
        bins: series with the counts of each bin, live and reference.
        totals: their sums.
        used_bins: series with the number of bins that either side has values in.
    """
    live, reference = (f"({of} + {_SMOOTHING:g})" for of in bins)
    return lines(
        f"sum by ({by}) (",
        "  (",
        f"    {live} / on ({by}) group_left () {_smoothed_total(totals[0], used_bins)}",
        f"    - {reference} / on ({by}) group_left () {_smoothed_total(totals[1], used_bins)}",
        "  )",
        f"  * ln({live} / {reference})",
        ")",
    )


def chance(totals: tuple[str, str], used_bins: str, quantile: float) -> str:
    """Return the expression for the PSI that independent rows pass with the probability of a normal quantile.

    (1/N + 1/M) times the chi-squared quantile (Wilson and Hilferty's approximation).
    """
    freedom = f"clamp_min({used_bins} - 1, 1)"
    return lines(
        "(",
        f"  (1 / {totals[0]} + 1 / {totals[1]})",
        f"  * {freedom}",
        f"  * (1 - 2 / (9 * {freedom}) + {quantile:g} * sqrt(2 / (9 * {freedom}))) ^ 3",
        ")",
    )


def _psi(series: DriftSeries) -> tuple[Recording, ...]:
    bins, totals = (series.live, series.reference), (series.live_total, series.reference_total)
    return (
        Recording(
            series.statistic("psi"),
            lines(psi(FEATURE_ROLE, bins, totals, series.used_bins), _enough(series)),
            "Population stability index: the sum of (p - q) ln(p / q) over the smoothed shares. As both sum to 1, the "
            "totals in the logarithm cancel out; and a bin that is empty on both sides adds ln(1) = 0.",
        ),
    )


def _hellinger(series: DriftSeries) -> tuple[Recording, ...]:
    live, reference = (f"({of} + {_SMOOTHING:g})" for of in (series.live, series.reference))
    totals = " * ".join(_smoothed_total(of, series.used_bins) for of in (series.live_total, series.reference_total))
    return (
        Recording(
            series.statistic("hellinger"),
            lines(
                "sqrt(clamp_min(",
                "  1 - (",
                f"    sum by ({FEATURE_ROLE}) (sqrt({live} * {reference}))",
                f"    - {_SMOOTHING:g} * (count by ({FEATURE_ROLE}) ({series.live}) - {series.used_bins})",
                f"  ) / sqrt({totals}),",
                "  0",
                "))",
                _enough(series),
            ),
            "Hellinger distance of the smoothed shares, 0 to 1; bins that are empty on both sides are taken off "
            "again, and rounding may leave a hair below zero under the root.",
        ),
    )


def _js_divergence(series: DriftSeries) -> tuple[Recording, ...]:
    def share(of: str, total: str) -> str:
        return lines(
            f"({of} + {_SMOOTHING:g})",
            f"/ on ({FEATURE_ROLE}) group_left () {_smoothed_total(total, series.used_bins)}",
            f"and ({series.live} + {series.reference} > 0)",
        )

    p, q = series.live_share, series.reference_share
    return (
        Recording(p, share(series.live, series.live_total), "Smoothed share of each used bin in the live window."),
        Recording(
            q, share(series.reference, series.reference_total), "Smoothed share of each used bin in the reference."
        ),
        Recording(
            series.statistic("js_divergence"),
            lines(
                f"sum by ({FEATURE_ROLE}) (",
                f"  0.5 * {p} * log2(2 * {p} / ({p} + {q}))",
                f"  + 0.5 * {q} * log2(2 * {q} / ({p} + {q}))",
                ")",
                _enough(series),
            ),
            "Jensen-Shannon divergence in bits, 0 to 1.",
        ),
    )


def _ks(series: DriftSeries) -> tuple[Recording, ...]:
    ordered = f'{{{BIN_LABEL}=~"[0-9]+"}}'

    def share(of: str) -> str:
        total = f"(sum by ({FEATURE_ROLE}) ({of}{ordered}) > 0)"
        return nested(lines(f"{of}{ordered}", f"/ on ({FEATURE_ROLE}) group_left ()", total))

    terms = [
        lines(
            "  label_replace(",
            f'    abs(sum by ({FEATURE_ROLE}) ({series.share_delta}{{{BIN_LABEL}=~"0[0-{edge}]"}})),',
            f'    "edge", "{edge}", "", ""',
            "  )",
        )
        for edge in range(_NUMERIC_BINS - 1)
    ]
    return (
        Recording(
            series.share_delta,
            lines(share(series.live), "-", share(series.reference)),
            "Live minus reference share of each numeric bin, not smoothed.",
        ),
        Recording(
            series.statistic("ks"),
            lines(
                f"max by ({FEATURE_ROLE}) (",
                "\n  or\n".join(terms),
                ")",
                _enough(series),
            ),
            "Kolmogorov-Smirnov statistic at the bins' inner edges: the largest difference of the cumulative shares.",
        ),
    )


def _floor(series: DriftSeries, quantile: float) -> str:
    """Return the PSI that chance passes with the probability of a normal quantile, dispersion included."""
    return lines(
        chance((f"({series.live_total} >= {MIN_ROWS})", series.reference_total), series.used_bins, quantile),
        f"* on ({FEATURE}) group_left ()",
        "(",
        f"  {DISPERSION}",
        f"  or 0 * sum by ({FEATURE}) ({series.live_total}) + 1",
        ")",
    )


def _verdict(series: DriftSeries, timings: Timings) -> tuple[Recording, ...]:
    return (
        Recording(
            series.noise_floor,
            _floor(series, _NOISE_QUANTILE),
            "PSI that chance alone passes once in a thousand windows: (1/N + 1/M) times the chi-squared quantile "
            "with one degree of freedom less than there are used bins (Wilson and Hilferty's approximation), "
            "times the reference's own dispersion where its rows come in clusters.",
        ),
        Recording(
            series.ticket_floor,
            _floor(series, TICKET_QUANTILE),
            "The same at the quantile of six standard deviations: a feature is looked at 40,000 times a month, and "
            "none of these looks may raise a ticket by chance.",
        ),
        _past(series, timings),
        Recording(
            series.shifted,
            lines(series.statistic("psi"), f"> bool {series.noise_floor}"),
            "1 where the feature has shifted, else 0.",
        ),
        *([_anew(series, timings)] if series.window == "1h" else []),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (
        _drift(
            timings,
            links,
            "MLFeatureDrift",
            f'{ROLE_LABEL}!="output"',
            why="The feature's distribution has left its reference further than chance and its seasons can explain, "
            "over an hour or over a day. Never a page: what drift does to the model's quality is not known yet. "
            "Quiet while the window holds values that MLFeatureBroken reports, and for versions that do not report, "
            "which are MLTelemetryAbsent's.",
            first="Open the dashboard an hour before the alert's start, compare the feature's bins with the reference, "
            "and ask its source what changed then.",
        ),
        _drift(
            timings,
            links,
            "MLOutputDrift",
            f'{ROLE_LABEL}="output"',
            why="What the model answers has left its reference further than chance and its seasons can explain. "
            "Users feel that, whatever the cause: inputs that drifted, another model than thought, or a changed "
            "world.",
            first="See which inputs have shifted, most important first, and whether a version was deployed at the "
            "alert's start. If neither, the world has changed: look at the outcomes as they arrive.",
        ),
    )


def _past(series: DriftSeries, timings: Timings) -> Recording:
    week = _at(series, timings.week, timings)
    if series.window == "1d":
        return Recording(series.past, week, "PSI at this time of the week before.")
    day = _at(series, timings.long, timings)
    return Recording(
        series.past,
        lines(f"{day} >= {week}", f"or {week}", f"or {day}"),
        "PSI at this time of the day or the week before, whichever is more.",
    )


def _anew(series: DriftSeries, timings: Timings) -> Recording:
    # Where nothing is known of the past, what has shifted is new.
    psi, usual = series.statistic("psi"), f"({_at(series, timings.week, timings)} or {series.past})"
    return Recording(
        series.shifted_anew,
        lines(
            f"({psi} > bool {nested(_floor(series, _BUDGET_QUANTILE))})",
            "* (",
            f"  {psi} > bool {_SEASONS} * {usual}",
            f"  or {series.shifted}",
            ")",
        ),
        "1 where the feature has shifted by four standard deviations, and by more than it does at this time of the "
        "week: what the drift budget counts.",
    )


def _at(series: DriftSeries, ago: timedelta, timings: Timings) -> str:
    """Return the largest PSI around a time ago: an hour to either side for the hour, six for the day."""
    width = {"1h": timings.two_hours, "1d": 2 * timings.six_hours}[series.window]
    return f"max_over_time({series.statistic('psi')}[{duration(width)}] offset {duration(ago - width / 2)})"


def _news(series: DriftSeries, role: str, timings: Timings) -> str:
    """Return where a feature has shifted by more than chance and by more than its seasons do."""
    psi = f"{series.statistic('psi')}{{{role}}}"
    # The window of a day holds a part of a day only until it is one day old, and a part is no day.
    whole_day = f"{psi} and {DriftSeries('1h').live_total} offset {duration(timings.long)}"
    unknown = f"{psi} > {_GROSS}" if series.window == "1h" else whole_day
    return lines(
        f"{psi} > {series.ticket_floor}",
        f"and ({psi} > {_SEASONS} * {series.past} or {unknown} unless {series.past})",
        f"and ({psi} > {MODERATE} or {psi} and on ({FEATURE}) {REFERENCE_ROWS})",
    )


def _drift(timings: Timings, links: Links, name: str, role: str, *, why: str, first: str) -> Alert:
    hour, day = DriftSeries("1h"), DriftSeries("1d")
    matched = (*FEATURE_LABELS, ROLE_LABEL)
    expr = lines(
        nested(lines(nested(_news(hour, role, timings)), "or", nested(_news(day, role, timings)))),
        f"unless on ({FEATURE})",
        f"  max_over_time({VIOLATION_EXCESS}[{duration(timings.short)}]) > {BROKEN}",
    )
    grade = (
        "{{ if gt $value 0.25 }}large{{ else if gt $value 0.1 }}moderate"
        "{{ else if gt $value 0.05 }}small{{ else }}slight{{ end }}"
    )

    def measured(series: DriftSeries, sentence: str) -> str:
        return queried(f"{series.statistic('psi')}{{MATCHERS}}", matched, 'printf "%.2f"', sentence=sentence)

    chance = queried(
        f"{hour.noise_floor}{{MATCHERS}}", matched, 'printf "%.2f"', sentence="; by chance an hour's stays below VALUE"
    )
    shares = " - ".join(
        f"{bins}{{MATCHERS}} / on ({FEATURE_ROLE}) group_left () {total}"
        for bins, total in ((hour.live, hour.live_total), (hour.reference, hour.reference_total))
    )
    moved = queried(
        f"0.5 * sum(abs({shares}))",
        matched,
        "humanizePercentage",
        sentence=" VALUE of the predictions fall elsewhere than in the reference",
    )
    rows = queried(f"{hour.live_total}{{MATCHERS}}", matched, "humanize", sentence=", of VALUE an hour.")
    weight = queried(
        f"max({semconv.FEATURE_IMPORTANCE.prometheus_name}{{MATCHERS}})",
        FEATURE_LABELS,
        "humanizePercentage",
        sentence=" The feature carries VALUE of the model.",
    )
    shown = f"{{{{ $labels.{ROLE_LABEL} }}}} {FEATURE_SHOWN}"
    return Alert(
        name=name,
        expr=owned(expr, OWNER_REPORTING, severity=False),
        why=why,
        pending=timings.drift_for,
        keep=timings.drift_keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {shown} has shifted",
            f"The distribution of {shown} differs from the reference: a {grade} shift, PSI"
            f"{measured(hour, ' VALUE (last hour)')}{measured(day, ' VALUE (last day)')}{chance}."
            f"{moved}{rows}{weight} {first}",
            about=FEATURE_LABELS,
        ),
    )
