"""`windvane rules route`: which receiver of an existing Alertmanager gets which alert."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import yaml

from windvane import semconv
from windvane._table import aligned, printable
from windvane_dashboards.cli_rules.check import generated_groups
from windvane_dashboards.cli_rules.rulefile import Rule, name_of
from windvane_dashboards.cli_rules.tools import needed, run
from windvane_dashboards.promql import MODEL_LABEL, VERSION_LABEL
from windvane_dashboards.rules import render
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Route", "Routes", "command"]

_FINDINGS: Final = 1
_AMTOOL_SECONDS: Final = 30
_TEAM, _SEVERITY = semconv.TEAM.label, semconv.SEVERITY.label
_DEFAULT_SEVERITY: Final = "page"  # as the rules have it where the owner declared none
_MATCHED_TEXT: Final = re.compile(r'((?:=~|!~|!=|=)\s*)"(?:[^"\\]|\\.)*"')
_MATCHED_NAME: Final = re.compile(r'"?([^\s"=!~{},]+)"?\s*(?:=~|!~|!=|=)')


@click.command("route")
@click.option(
    "--alertmanager-config",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration of the Alertmanager; it is only read.",
)
@click.option("--prometheus", metavar="URL", help="Take the models, owners and external labels from this Prometheus.")
@click.option("--model", metavar="NAME", help="Try this model.")
@click.option("--team", metavar="NAME", help="Its team.")
@click.option("--severity", metavar="NAME", help=f"What it pages with. [default: {_DEFAULT_SEVERITY}]")
@click.option(
    "--label",
    "extra",
    multiple=True,
    metavar="NAME=VALUE",
    help="A label that every alert gets on its way, such as an external label of Prometheus; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    *,
    path: Path,
    prometheus: str | None,
    model: str | None,
    team: str | None,
    severity: str | None,
    extra: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell for each model and alert which receiver gets it, by amtool's own routing test.

    The exit code is 0 where every alert has a receiver of its own, 1 where some end in the default one, and 2 where
    that cannot be told.
    """
    if (prometheus is None) == (model is None):
        msg = "name either --prometheus URL or --model NAME"
        raise click.UsageError(msg)
    if prometheus is not None and (team or severity):
        msg = "--team and --severity go with --model; with --prometheus the models say them"
        raise click.UsageError(msg)
    external: dict[str, str] = {}
    added = dict(_pair(text) for text in extra)
    if prometheus is not None:
        server = Prometheus(prometheus)
        external = server.external_labels()
        models = _models(server)
    else:
        models = [{MODEL_LABEL: model or "", _TEAM: team or "", _SEVERITY: severity or ""}]
    routes = Routes(path)
    alerts = [rule for group in generated_groups(render()) for rule in group["rules"] if "alert" in rule]
    # Prometheus adds no external label that an alert has already; what is named explicitly wins.
    found = [routes.route({**external, **_labels(rule, one), **added}) for one in models for rule in alerts]
    if as_json:
        click.echo(json.dumps([asdict(route) for route in found], indent=2))
    else:
        _print(found, routes)
    if any(route.default for route in found):
        raise click.exceptions.Exit(_FINDINGS)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        msg = f"{text!r} is not NAME=VALUE"
        raise click.BadParameter(msg, param_hint="--label")
    return name, value


def _models(prometheus: Prometheus) -> list[dict[str, str]]:
    """Return the models that report, with every owner that one declares.

    Raises:
        CommandError: it does not answer, or knows no model.
    """
    by = f"{MODEL_LABEL}, {VERSION_LABEL}, {_TEAM}, {_SEVERITY}"
    found = prometheus.query(f"group by ({by}) (last_over_time({semconv.MODEL_INFO.prometheus_name}[1h]))")
    if not found:
        msg = f"{prometheus} knows no model that reported within the last hour; try one with --model"
        raise CommandError(msg)
    return sorted((one["metric"] for one in found), key=lambda labels: sorted(labels.items()))


def _labels(rule: Rule, model: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an alert about a model, as far as they are known beforehand."""
    severity = model.get(_SEVERITY) or _DEFAULT_SEVERITY
    merged = {**model, _SEVERITY: severity, **(rule.get("labels") or {}), "alertname": name_of(rule)}
    return {name: text for name, text in merged.items() if text}


@dataclass(frozen=True, slots=True)
class Route:
    """Where an alert ends.

    Attributes:
        labels: the alert's labels.
        receivers: who gets it.
        default: whether nobody but the tree's default receiver does.
    """

    labels: dict[str, str]
    receivers: list[str]
    default: bool


class Routes:
    """The routing tree of an Alertmanager's configuration.

    Args:
        path: the configuration; it is only read.

    Raises:
        CommandError: amtool is not found, or the file is no configuration.
    """

    def __init__(self, path: Path) -> None:
        """Read the file."""
        self._amtool, self._path = needed("amtool"), path
        try:
            self._text = path.read_text(encoding="utf-8")
            root = yaml.load(self._text, yaml.BaseLoader)["route"]  # noqa: S506 - strings only
            self.default_receiver = str(root["receiver"])
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            msg = f"{path} is no configuration of an Alertmanager: it needs `route:` with a `receiver:`"
            raise CommandError(msg) from error
        self.matched_labels = sorted(set(_matched(root)))
        self._known: dict[tuple[tuple[str, str], ...], list[str]] = {}

    def route(self, labels: Mapping[str, str]) -> Route:
        """Tell where an alert ends.

        Raises:
            CommandError: amtool refuses the configuration or the labels.
        """
        # Labels that the file does not name cannot matter, so alerts that differ in nothing else are asked for once.
        key = tuple(sorted((name, text) for name, text in labels.items() if name in self._text))
        if key not in self._known:
            self._known[key] = self._ask(key)
        receivers = self._known[key]
        return Route(dict(labels), receivers, receivers == [self.default_receiver])

    def _ask(self, labels: Iterable[tuple[str, str]]) -> list[str]:
        matchers = [f"{_quoted(name)}={_quoted(text)}" for name, text in labels]
        arguments = ("config", "routes", "test", f"--config.file={self._path}", *matchers)
        succeeded, told = run(self._amtool, *arguments, seconds=_AMTOOL_SECONDS)
        if not succeeded:
            msg = f"amtool refuses {self._path}: {told.splitlines()[-1].removeprefix('amtool: error: ')}"
            raise CommandError(msg)
        return [name for name in told.strip().split(",") if name]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _matched(route: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    """Return the names of the labels that a tree routes by."""
    for key in ("match", "match_re"):
        yield from route.get(key) or ()
    for matcher in route.get("matchers") or ():
        yield from _MATCHED_NAME.findall(_MATCHED_TEXT.sub(r"\1", str(matcher)))
    for child in route.get("routes") or ():
        yield from _matched(child)


def _print(found: list[Route], routes: Routes) -> None:
    rows: list[tuple[str, ...]] = [("model", "version", "alert", "team", "severity", "receivers")]
    for route in found:
        cells = (route.labels.get(name, "-") for name in (MODEL_LABEL, VERSION_LABEL, "alertname", _TEAM, _SEVERITY))
        receivers = ", ".join(printable(name) for name in route.receivers) + (" (the default)" if route.default else "")
        rows.append((*map(printable, cells), receivers))
    click.echo(aligned(rows, len(rows[0])))
    carried = {name for route in found for name in route.labels}
    if absent := [name for name in routes.matched_labels if name not in carried]:
        named = ", ".join(map(printable, absent))
        click.echo(f"\nThe tree also routes by {named}, which these alerts do not carry as far as is known here.")
        click.echo("If Prometheus or its operator adds it on the way, say so with --label NAME=VALUE.")
    if defaults := [route for route in found if route.default]:
        click.echo(f"\n{len(defaults)} of {len(found)} end in the default receiver, {routes.default_receiver}.")
