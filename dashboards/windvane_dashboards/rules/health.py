"""The health of the data: values that the baseline does not allow, and values that are too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    AGE_LIMIT,
    AGE_MEDIAN,
    AGE_RATE,
    CALL_RATE,
    DISPERSION,
    FEATURE,
    FEATURE_LABEL,
    FEATURE_OWNER,
    FEATURE_RATE,
    FEATURE_ROWS,
    KIND,
    KIND_LABEL,
    MODEL,
    MODEL_EXCESS,
    OWNER_REPORTING,
    REFERENCE_ROWS,
    REFERENCE_VIOLATION_RATIO,
    SOURCE_DECLARED,
    SOURCE_LABEL,
    VIOLATION_EXCESS,
    VIOLATION_RATE,
    VIOLATION_RATIO,
    VIOLATION_SHARE,
    VIOLATIONS,
    duration,
    labels,
    lines,
    nested,
)
from windvane_dashboards.rules.alerting import (
    FEATURE_LABELS,
    FEATURE_SHOWN,
    MODEL_LABELS,
    MODEL_SHOWN,
    PERCENT,
    TICKET,
    alert_annotations,
    alert_labels,
    queried,
    source_owned,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.timings import MIN_ROWS, sum_of_rates

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["BROKEN", "alerts", "recording"]

BROKEN: Final = 0.25
"""Excess share of violating values from which a feature is broken rather than noisy."""

_GONE, _MANY = 0.75, 1000
"""Excess share of so many values from which the feed is gone, however slowly the feature changes: no clusters of some
tens of rows make that."""

_WORTH_A_TICKET: Final = 0.01
"""Excess share of violating values below which nobody is bothered, however sure it is."""

_SIGMAS: Final = 6
"""Standard errors of the difference of the roots of two shares: a feature is looked at 40,000 times a month."""

_MIN_VIOLATIONS: Final = 10
"""Fewer violations in an hour are no ticket, however few rows there were in all."""

_STALE: Final = 2.5
_USUAL: Final = 0.8

_OF_VALUES: Final = f'{VIOLATION_RATE}{{{KIND_LABEL}=~"{"|".join(semconv.VALUE_VIOLATIONS)}"}}'
"""Violations of known features: an unexpected column is no value of one, so it has no share."""

_TEAM, _SEVERITY, _RUNBOOK = semconv.TEAM.label, semconv.SEVERITY.label, semconv.RUNBOOK_URL.label


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for values that the baseline does not allow, for ages, and for the owners of sources."""
    reference = Recording(
        REFERENCE_VIOLATION_RATIO,
        lines(
            f"(max by ({KIND}) ({semconv.FEATURE_REFERENCE_VIOLATIONS.prometheus_name}) > 0)",
            f"/ on ({FEATURE}) group_left () {REFERENCE_ROWS}",
        ),
        "The reference's own share of each kind, of those that it has.",
    )
    return (
        Group("windvane-violations", timings.interval, _violations(timings)),
        Group("windvane-violations-1h", timings.slow_interval, (reference, *_hourly_violations(timings))),
        Group("windvane-ages", timings.interval, _ages(timings)),
        Group("windvane-sources", timings.interval, _sources(timings)),
    )


def _recent_rows(timings: Timings) -> str:
    """Return the values of a feature within a rate's window."""
    return f"{FEATURE_RATE} * {timings.rate.total_seconds():g}"


def _share(number: str, of: str) -> str:
    # Rates of counters that have just begun are extrapolated one by one, and so a little apart.
    return lines(
        "clamp_max(", f"  {number}", f"  / on ({FEATURE}) group_left ()", f"  ({of} >= {MIN_ROWS}),", "  1", ")"
    )


def _reference_of(share: str) -> str:
    """Return the reference's own share of the kinds that a share is of; 0 where the reference has none."""
    return f"({REFERENCE_VIOLATION_RATIO} or 0 * {share})"


def _violations(timings: Timings) -> tuple[Recording, ...]:
    rate = duration(timings.rate)
    rows, reference = _recent_rows(timings), _reference_of(VIOLATION_SHARE)
    # Most features have no violations at all, of four kinds each: such series would cost more than all others here.
    return (
        Recording(
            VIOLATION_RATE,
            lines(f"sum by ({KIND}) (", f"  rate({semconv.FEATURE_VIOLATIONS.prometheus_name}[{rate}])", ") > 0"),
            "Violations of each kind per second, over all replicas, where there are any.",
        ),
        Recording(
            VIOLATION_SHARE,
            lines(
                _share(f"{_OF_VALUES} * {timings.rate.total_seconds():g}", rows),
                f"or {VIOLATION_RATIO}",
                f"unless on ({FEATURE}) ({rows} >= {MIN_ROWS})",
            ),
            "Share of values in violation in the last five minutes; where they hold fewer than 100 values, in the last "
            "hour.",
        ),
        Recording(
            VIOLATION_EXCESS,
            lines(f"({VIOLATION_SHARE} - {reference})", f"/ (1 - {reference})"),
            "Of the values that the reference would have in order, the share that is not: 0 is as the reference, "
            "1 is all broken. Only where there are violations.",
        ),
        Recording(
            MODEL_EXCESS,
            lines(f"max by ({MODEL}) ({VIOLATION_EXCESS})", f"or 0 * {CALL_RATE}"),
            "The largest of the model's features; 0 where there are no violations.",
        ),
    )


def _hourly_violations(timings: Timings) -> tuple[Recording, ...]:
    return (
        Recording(
            VIOLATIONS,
            sum_of_rates(_OF_VALUES, timings.short, timings),
            "Violations of the last hour that a value can have, where there were any.",
        ),
        Recording(
            FEATURE_ROWS, sum_of_rates(FEATURE_RATE, timings.short, timings), "Values of the feature in the last hour."
        ),
        Recording(VIOLATION_RATIO, _share(VIOLATIONS, FEATURE_ROWS), "Share of each kind in the last hour."),
    )


def _ages(timings: Timings) -> tuple[Recording, ...]:
    name, rate = semconv.FEATURE_AGE.prometheus_name, duration(timings.rate)
    hourly = sum_of_rates(AGE_RATE, timings.short, timings)
    number = sum_of_rates(f'{AGE_RATE}{{le="+Inf"}}', timings.short, timings)
    past = f"{AGE_MEDIAN}[{duration(timings.week)}] offset {duration(timings.long)}"
    samples = f"{timings.long / timings.interval:.0f}"
    return (
        Recording(
            AGE_RATE,
            lines(
                f"sum by ({FEATURE}, le) (",
                "  label_replace(",
                f"    rate({name}_bucket[{rate}]),",
                '    "le", "$1", "le", "([0-9]+)\\\\.0"',
                "  )",
                ")",
            ),
            "Values per second that were at most le seconds old.",
        ),
        Recording(
            AGE_MEDIAN,
            lines(
                f"histogram_quantile(0.5, {hourly})",
                f"and on ({FEATURE}) ({number} >= {MIN_ROWS})",
            ),
            "Median age in seconds of the values of the last hour.",
        ),
        Recording(
            AGE_LIMIT,
            lines(
                f"{_STALE} * quantile_over_time({_USUAL}, {past})",
                f"and on ({FEATURE}) count_over_time({past}) >= {samples}",
            ),
            "Age from which a feature is stale: two and a half times what it exceeds a fifth of the time, in the week "
            "that ended a day ago; so tables that come once a day, or not at the weekend, are let be. Bounds of the "
            "histogram lie up to five times apart, hence the factor. Needs a day of that.",
        ),
    )


def _sources(timings: Timings) -> tuple[Recording, ...]:
    info = f"last_over_time({semconv.FEATURE_INFO.prometheus_name}[{duration(timings.absent)}])"
    declared = f"count by ({FEATURE}, {SOURCE_LABEL}, {_TEAM}) ({info})"
    severity_and_runbook = labels(_SEVERITY, _RUNBOOK)
    owned_source = f'{SOURCE_DECLARED}{{{_TEAM}!=""}}'
    return (
        Recording(
            SOURCE_DECLARED,
            lines(
                f"group by ({FEATURE}, {SOURCE_LABEL}, {_TEAM}) (",
                f"  topk by ({FEATURE}) (1,",
                f"    {declared} + 0.5 * {SOURCE_DECLARED}",
                f"    or {declared}",
                "  )",
                ")",
            ),
            "Source and team that most processes declare for a feature; among equals the choice before stays.",
        ),
        Recording(
            FEATURE_OWNER,
            lines(
                f"{owned_source} * on ({MODEL}) group_left ({severity_and_runbook}) {OWNER_REPORTING}",
                f"or on ({FEATURE})",
                nested(
                    lines(
                        f'{SOURCE_DECLARED}{{{_TEAM}=""}}',
                        f"or on ({FEATURE}) group by ({FEATURE}) ({FEATURE_RATE})",
                        f"or on ({FEATURE}) group by ({FEATURE}) ({AGE_MEDIAN})",
                    )
                ),
                f"* on ({MODEL}) group_left ({_TEAM}, {severity_and_runbook}) {OWNER_REPORTING}",
            ),
            "Who is told of a broken or stale feature: the team of its source where one is declared, else the model's.",
        ),
    )


def _beyond_chance(share: str, rows: str) -> str:
    """Return where a share of violations is more than chance makes of so many rows and of the reference's.

    The difference of the roots of both shares is compared: its variance is a quarter of the dispersion over the rows
    however rare violations are (Anscombe 1948), also where one cluster makes all that there are.
    """
    errors = nested(
        lines(
            f"({DISPERSION} or 0 * {FEATURE_ROWS} + 1)",
            f"* (1 / {rows} + on ({FEATURE}) 1 / {REFERENCE_ROWS}) / 4",
        )
    )
    return lines(
        f"(sqrt({share}) - sqrt{_reference_of(share)})",
        f"/ on ({FEATURE}) group_left () sqrt{errors}",
        f"> {_SIGMAS}",
    )


def _broken(timings: Timings, links: Links) -> Alert:
    name = "MLFeatureBroken"
    recent = _recent_rows(timings)
    rows = f"({recent} >= {MIN_ROWS} or {FEATURE_ROWS})"
    gone = f"{VIOLATION_EXCESS} > {_GONE}"
    touched = _touched(f"{VIOLATION_EXCESS}{{MATCHERS}} * on ({FEATURE}) {FEATURE_ROWS}", kind=True)
    return Alert(
        name=name,
        expr=source_owned(
            lines(
                f"{VIOLATION_EXCESS} > {BROKEN}",
                "and",
                nested(
                    lines(
                        _beyond_chance(VIOLATION_SHARE, rows),
                        f"or {gone} and on ({FEATURE}) {recent} >= {_MANY}",
                        f"or {gone} and {VIOLATION_RATIO} > {_GONE} and on ({FEATURE}) {FEATURE_ROWS} >= {_MANY}",
                        f"or {VIOLATION_EXCESS} unless on ({FEATURE}) {REFERENCE_ROWS}",
                    )
                ),
            ),
            severity=True,
        ),
        why="Far more values than in the reference are missing, of a wrong type, out of range or of an unknown "
        "category: the feed is broken, and the model answers with what it was never trained on. Waits as long as a "
        "rate's window, so one bad batch never pages.",
        pending=timings.broken_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {FEATURE_SHOWN} is broken ({{{{ $labels.{KIND_LABEL} }}}})",
            f"{PERCENT} of the values of {FEATURE_SHOWN} that the reference would have in order are violations of "
            f"kind {{{{ $labels.{KIND_LABEL} }}}}. It has been so for {duration(timings.broken_for)} at "
            f"least.{touched} Open the "
            "dashboard at the alert's start, see which features broke together, and mend or roll back their feed.",
            about=FEATURE_LABELS,
        ),
    )


def _violating(timings: Timings, links: Links) -> Alert:
    name = "MLFeatureViolations"
    touched = _touched(f"{VIOLATIONS}{{MATCHERS}}", kind=True)
    excess = f"({VIOLATION_RATIO} > {_WORTH_A_TICKET}) - {_reference_of(VIOLATION_RATIO)}"
    expr = lines(
        f"({excess} > {_WORTH_A_TICKET})",
        f"and ({_beyond_chance(VIOLATION_RATIO, FEATURE_ROWS)})",
        f"and {VIOLATIONS} >= {_MIN_VIOLATIONS}",
        f"unless max_over_time({VIOLATION_EXCESS}[{duration(timings.short)}]) > {BROKEN}",
    )
    return Alert(
        name=name,
        expr=source_owned(expr, severity=False),
        why="More values than in the reference are missing, of a wrong type, out of range or of an unknown category, "
        "by more than chance and by more than one in a hundred; and by too few to page.",
        pending=timings.ticket_for,
        keep=timings.drift_keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: more values of {FEATURE_SHOWN} are in violation ({{{{ $labels.{KIND_LABEL} }}}})",
            f"In the last hour {PERCENT} more of the values of {FEATURE_SHOWN} than in the reference were violations "
            f"of kind {{{{ $labels.{KIND_LABEL} }}}}.{touched} A part of the "
            "traffic is likely to be touched: look for one caller, one region or one batch, and ask the source of "
            "the feature.",
            about=FEATURE_LABELS,
        ),
    )


def _stale(timings: Timings, links: Links) -> Alert:
    name = "MLFeatureStale"
    touched = _touched(f"{FEATURE_ROWS}{{MATCHERS}}")
    usual = queried(f"{AGE_LIMIT}{{MATCHERS}} / {_STALE}", FEATURE_LABELS, "humanizeDuration")
    return Alert(
        name=name,
        expr=source_owned(f"{AGE_MEDIAN} > {AGE_LIMIT}", severity=False),
        why="The values of a feature are older than they were on most of the days of the week before: what feeds them "
        "has stopped or is late. No page: most models bear old values for a while, and what they make of them shows "
        "elsewhere.",
        pending=timings.ticket_for,
        keep=timings.drift_keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {FEATURE_SHOWN} is stale",
            f"Half of the values of {FEATURE_SHOWN} in the last hour were older than {{{{ $value | humanizeDuration "
            f"}}}}; usual is {usual}.{touched} See when the source was last written, "
            "and run or mend what writes it.",
            about=FEATURE_LABELS,
        ),
    )


def _touched(query: str, *, kind: bool = False) -> str:
    """Return a sentence on how many predictions an hour are touched."""
    matched = (*MODEL_LABELS, FEATURE_LABEL, *([KIND_LABEL] if kind else []))
    return queried(query, matched, "humanize", sentence=" That touches VALUE predictions an hour.")


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (_broken(timings, links), _violating(timings, links), _stale(timings, links))
