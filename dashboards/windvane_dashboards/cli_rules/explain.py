"""`windvane rules explain`: what an alert means, where it stands now, and its runbook."""

from __future__ import annotations

import difflib
import json
import math
import re
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.markdown import Markdown

from windvane import semconv
from windvane._table import aligned, printable
from windvane_dashboards.cli_rules.check import generated_groups
from windvane_dashboards.cli_rules.rulefile import Rule, name_of, reasons
from windvane_dashboards.promql import MODEL_LABEL, VERSION_LABEL
from windvane_dashboards.rules import render
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["command", "runbook"]

_SEVERITY: Final = semconv.SEVERITY.label
_MOST_SERIES: Final = 20
_RECORDED: Final = re.compile(r"\b[a-zA-Z_][a-zA-Z0-9_]*:[a-zA-Z0-9_:]+")


@click.command("explain")
@click.argument("alert")
@click.option("--prometheus", metavar="URL", help="Show where it stands now, by this Prometheus (or Mimir).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, alert: str, prometheus: str | None, as_json: bool) -> None:
    """Explain an alert: what it means, how severe it is, its expression, and its runbook.

    With --prometheus also which models it is about now, and today's values of every series that it reads.
    """
    files = render()
    rules = _rules(files, alert)
    whys = [why for text in files.values() for name, why in reasons(text) if name == alert]
    now = None if prometheus is None else [_now(rule, Prometheus(prometheus)) for rule in rules]
    if as_json:
        told = [
            {
                "alert": alert,
                "why": whys[number],
                "severity": _severity(rule),
                "expr": rule["expr"],
                "for": rule.get("for"),
                "keep_firing_for": rule.get("keep_firing_for"),
                **({} if now is None else {"now": now[number]}),
                "runbook": runbook(alert),
            }
            for number, rule in enumerate(rules)
        ]
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(alert)
    for number, rule in enumerate(rules):
        keep = f", stays for {rule['keep_firing_for']} after it" if "keep_firing_for" in rule else ""
        click.echo(f"\n{whys[number]}\n\nseverity: {_severity(rule)}")
        click.echo(f"waits for {rule.get('for', '0s')}{keep}\n\n{rule['expr']}")
        if now is not None:
            _print_now(now[number])
    click.echo()
    Console(soft_wrap=False).print(Markdown(runbook(alert)))


def _rules(files: Mapping[str, str], alert: str) -> list[Rule]:
    every = [rule for group in generated_groups(files) for rule in group["rules"] if "alert" in rule]
    found = [rule for rule in every if name_of(rule) == alert]
    if not found:
        names = {name_of(rule).lower(): name_of(rule) for rule in every}
        near = [names[name] for name in difflib.get_close_matches(alert.lower(), names, n=3, cutoff=0.4)]
        said = f"did you mean {' or '.join(near)}?" if near else f"the alerts are {', '.join(names.values())}"
        msg = f"there is no alert {printable(alert)!r}; {said}"
        raise CommandError(msg)
    return found


def _severity(rule: Rule) -> str:
    return str((rule.get("labels") or {}).get(_SEVERITY) or "the owner's, as the model declares it")


def runbook(alert: str) -> str:
    """Return the text of an alert's runbook.

    Raises:
        CommandError: this installation has none.
    """
    # A wheel carries the folder inside the package; in a checkout it stands at the top.
    root = Path(str(resources("windvane_dashboards")))
    for folder in (root / "runbooks", root.parents[1] / "docs" / "runbooks"):
        page = folder / f"{alert}.md"
        if page.is_file():
            return page.read_text(encoding="utf-8")
    msg = f"the runbook of {alert} is missing from this installation; install windvane anew"
    raise CommandError(msg)


# --- Now ------------------------------------------------------------------------------------------


def _now(rule: Rule, prometheus: Prometheus) -> dict[str, Any]:
    """Return the state of an alert, what its expression gives, and the series that it reads."""
    expression = str(rule["expr"])
    active = [
        {"labels": one["labels"], "state": one["state"], "since": one["activeAt"], "value": float(one["value"])}
        for one in prometheus.api("alerts", "alerts")
        if one["labels"].get("alertname") == name_of(rule)
    ]
    names = dict.fromkeys(_RECORDED.findall(expression))
    return {
        "alerts": active,
        "holds_for": _samples(prometheus.query(expression)),
        "reads": {name: _samples(prometheus.query(name)) for name in names},
    }


def _samples(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return labels and value of each series, the largest value first."""
    samples = [
        {
            "labels": {name: text for name, text in one["metric"].items() if name != "__name__"},
            "value": float(one["value"][1]),
        }
        for one in found
    ]
    return sorted(samples, key=lambda one: -math.inf if math.isnan(one["value"]) else one["value"], reverse=True)


def _print_now(now: Mapping[str, Any]) -> None:
    holds, alerts = now["holds_for"], now["alerts"]
    click.echo(f"\nIts expression holds now for {len(holds)} series" + (":" if holds else "."))
    _print_samples(holds)
    for one in alerts[:_MOST_SERIES]:
        click.echo(f"  {one['state']} since {one['since'][:19]}Z: {_about(one['labels'])}")
    for name, samples in now["reads"].items():
        shown = f", the {_MOST_SERIES} largest of {len(samples)}" if len(samples) > _MOST_SERIES else ""
        click.echo(f"\n{name}{shown or ('' if samples else ': no series')}")
        _print_samples(samples)


def _print_samples(samples: list[dict[str, Any]]) -> None:
    if samples:
        click.echo(
            aligned([(f"  {_about(one['labels'])}", f"{one['value']:.6g}") for one in samples[:_MOST_SERIES]], 1)
        )


def _about(labels: Mapping[str, str]) -> str:
    """Name a series by its model and version, then by its other labels."""
    others = sorted(labels.keys() - {MODEL_LABEL, VERSION_LABEL, "alertname"})
    first = [printable(labels[name]) for name in (MODEL_LABEL, VERSION_LABEL) if name in labels]
    return " ".join([*first, *(f"{name}={printable(labels[name])}" for name in others)]) or "(no labels)"
