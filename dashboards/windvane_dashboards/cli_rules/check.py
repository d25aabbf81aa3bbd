"""`windvane rules check`: is what is deployed what this version generates?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windvane_dashboards.cli_rules.options import rule_options
from windvane_dashboards.cli_rules.rulefile import Finding, Group, Rule, compare, name_of, parse_groups, to_yaml
from windvane_dashboards.cli_rules.tools import run
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["command", "deployed_groups", "files_against", "generated_groups", "server_against"]

_FINDINGS: Final = 1
_PROMTOOL_SECONDS: Final = 60


@click.command("check")
@click.argument(
    "paths", nargs=-1, metavar="[FILE]...", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
)
@click.option("--prometheus", metavar="URL", help="Ask this Prometheus (or Mimir) which rules it has loaded.")
@rule_options
def command(*, paths: tuple[Path, ...], prometheus: str | None, files: Mapping[str, str]) -> None:
    """Compare deployed rules with those that this version generates.

    FILE are the deployed rule files, of Prometheus, Mimir or Kubernetes; all of them together are what is deployed.
    Give the options that they were rendered with. What differs is shown as a diff.

    The exit code is 0 where they are the same, 1 where they differ, and 2 where that cannot be told.
    """
    if bool(paths) == (prometheus is not None):
        msg = "name either rule files or --prometheus URL"
        raise click.UsageError(msg)
    expected = generated_groups(files)
    said: list[str] = []
    if prometheus is not None:
        findings = server_against(expected, Prometheus(prometheus))
    else:
        findings, said = files_against(expected, paths)
    for finding in findings:
        click.echo(f"{finding.status:<8} {finding.group}{f': {finding.rule}' if finding.rule else ''}")
        for line in finding.detail.splitlines():
            click.echo(f"         {line}")
    for line in said:
        click.echo(line, err=True)
    if findings:
        number = f"{len(findings)} difference{'' if len(findings) == 1 else 's'}"
        click.echo(f"{number}; `windvane rules render` writes what should be deployed", err=True)
        raise click.exceptions.Exit(_FINDINGS)
    count = sum(len(group["rules"]) for group in expected)
    click.echo(f"the same: {count} rules in {len(expected)} groups")


def generated_groups(files: Mapping[str, str]) -> list[Group]:
    """Return the groups of generated files."""
    return [group for name, text in files.items() for group in parse_groups(text, name)]


def files_against(expected: Iterable[Group], paths: Iterable[Path]) -> tuple[list[Finding], list[str]]:
    """Compare rule files with what is generated; promtool checks them, too, where it is found.

    Returns:
        The differences, and what is to be said besides.

    Raises:
        CommandError: a file cannot be read.
    """
    found: list[Group] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            groups = parse_groups(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{path} cannot be read: {error}"
            raise CommandError(msg) from error
        found += groups
        if complaint := _promtool(groups):
            findings.append(Finding("failing", str(path), "", complaint))
    said = [] if _find_promtool() else ["promtool was not found, so it has not checked the files"]
    return [*findings, *compare(expected, found, everything=True)], said


def _find_promtool() -> Path | None:
    from windvane_processors.stack import find  # noqa: PLC0415 - only for this

    return find("promtool")


def _promtool(groups: list[Group]) -> str:
    """Return promtool's complaints about rule groups; empty where it has none or is not there."""
    program = _find_promtool()
    if program is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="windvane-rules-") as folder:
        path = Path(folder) / "rules.yml"  # of its own: promtool does not read PrometheusRule objects
        path.write_bytes(to_yaml({"groups": groups}))
        succeeded, told = run(program, "check", "rules", path, seconds=_PROMTOOL_SECONDS)
    if succeeded:
        return ""
    lines = [line.replace(f"{path}: ", "").strip() for line in told.splitlines()]
    return "\n".join(["promtool check rules:", *(line for line in lines if line not in {"", "FAILED:"})])


# --- Prometheus -----------------------------------------------------------------------------------


def server_against(expected: list[Group], prometheus: Prometheus) -> list[Finding]:
    """Compare the rules that a Prometheus has loaded with what is generated, and name those that fail.

    Raises:
        CommandError: it does not answer.
    """
    groups = prometheus.api("rules", "groups")
    failing = [
        Finding("failing", group["name"], rule["name"], rule.get("lastError") or "")
        for group in groups
        for rule in group["rules"]
        if rule.get("health") == "err" and any(group["name"] == other["name"] for other in expected)
    ]
    found = deployed_groups(groups)
    laid_out = _LaidOut(prometheus)
    by_name = {
        (group["name"], name_of(rule)): str(rule["expr"]).strip() for group in expected for rule in group["rules"]
    }
    for group in found:
        for rule in group["rules"]:
            ours = by_name.get((group["name"], name_of(rule)))
            # Prometheus tells an expression in its own layout; where it means the same, it is the same.
            if ours is not None and laid_out(ours) == laid_out(rule["expr"]):
                rule["expr"] = ours
            elif ours is not None:
                rule["expr"] = laid_out(rule["expr"])
    return [*failing, *compare(expected, found, everything=False)]


class _LaidOut:
    """Lays out expressions as Prometheus does, each once."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._known: dict[str, str] = {}

    def __call__(self, expression: str) -> str:
        if expression not in self._known:
            self._known[expression] = self._prometheus.formatted(expression)
        return self._known[expression]


def deployed_groups(groups: Iterable[dict[str, Any]]) -> list[Group]:
    """Return the groups of `/api/v1/rules` as a rule file has them."""
    return [
        {
            "name": group["name"],
            "interval": _span(group.get("interval", 0)),
            "rules": [_rule(rule) for rule in group["rules"]],
        }
        for group in groups
    ]


def _rule(told: dict[str, Any]) -> Rule:
    if told["type"] == "recording":
        return {"record": told["name"], "expr": told["query"], "labels": told.get("labels") or {}}
    return {
        "alert": told["name"],
        "expr": told["query"],
        "for": _span(told.get("duration", 0)),
        "keep_firing_for": _span(told.get("keepFiringFor", 0)),
        "labels": told.get("labels") or {},
        "annotations": told.get("annotations") or {},
    }


def _span(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
