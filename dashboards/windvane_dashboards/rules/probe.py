"""Whether a model still answers known cases as it should, and whether anybody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.promql import (
    MODEL_LABEL,
    MODEL_OWNER,
    OWNER_LABELS,
    OWNER_LAST_SEEN,
    PROBE,
    PROBE_LABEL,
    PROBE_NOT_PASSED,
    PROBE_OWNER,
    PROBE_RESULTS,
    PROBE_RUNS,
    RESULT_LABEL,
    VERSION_LABEL,
    duration,
    labels,
    lines,
)
from windvane_dashboards.rules.alerting import PERCENT, TICKET, alert_annotations, alert_labels, owned, queried
from windvane_dashboards.rules.model import Alert, Group, Recording
from windvane_dashboards.rules.telemetry import with_severity

if TYPE_CHECKING:
    from windvane_dashboards.rules.alerting import Links
    from windvane_dashboards.rules.timings import Timings

__all__ = ["alerts", "recording"]

_MOST: Final = 0.5
"""Share of the runs that must not pass before it pages."""

_MORE_THAN_ONE: Final = 1.5
"""What `increase()` makes of one run at the most, since it extrapolates to the window's ends."""

_MODEL_SHOWN: Final = f"{{{{ $labels.{MODEL_LABEL} }}}}"
_PROBE_SHOWN: Final = f"{{{{ $labels.{PROBE_LABEL} }}}}"


def recording(timings: Timings) -> tuple[Group, ...]:
    """Return the rules that count the runs of probes, and say who is told."""
    # Probes are few, so their counters can be read over more than the window of every other rate.
    window = duration(2 * timings.rate)
    seen = f"group by ({MODEL_LABEL}) (last_over_time({PROBE_RUNS}[{duration(timings.long)}]))"
    return (
        Group(
            "windvane-probes",
            timings.interval,
            (
                Recording(
                    PROBE_RESULTS,
                    f"sum by ({PROBE}, {RESULT_LABEL}) (increase({semconv.PROBE_RUNS.prometheus_name}[{window}]))",
                    "Runs of each probe in the last ten minutes by result.",
                ),
                Recording(PROBE_RUNS, f"sum by ({PROBE}) ({PROBE_RESULTS})", "All of them."),
                Recording(
                    PROBE_NOT_PASSED,
                    f'sum by ({PROBE}) ({PROBE_RESULTS}{{{RESULT_LABEL}!="passed"}})',
                    "Those that did not pass.",
                ),
                Recording(
                    PROBE_OWNER,
                    lines(
                        f"group by ({MODEL_LABEL}, {labels(*OWNER_LABELS)}) (",
                        f"  {MODEL_OWNER}",
                        f"  or on ({MODEL_LABEL}) topk by ({MODEL_LABEL}) (1, {OWNER_LAST_SEEN})",
                        f"  or on ({MODEL_LABEL}) {with_severity(seen)}",
                        ")",
                    ),
                    "Who is told: the owner of the model, also of one that reports no more, for that is when a probe "
                    "matters most; else nobody (the routing's own default gets it).",
                ),
            ),
        ),
    )


def _failing(timings: Timings, links: Links) -> Alert:
    name = "MLProbeFailing"
    window = duration(2 * timings.rate)
    matched = (MODEL_LABEL, VERSION_LABEL, PROBE_LABEL)
    results = ", ".join(
        queried(
            f'round({PROBE_RESULTS}{{MATCHERS,{RESULT_LABEL}="{result}"}})',
            matched,
            "humanize",
            sentence=f"{what}: VALUE",
        )
        for result, what in (("failed", "wrong answers"), ("error", "no answers"))
    )
    return Alert(
        name=name,
        expr=owned(
            lines(
                f"{PROBE_NOT_PASSED} / {PROBE_RUNS} > {_MOST}",
                f"and {PROBE_NOT_PASSED} > {_MORE_THAN_ONE}",
            ),
            PROBE_OWNER,
            severity=True,
            on=MODEL_LABEL,
        ),
        why="More than half of the runs of a known case in ten minutes, and more than one, were not answered as they "
        "must be. One run that fails never pages, and neither does one in two.",
        pending=timings.burn_for,
        keep=timings.keep,
        labels=alert_labels(),
        annotations=alert_annotations(
            name,
            links,
            f"{_MODEL_SHOWN}: {PERCENT} of the runs of {_PROBE_SHOWN} do not pass",
            f"Of the runs of the known case {_PROBE_SHOWN} in the last {window}, {PERCENT} did not pass ({results}). "
            "Callers are likely to get the same, however healthy the traffic looks. Run the case by hand with "
            "`windvane probe run FILE --url ... --once`, which tells what came back, and open the trace of a run; if a "
            "deployment fell together with it, roll that back.",
            about=(MODEL_LABEL,),
        ),
    )


def _stopped(timings: Timings, links: Links) -> Alert:
    name = "MLProbeStopped"
    past = f"max_over_time({PROBE_RUNS}[{duration(timings.long)}])"
    return Alert(
        name=name,
        expr=owned(
            lines(
                f"max by ({MODEL_LABEL}) ({past}) > 0",
                f"unless on ({MODEL_LABEL}) sum by ({MODEL_LABEL}) ({PROBE_RUNS}) > 0",
            ),
            PROBE_OWNER,
            severity=False,
            on=MODEL_LABEL,
        ),
        why="No known case of the model has been run for a while, and one was within the last day. A case that was "
        "taken out or renamed while others run is missed by nobody.",
        pending=timings.ticket_for,
        labels=alert_labels(severity=TICKET),
        annotations=alert_annotations(
            name,
            links,
            f"{_MODEL_SHOWN}: no probe runs any more",
            f"No known case of {_MODEL_SHOWN} has been run for {duration(timings.ticket_for)} at least, so a model "
            "that answers wrongly is noticed by its callers first. See whether the process that runs them "
            "(`windvane probe run`) is up, and whether its telemetry arrives. If the probes were taken away on "
            "purpose, a silence for a day is all it needs.",
            about=(MODEL_LABEL,),
        ),
    )


def alerts(timings: Timings, links: Links) -> tuple[Alert, ...]:
    """Return the alerts of this family."""
    return (_failing(timings, links), _stopped(timings, links))
