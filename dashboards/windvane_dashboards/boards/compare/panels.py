"""The panels of the Compare dashboard, top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards import grafana as g
from windvane_dashboards.boards.compare import queries as q
from windvane_dashboards.boards.frame import feature_link
from windvane_dashboards.promql import BIN_LABEL, FEATURE_LABEL, VARIANT_LABEL, VERSION_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

_CHOSEN, _AGAINST = "this version", "other version"
_VERSIONS: Final = {"A": ("$version", _CHOSEN), "B": ("$other", _AGAINST)}
_COLOURS: Final = {_CHOSEN: g.ORANGE, _AGAINST: g.BLUE}


_SHARE: Final = {"unit": "percentunit", "decimals": 1}
_NUMBER: Final = {"unit": "short", "decimals": 3}
_QUALITY: Final = (
    ("outcomes", "Outcomes", {"unit": "short", "decimals": 0}),
    ("right_ratio", "Right", _SHARE),
    ("right_ratio_low", "Right, from", _SHARE),
    ("right_ratio_high", "Right, to", _SHARE),
    ("auc", "AUC", _NUMBER),
    ("auc_error", "AUC error", _NUMBER),
    ("log_loss", "Log loss", _NUMBER),
    ("mean_absolute_error", "MAE", _NUMBER),
    ("mean_reciprocal_rank", "MRR", _NUMBER),
)


def _both(
    title: str, description: str, query: Callable[[str], str], unit: str, maximum: float | None = None
) -> tuple[g.Json, int, int]:
    return (
        g.timeseries(
            title,
            description,
            [g.query(ref, query(version), name) for ref, (version, name) in _VERSIONS.items()],
            unit=unit,
            colours=_COLOURS,
            maximum=maximum,
        ),
        12,
        8,
    )


PANELS: Final = (
    (g.row("$model: $version against $other"), 24, 1),
    _both(
        "Traffic", "Calls per second of each version. A version that is called little says little.", q.calls, "reqps"
    ),
    _both("Failed calls", "Share of calls that raised, over five minutes.", q.failed, "percentunit"),
    _both("p95 of successful calls", "95th percentile of the duration over five minutes.", q.p95, "s"),
    _both(
        "Share on shifted features",
        "How much of each version rests on inputs that have left its own reference. The older one is usually higher: "
        "it has seen less of the present.",
        q.drift_share,
        "percentunit",
        1,
    ),
    (
        g.barchart(
            "Answers",
            "Shares of each version's answers in the last hour by what the bins hold. Bins of two versions stand side "
            "by side only where they hold the same range.",
            [g.instant(ref, q.outputs(version), as_table=True) for ref, (version, _) in _VERSIONS.items()],
            columns={semconv.FEATURE_BIN_RANGE.label: "Range", "Value #A": _CHOSEN, "Value #B": _AGAINST},
            sort=BIN_LABEL,
            colours=_COLOURS,
        ),
        12,
        10,
    ),
    (
        g.table(
            "Features",
            "PSI and missing values of the last hour, each version against its own reference. A click on a feature "
            "shows it in this version.",
            [
                *(g.instant(ref, q.psi(version), as_table=True) for ref, (version, _) in _VERSIONS.items()),
                g.instant("C", q.missing("$version"), as_table=True),
                g.instant("D", q.missing("$other"), as_table=True),
            ],
            columns={
                FEATURE_LABEL: "Feature",
                "Value #A": "PSI, this",
                "Value #B": "PSI, other",
                "Value #C": "Missing, this",
                "Value #D": "Missing, other",
            },
            overrides=[
                g.override("Feature", {"links": [feature_link("model", "version")]}),
                *(g.override(f"PSI, {which}", {"unit": "short", "decimals": 3}) for which in ("this", "other")),
                *(
                    g.override(f"Missing, {which}", {"unit": "percentunit", "decimals": 1})
                    for which in ("this", "other")
                ),
            ],
            sort="PSI, this",
        ),
        12,
        10,
    ),
    (g.row("All deployments of $model"), 24, 1),
    (
        g.table(
            "Versions and variants",
            "Each deployment in the last hour. Stable is the one that answered most calls of the last day: the others "
            "are judged against it.",
            [
                g.instant("A", q.DEPLOYMENT_CALLS, as_table=True),
                g.instant("B", q.DEPLOYMENT_ERRORS, as_table=True),
                g.instant("C", q.DEPLOYMENT_P95, as_table=True),
                g.instant("D", q.DEPLOYMENT_STABLE, as_table=True),
            ],
            columns={
                VERSION_LABEL: "Version",
                VARIANT_LABEL: "Variant",
                "Value #A": "Calls",
                "Value #B": "Errors",
                "Value #C": "p95",
                "Value #D": "Stable",
            },
            overrides=[
                g.override("Calls", {"unit": "short", "decimals": 0}),
                g.override("Errors", {"unit": "percentunit", "decimals": 2}),
                g.override("p95", {"unit": "s"}),
                g.override(
                    "Stable",
                    {"mappings": [{"type": "value", "options": {"1": {"text": "stable", "index": 0}}}], "noValue": ""},
                ),
            ],
            sort="Calls",
        ),
        24,
        7,
    ),
    (
        g.table(
            "Quality of versions and variants",
            "Outcomes of the last week of each deployment. Differences within the intervals (right, from and to) are "
            "chance; a shadow is asked the same as the one beside it, a canary may be asked other things. No data "
            "where no outcomes are reported.",
            [
                g.instant(ref, q.quality(name), as_table=True)
                for ref, (name, _, _) in zip("ABCDEFGHI", _QUALITY, strict=True)
            ],
            columns={
                VERSION_LABEL: "Version",
                VARIANT_LABEL: "Variant",
                **{f"Value #{ref}": head for ref, (_, head, _) in zip("ABCDEFGHI", _QUALITY, strict=True)},
            },
            overrides=[g.override(head, {**look, "noValue": "-"}) for _, head, look in _QUALITY],
            sort="Outcomes",
        ),
        24,
        7,
    ),
)
