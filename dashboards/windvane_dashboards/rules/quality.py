"""Quality by outcomes: against the model's objective, against its reference, and against what was expected of it.

All of this is judged by the share of wrong outcomes of a version (of numbers without a tolerance by the mean absolute
error), and by what chance makes of so few of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from windvane import semconv
from windvane_dashboards.promql import (
    DISPERSION,
    ERROR_BUDGET,
    EXPECTED_AGED_ERROR,
    EXPECTED_AGED_RATIO,
    EXPECTED_ERROR,
    EXPECTED_SHARE,
    FEATURE,
    FEATURE_LABEL,
    MODEL,
    OBJECTIVE_LABEL,
    OUTCOME_DISPERSION,
    OUTCOME_ERROR,
    OUTCOME_ERROR_NOISE,
    OWNER,
    OWNER_REPORTING,
    REALISED_SHARE,
    REFERENCE,
    REFERENCE_SHARE,
    ROLE_LABEL,
    SEGMENT,
    SEGMENT_EFFECTIVE,
    SEGMENT_JUDGED,
    SEGMENT_LABEL,
    SEGMENT_RATIO,
    SEGMENT_SURELY,
    SEGMENT_WRONG,
    WRONG_NOISE,
    OutcomeSeries,
    OutcomeShare,
    burn_threshold,
    labels,
    lines,
    nested,
    outcome_count,
)
from windvane_dashboards.rules.alerting import (
    MODEL_LABELS,
    MODEL_SHOWN,
    PERCENT,
    TICKET,
    alert_annotations,
    alert_labels,
    listed,
    owned,
    queried,
)
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.outcomes import aged, dispersion
from windvane_dashboards.rules.statistics import wilson
from windvane_dashboards.rules.timings import sum_of_rates

if TYPE_CHECKING:
    from datetime import timedelta

    from windvane_dashboards.promql import BurnWindow
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_RESULT: Final = semconv.OUTCOME_RESULT.label
_, _WRONG, _UNJUDGED = semconv.OUTCOME_RESULT.values


class _Burn(NamedTuple):
    """A threshold, a window in which chance must not explain that it is passed, and one that shows that it lasts."""

    threshold: str
    long: BurnWindow
    short: BurnWindow


_IS_QUALITY: Final = f'{{{OBJECTIVE_LABEL}="quality"}}'

# Longer windows than for errors: outcomes come late, often in batches, and a quality objective leaves a large budget,
# which the shortest windows' burn rates would exceed.
_PAGES: Final = (_Burn(burn_threshold("6h"), "6h", "1h"), _Burn(burn_threshold("1d"), "1d", "6h"))
_TICKET: Final = _Burn(ERROR_BUDGET, "7d", "1d")

_SIGMAS: Final = 4
"""Standard normal quantile of what chance explains: no false alert in a model's month (docs/alert-quality.md)."""

_WORSE: Final = 1.2
"""Times as many errors as there should be from which quality is worse: less is no news to anybody."""

_MUCH_WORSE: Final = 2
"""Times as many errors as in the rest of the model from which a segment is much worse."""

_MIN_WRONG: Final = 10
"""Fewer wrong outcomes alert nobody."""

_LEAST_SHARE: Final = 0.001
"""Share of wrong outcomes below which nobody is told to be any better."""

_MIN_OUTCOMES: Final = 100
"""Fewer outcomes say nothing of a mean error."""

_PAGE: Final = "MLModelQuality"


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules for the share of wrong outcomes of versions and segments."""
    return (
        Group("windvane-quality-realised", timings.interval, _realised(timings)),
        Group("windvane-quality-estimate", timings.slow_interval, _estimate(timings)),
        Group("windvane-quality-numbers", timings.slow_interval, _numbers_predicted(timings)),
        Group("windvane-quality-segments", timings.slow_interval, _segments()),
    )


def _span(window: BurnWindow, timings: Timings) -> timedelta:
    return {"1h": timings.short, "6h": timings.six_hours, "1d": timings.long, "7d": timings.week}[window]


def _rates(share: OutcomeShare, metric: semconv.Metric) -> tuple[Recording, ...]:
    rate = outcome_count(metric, "rate5m")
    return (
        Recording(
            share.rate("judged"),
            f'sum by ({MODEL}) ({rate}{{{_RESULT}!="{_UNJUDGED}"}})',
            "Outcomes per second that are right or wrong.",
        ),
        Recording(
            share.rate("wrong"),
            f'sum by ({MODEL}) ({rate}{{{_RESULT}="{_WRONG}"}}) or 0 * {share.rate("judged")}',
            "Wrong ones of these.",
        ),
    )


def _numbers(share: OutcomeShare, window: BurnWindow, timings: Timings) -> tuple[Recording, ...]:
    return (
        *(
            Recording(
                share.number(result, window),
                sum_of_rates(share.rate(result), _span(window, timings), timings),
                f"{'Wrong' if result == 'wrong' else 'Judged'} outcomes of {window}.",
            )
            for result in ("wrong", "judged")
        ),
        Recording(
            share.ratio(window),
            f"{share.number('wrong', window)} / ({share.number('judged', window)} > 0)",
            "Share of wrong ones.",
        ),
    )


def _realised(timings: Timings) -> tuple[Recording, ...]:
    share = REALISED_SHARE
    rules = list(_rates(share, semconv.OUTCOME_COUNT))
    for window in ("1h", "6h", "1d", "7d"):
        rules += _numbers(share, window, timings)
        if window != "1h":
            judged = share.number("judged", window)
            rules += _surely(share, window, f"({judged} > 0) / {dispersion(judged)}")
    return tuple(rules)


def _surely(share: OutcomeShare, window: BurnWindow, effective: str) -> tuple[Recording, ...]:
    return (
        Recording(
            share.effective(window),
            effective,
            "Independent outcomes that would tell as much: fewer where they come in clusters.",
        ),
        Recording(
            share.surely(window),
            lines(
                nested(wilson(share.ratio(window), share.effective(window), _SIGMAS)),
                f"and {share.number('wrong', window)} >= {_MIN_WRONG}",
            ),
            "Share of wrong ones that chance does not explain: Wilson's lower bound at four standard errors.",
        ),
    )


def _estimate(timings: Timings) -> tuple[Recording, ...]:
    share, reference = EXPECTED_SHARE, outcome_count(semconv.OUTCOME_REFERENCE_COUNT, "max")
    judged, realised = share.number("judged", "1d"), REALISED_SHARE.ratio("7d")
    both = f"(1 / ({judged} > 0) + 1 / {REFERENCE_SHARE.number('judged')})"
    return (
        Recording(
            OUTCOME_DISPERSION,
            f'max by ({MODEL}) ({DISPERSION} and on ({FEATURE}) {REFERENCE}{{{ROLE_LABEL}="output"}})',
            "How many times more the reference's blocks of answers differ than chance explains; so outcomes of rows in "
            "clusters will.",
        ),
        Recording(
            REFERENCE_SHARE.ratio(),
            lines(
                f'(sum by ({MODEL}) ({reference}{{{_RESULT}="{_WRONG}"}}) or 0 * {REFERENCE_SHARE.number("judged")})',
                f"/ {REFERENCE_SHARE.number('judged')}",
            ),
            "Share of wrong ones in the reference.",
        ),
        *_rates(share, semconv.OUTCOME_EXPECTED_COUNT),
        *_numbers(share, "1d", timings),
        *_numbers(share, "7d", timings),
        *_surely(share, "1d", f"1 / {both} / {dispersion(judged)}"),
        Recording(
            WRONG_NOISE,
            lines(
                f"{_SIGMAS} * sqrt(",
                f"  {realised} * (1 - {realised})",
                f"  * (1 / {REALISED_SHARE.number('judged', '7d')} + 1 / {REFERENCE_SHARE.number('judged')})",
                f"  * {dispersion(realised)}",
                ")",
            ),
            "How much a week's share of wrong outcomes differs by chance from what the reference lets expect: four "
            "standard errors.",
        ),
        Recording(
            EXPECTED_AGED_RATIO,
            aged(share.ratio("7d"), timings),
            "The same of predictions as old as most outcomes of this week are when they come.",
        ),
    )


def _numbers_predicted(timings: Timings) -> tuple[Recording, ...]:
    def total(metric: semconv.Metric) -> str:
        return f"sum by ({MODEL}) ({outcome_count(metric, 'increase7d')})"

    realised = total(semconv.OUTCOME_COUNT)
    reference = f"sum by ({MODEL}) ({outcome_count(semconv.OUTCOME_REFERENCE_COUNT, 'max')})"
    return (
        Recording(
            OUTCOME_ERROR,
            f"{total(semconv.OUTCOME_ABSOLUTE_ERROR)} / ({realised} >= {_MIN_OUTCOMES})",
            "Mean absolute error of a week.",
        ),
        Recording(
            OUTCOME_ERROR_NOISE,
            lines(
                f"{_SIGMAS} * sqrt(",
                f"  clamp_min({total(semconv.OUTCOME_SQUARED_ERROR)} / {realised} - {OUTCOME_ERROR} ^ 2, 0)",
                f"  * (1 / {realised} + 1 / {reference})",
                f"  * {dispersion(realised)}",
                ")",
            ),
            "How much it differs from the reference's by chance: four standard errors.",
        ),
        Recording(
            EXPECTED_ERROR,
            f"{total(semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR)} / ({total(semconv.OUTCOME_EXPECTED_COUNT)} > 0)",
            "Mean absolute error that is expected of a week's predictions.",
        ),
        Recording(
            EXPECTED_AGED_ERROR,
            aged(EXPECTED_ERROR, timings),
            "The same of predictions as old as most outcomes of this week are when they come.",
        ),
    )


def _segments() -> tuple[Recording, ...]:
    counted = outcome_count(semconv.OUTCOME_COUNT, "increase7d")
    segment = f'{SEGMENT_LABEL}!=""'
    return (
        Recording(
            SEGMENT_JUDGED,
            f'sum by ({SEGMENT}) ({counted}{{{_RESULT}!="{_UNJUDGED}",{segment}}}) > 0',
            "Judged outcomes of each segment in 7d.",
        ),
        Recording(
            SEGMENT_WRONG,
            lines(
                f'sum by ({SEGMENT}) ({counted}{{{_RESULT}="{_WRONG}",{segment}}})',
                f"or 0 * {SEGMENT_JUDGED}",
            ),
            "Wrong ones of these.",
        ),
        Recording(SEGMENT_RATIO, f"{SEGMENT_WRONG} / {SEGMENT_JUDGED}", "Share of wrong ones."),
        Recording(
            SEGMENT_EFFECTIVE,
            f"{SEGMENT_JUDGED} / on ({MODEL}) group_left () {dispersion(f'sum by ({MODEL}) ({SEGMENT_JUDGED})')}",
            "Independent outcomes that would tell as much.",
        ),
        Recording(
            SEGMENT_SURELY,
            lines(
                nested(wilson(SEGMENT_RATIO, SEGMENT_EFFECTIVE, _SIGMAS)),
                f"and {SEGMENT_WRONG} >= {_MIN_WRONG}",
            ),
            "Share of wrong ones that chance does not explain.",
        ),
    )


# --- Alerts ------------------------------------------------------------------------------------------------------


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (
        _page(timings, links),
        _budget(timings, links),
        _below_baseline(timings, links),
        _estimate_low(timings, links),
        _concept_drift(timings, links),
        _segment(timings, links),
    )


def _burning(burn: _Burn) -> str:
    share, threshold = REALISED_SHARE, f"on ({MODEL}) {burn.threshold}{_IS_QUALITY}"
    return lines(
        share.ratio(burn.long),
        f"and {share.surely(burn.long)} > {threshold}",
        f"and {share.ratio(burn.short)} > {threshold}",
    )


def _promised() -> str:
    return queried(
        f"{ERROR_BUDGET}{{MATCHERS,{_IS_QUALITY[1:-1]}}}",
        MODEL_LABELS,
        "humanizePercentage",
        sentence=" The objective allows VALUE.",
    )


def _wrong(window: BurnWindow) -> str:
    return queried(
        f"{REALISED_SHARE.number('wrong', window)}{{MATCHERS}}",
        MODEL_LABELS,
        'printf "%.0f"',
        sentence=f" In the last {window} that were VALUE predictions.",
    )


def _page(timings: Timings, links: Links) -> Alert:
    return Alert(
        name=_PAGE,
        expr=owned("\nor\n".join(nested(_burning(burn)) for burn in _PAGES), OWNER, severity=True),
        why="So many predictions turn out wrong that 5 % of a month's budget goes in six hours, or 10 % in a day, and "
        "chance does not explain it. The short window shows that it lasts. For a low objective the threshold is "
        "half-way between its budget and all, as for errors.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            _PAGE,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of predictions turn out wrong",
            f"{PERCENT} of the outcomes that came in lately say that the prediction was wrong.{_promised()}"
            f"{_wrong('6h')} The calls themselves succeed. See on the dashboard since when, in which segment and "
            "class, and whether inputs broke or a version was deployed when these predictions were made; roll that "
            "back.",
        ),
    )


def _budget(timings: Timings, links: Links) -> Alert:
    name = "MLQualityBudgetBurn"
    return Alert(
        name=name,
        expr=owned(
            lines(nested(_burning(_TICKET)), f'unless on ({MODEL}) ALERTS{{alertname="{_PAGE}"}}'),
            OWNER_REPORTING,
            severity=False,
        ),
        why="More predictions turn out wrong over a week than the objective allows, by more than chance, and today's "
        "do too: the month will end below it.",
        pending=timings.ticket_for,
        keep=timings.keep,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: the quality budget will not last the month",
            f"Over a week {PERCENT} of the outcomes say that the prediction was wrong.{_promised()}{_wrong('7d')} See "
            "on the dashboard whether that was expected of these inputs: if so, they have changed; if not, what "
            "follows from them has, and the model wants new training.",
        ),
    )


def _beyond_chance(reference: str) -> str:
    """Return where the week's share of wrong outcomes is above another share by more than chance."""
    share = REALISED_SHARE
    return lines(
        f"{share.ratio('7d')} / (clamp_min({reference}, {_LEAST_SHARE}) < {share.ratio('7d')} / {_WORSE})",
        f"and {share.ratio('7d')} - {reference} > {WRONG_NOISE}",
        f"and {share.number('wrong', '7d')} >= {_MIN_WRONG}",
    )


def _error_beyond_chance(reference: str) -> str:
    """Return where the week's mean absolute error is above another by more than chance."""
    return lines(
        f"{OUTCOME_ERROR} / ({reference} < {OUTCOME_ERROR} / {_WORSE})",
        f"and {OUTCOME_ERROR} - {reference} > {OUTCOME_ERROR_NOISE}",
    )


def _times(share: str, error: str) -> str:
    return "\nor\n".join((nested(_beyond_chance(share)), nested(_error_beyond_chance(error))))


_TIMES: Final = '{{ $value | printf "%.1f" }}'


def _below_baseline(timings: Timings, links: Links) -> Alert:
    name = "MLQualityBelowBaseline"
    return Alert(
        name=name,
        expr=owned(
            _times(REFERENCE_SHARE.ratio(), OutcomeSeries("reference").statistic("mean_absolute_error")),
            OWNER_REPORTING,
            severity=False,
        ),
        why="Over a week, so that weekdays do not matter, a fifth more predictions turn out wrong than in the "
        "reference, or numbers miss by a fifth more, and chance does not explain it.",
        pending=timings.ticket_for,
        keep=timings.short,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {_TIMES} times the errors of the reference",
            f"By the outcomes of a week {MODEL_SHOWN} errs {_TIMES} times as much as in its reference. If the "
            "reference holds rows that the model was trained on, that is no news: build the baseline from rows that "
            "were held out. Otherwise see whether this was expected of the inputs (they have shifted) or not (what "
            "follows from them has), and plan new training.",
        ),
    )


def _estimate_low(timings: Timings, links: Links) -> Alert:
    name = "MLQualityEstimate"
    share, budget = EXPECTED_SHARE, f"{ERROR_BUDGET}{_IS_QUALITY}"
    return Alert(
        name=name,
        expr=owned(
            lines(
                f"{share.ratio('1d')} > on ({MODEL}) {_WORSE} * {budget}",
                f"and {share.surely('1d')} > on ({MODEL}) {budget}",
            ),
            OWNER_REPORTING,
            severity=False,
        ),
        why="By the calibration of the baseline, a fifth more of today's predictions will turn out wrong than the "
        "objective allows, beyond chance. Outcomes that tell the truth are still to come, so it never pages.",
        pending=timings.ticket_for,
        keep=timings.short,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {PERCENT} of predictions are expected to be wrong",
            f"Of the predictions of the last day {PERCENT} are expected to turn out wrong, by how scores and outcomes "
            f"went together in the reference.{_promised()} The inputs have moved to where the model is less sure: see "
            "which features have shifted, and whether the callers can wait for outcomes.",
        ),
    )


def _concept_drift(timings: Timings, links: Links) -> Alert:
    name = "MLConceptDrift"
    return Alert(
        name=name,
        expr=owned(_times(EXPECTED_AGED_RATIO, EXPECTED_AGED_ERROR), OWNER_REPORTING, severity=False),
        why="By the outcomes of a week a fifth more predictions are wrong than the calibration expected of these very "
        "inputs when they came, or numbers miss by a fifth more, beyond chance: what follows from the inputs has "
        "changed.",
        pending=timings.ticket_for,
        keep=timings.short,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: {_TIMES} times the errors that its inputs explain",
            f"By the outcomes of a week {MODEL_SHOWN} errs {_TIMES} times as much as was expected of its predictions "
            "when they were made. The inputs do not explain it: for equal inputs other things happen than in the "
            "reference (concept drift), or outcomes are reported wrongly. Check a few outcomes by hand; if they are "
            "true, train anew on recent outcomes: a new baseline alone mends nothing.",
        ),
    )


def _segment(timings: Timings, links: Links) -> Alert:
    name = "MLSegmentQuality"

    def rest(series: str) -> str:
        return f"(sum by ({MODEL}) ({series}) - on ({MODEL}) group_right () {series})"

    feature, bin_range = FEATURE_LABEL, semconv.FEATURE_BIN_RANGE.label
    info = f"group by ({labels(feature, bin_range)}) ({semconv.OUTCOME_SEGMENT_INFO.prometheus_name}{{MATCHERS}})"
    holds = listed(
        f'label_join({info}, "holds", " ", "{feature}", "{bin_range}")',
        (*MODEL_LABELS, SEGMENT_LABEL),
        "holds",
        sentence=" (NAMES)",
    )
    return Alert(
        name=name,
        expr=owned(
            lines(
                SEGMENT_RATIO,
                f"and {SEGMENT_SURELY} > {_MUCH_WORSE} * {rest(SEGMENT_WRONG)} / ({rest(SEGMENT_JUDGED)} > 0)",
                f"and {SEGMENT_SURELY} > on ({MODEL}) group_left () {ERROR_BUDGET}{_IS_QUALITY}",
            ),
            OWNER_REPORTING,
            severity=False,
        ),
        why="In one segment predictions turn out wrong more than twice as often as in the rest, and more often than "
        "the objective allows, both beyond chance, over a week. Of a model without a quality objective nothing is "
        "said.",
        pending=timings.ticket_for,
        keep=timings.short,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{MODEL_SHOWN}: segment {{{{ $labels.{SEGMENT_LABEL} }}}} is much worse than the rest",
            f"In the segment {{{{ $labels.{SEGMENT_LABEL} }}}}{holds} {PERCENT} of the outcomes of a week say that the "
            f"prediction was wrong, more than twice as many as in the rest.{_promised()} The mean over all hides it. "
            "Compare its inputs with the reference; more training rows of it, or a "
            "fallback for it, are the usual remedies.",
        ),
    )
