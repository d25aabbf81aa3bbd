"""What every alert has: the owner's labels, annotations, and links to its runbook and dashboard."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from windvane import semconv
from windvane_dashboards.links import FEATURE_UID, MODEL_UID
from windvane_dashboards.promql import (
    FEATURE,
    FEATURE_LABEL,
    FEATURE_OWNER,
    MODEL,
    MODEL_LABEL,
    SOURCE_LABEL,
    VERSION_LABEL,
    labels,
    lines,
    nested,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FEATURE_LABELS",
    "FEATURE_SHOWN",
    "MODEL_LABELS",
    "MODEL_SHOWN",
    "PERCENT",
    "RUNBOOK_DIRECTORY",
    "TICKET",
    "Links",
    "alert_annotations",
    "alert_labels",
    "listed",
    "owned",
    "queried",
    "source_owned",
]

RUNBOOK_DIRECTORY: Final = "docs/runbooks"

TICKET: Final = "ticket"
"""Severity of what does not page, whatever the owner declared."""

MODEL_LABELS: Final = (MODEL_LABEL, VERSION_LABEL)
FEATURE_LABELS: Final = (*MODEL_LABELS, FEATURE_LABEL)
MODEL_SHOWN: Final = f"{{{{ $labels.{MODEL_LABEL} }}}} {{{{ $labels.{VERSION_LABEL} }}}}"
FEATURE_SHOWN: Final = f"{{{{ $labels.{FEATURE_LABEL} }}}}"
PERCENT: Final = "{{ $value | humanizePercentage }}"

_VARIABLES: Final = {"model": MODEL_LABEL, "version": VERSION_LABEL, "feature": FEATURE_LABEL}

_TEAM, _SEVERITY, _RUNBOOK = semconv.TEAM.label, semconv.SEVERITY.label, semconv.RUNBOOK_URL.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where alerts point to.

    Attributes:
        runbook_base: address below which this project's runbooks are published; empty names the file in
            the project's tree.
        dashboard_base: address of Grafana; empty makes links relative to it.
    """

    runbook_base: str = ""
    dashboard_base: str = ""

    def runbook(self, alert: str) -> str:
        """Return the address of an alert's page."""
        return f"{(self.runbook_base or RUNBOOK_DIRECTORY).rstrip('/')}/{alert}.md"

    def dashboard(self, variables: Mapping[str, str]) -> str:
        """Return the template of a dashboard's address: of the feature where one is named, else of the model.

        Args:
            variables: of the dashboard, each with the label that it is set from.
        """
        uid = FEATURE_UID if "feature" in variables else MODEL_UID
        query = "&".join(f"var-{name}={{{{ $labels.{label} | urlquery }}}}" for name, label in variables.items())
        return f"{self.dashboard_base.rstrip('/')}/d/{uid}?{query}"


def owned(expr: str, owner: str, *, severity: bool, on: str = MODEL) -> str:
    """Join the owner's labels; the owner's value is 1, so the value stays."""
    names = labels(_TEAM, _SEVERITY, _RUNBOOK) if severity else labels(_TEAM, _RUNBOOK)
    return lines(nested(expr), f"* on ({on}) group_left ({names}) {owner}")


def source_owned(expr: str, *, severity: bool) -> str:
    """Join the labels of whoever owns the feature's source: the model's owner where the source has none."""
    names = [SOURCE_LABEL, _TEAM, *([_SEVERITY] if severity else []), _RUNBOOK]
    return lines(nested(expr), f"* on ({FEATURE}) group_left ({labels(*names)}) {FEATURE_OWNER}")


def alert_labels(*, severity: str = "") -> dict[str, str]:
    """Return the labels that a rule sets itself; without a severity the joined one stays."""
    # The joined runbook is an annotation, not part of the alert's identity: an empty label is removed.
    return {**({_SEVERITY: severity} if severity else {}), _RUNBOOK: ""}


def alert_annotations(
    name: str, links: Links, summary: str, description: str, *, about: tuple[str, ...] = MODEL_LABELS
) -> dict[str, str]:
    """Return the annotations that every alert has.

    Args:
        name: of the alert.
        links: where it points to.
        summary: one line.
        description: what is known, what it touches and what to do first.
        about: the labels of the alert that the dashboard has variables for.
    """
    page = links.runbook(name)
    return {
        "summary": summary,
        "description": description,
        "runbook_url": f"{{{{ with $labels.{_RUNBOOK} }}}}{{{{ . }}}}{{{{ else }}}}{page}{{{{ end }}}}",
        "windvane_runbook_url": page,
        "dashboard_url": links.dashboard({name: label for name, label in _VARIABLES.items() if label in about}),
    }


def queried(query: str, matched: tuple[str, ...], formatted: str, *, sentence: str = "VALUE") -> str:
    """Return a template that shows the value of a query.

    Args:
        query: PromQL in which `MATCHERS` stands for matchers of the alert's own labels.
        matched: the labels to match.
        formatted: template function that formats the value.
        sentence: what to say, with `VALUE` in the value's place; nothing is said where the query finds none.
    """
    shown = sentence.replace("VALUE", f"{{{{ . | value | {formatted} }}}}")
    return f"{{{{ range {_query(query, matched)} }}}}{shown}{{{{ end }}}}"


def listed(query: str, matched: tuple[str, ...], label: str, *, sentence: str) -> str:
    """Return a template that names a label of each series that a query finds.

    Args:
        query: as in `queried`.
        matched: the labels to match.
        label: to name.
        sentence: what to say, with `NAMES` in the names' place; nothing is said where the query finds none.
    """
    one = f"{{{{ if $i }}}}, {{{{ end }}}}{{{{ $one | label {json.dumps(label)} }}}}"
    names = f"{{{{ range $i, $one := $found }}}}{one}{{{{ end }}}}"
    return f"{{{{ with $found := {_query(query, matched)} }}}}{sentence.replace('NAMES', names)}{{{{ end }}}}"


def _query(query: str, matched: tuple[str, ...]) -> str:
    matchers = ",".join(f"{name}=%q" for name in matched)
    text = json.dumps(query.replace("MATCHERS", matchers))
    values = " ".join(f"$labels.{name}" for name in matched * query.count("MATCHERS"))
    return f"query (printf {text} {values})"
