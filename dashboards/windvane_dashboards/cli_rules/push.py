"""`windvane rules push`: the rules to Grafana or Mimir, after showing what would change."""

from __future__ import annotations

import base64
import http
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import click
import yaml

from windvane_dashboards.cli_rules.check import generated_groups
from windvane_dashboards.cli_rules.formats import NAMESPACE
from windvane_dashboards.cli_rules.options import rule_options
from windvane_dashboards.cli_rules.rulefile import (
    Group,
    SafeLoader,
    checked_groups,
    compare,
    is_ours,
    to_yaml,
)
from windvane_dashboards.server import CommandError, Server, grafana_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Change", "Ruler", "command", "grafana", "mimir", "plan"]

_YAML: Final = {"content-type": "application/yaml"}
_NO_GROUPS: Final = b"no rule groups found"  # Mimir's 404 where the tenant has no rules


@click.command("push")
@click.option("--grafana", "grafana_url", metavar="URL", help="Grafana 12 or newer; its token is in GRAFANA_TOKEN.")
@click.option("--folder", metavar="TITLE", default=NAMESPACE, show_default=True, help="Folder in Grafana.")
@click.option("--datasource", metavar="UID", help="Grafana's data source. [default: its only one for Prometheus]")
@click.option("--alerts-only", is_flag=True, help="Leave the recording rules to a Prometheus or Mimir that has them.")
@click.option("--mimir", "mimir_url", metavar="URL", help="Mimir, with the path below which its rules are.")
@click.option("--tenant", metavar="NAME", help="Tenant of Mimir (X-Scope-OrgID).")
@click.option("--yes", is_flag=True, help="Do it; without this, only show what would change.")
@rule_options
def command(
    *,
    grafana_url: str | None,
    folder: str,
    datasource: str | None,
    alerts_only: bool,
    mimir_url: str | None,
    tenant: str | None,
    yes: bool,
    files: Mapping[str, str],
) -> None:
    """Send the rules to Grafana or Mimir.

    Shows what would be made, changed and deleted; --yes does it. Only groups that windvane made are replaced or
    deleted; contact points, notification policies and everything else stay as they are.
    """
    if (grafana_url is None) == (mimir_url is None):
        msg = "name either --grafana URL or --mimir URL"
        raise click.UsageError(msg)
    groups = generated_groups(files)
    if alerts_only:
        groups = [group for group in groups if any("alert" in rule for rule in group["rules"])]
    ruler = grafana(grafana_url, folder, datasource) if grafana_url is not None else mimir(mimir_url or "", tenant)
    changes, foreign = plan(groups, ruler.groups())
    click.echo(f"{ruler}:")
    for change in changes:
        click.echo(f"{change.action:<9} {change.name}")
        for line in change.detail.splitlines():
            click.echo(f"          {line}")
    for name in foreign:
        click.echo(f"foreign   {name}: left as it is")
    todo = [change for change in changes if change.action != "unchanged"]
    if not todo:
        click.echo("nothing to do")
    elif not yes:
        click.echo("nothing was sent; --yes does it")
    else:
        for change in todo:
            ruler.apply(change)
        click.echo(f"done: {len(todo)} of {len(changes)} groups")


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one group.

    Attributes:
        action: `make`, `change`, `delete` or `unchanged`.
        name: of the group.
        group: what it shall be; None where it goes.
        detail: what differs.
    """

    action: str
    name: str
    group: Group | None
    detail: str = ""


def plan(expected: Iterable[Group], deployed: Iterable[Group]) -> tuple[list[Change], list[str]]:
    """Say what makes the deployed groups what they shall be.

    Returns:
        The changes, in the order in which they are to be made; and the groups that are not windvane's.

    Raises:
        CommandError: a group of a generated name is not windvane's.
    """
    there = {group["name"]: group for group in deployed}
    changes = []
    for group in expected:
        name, old = group["name"], there.pop(group["name"], None)
        if old is None:
            changes.append(Change("make", name, group, f"{len(group['rules'])} rules"))
            continue
        if old.get("rules") and not is_ours(old):
            msg = f"a group {name} is there that windvane did not make; rename it, or choose another folder or tenant"
            raise CommandError(msg)
        findings = compare([group], [old], everything=True)
        detail = "\n".join(f"{found.status} {found.rule}\n{found.detail}".strip() for found in findings)
        changes.append(Change("change" if findings else "unchanged", name, group, detail))
    old_ones = [Change("delete", name, None, "of another version") for name, group in there.items() if is_ours(group)]
    return [*changes, *old_ones], [name for name, group in there.items() if not is_ours(group)]


class Ruler:
    """The rules of one namespace, by the API that Mimir has and Grafana's conversion speaks.

    Args:
        server: who is asked.
        base: path of the API.
        namespace: where the groups are: a folder in Grafana.
        headers: sent with what writes.
    """

    def __init__(self, server: Server, base: str, namespace: str, headers: Mapping[str, str]) -> None:
        """Keep where it is; nothing is sent yet."""
        self._server = server
        self._base = f"{base}/config/v1/rules"
        self._namespace = namespace
        self._headers = headers

    def __str__(self) -> str:
        """Server and namespace."""
        return f"{self._server}, {self._namespace}"

    def groups(self) -> list[Group]:
        """Return the groups that are there; in Grafana those that came by conversion.

        Raises:
            CommandError: it does not answer, or not with rules.
        """
        status, body = self._server.request("GET", self._base, accept=[http.HTTPStatus.NOT_FOUND])
        if status == http.HTTPStatus.NOT_FOUND:
            if _NO_GROUPS in body:
                return []
            self._server.request("GET", self._base)  # says what a 404 means
        try:
            namespaces = yaml.load(body, SafeLoader) or {}  # noqa: S506 - a safe one
            groups = namespaces.get(self._namespace) or []
        except (yaml.YAMLError, AttributeError) as error:
            msg = f"{self._server} answers with something else than rules: is this its address?"
            raise CommandError(msg) from error
        return checked_groups({"groups": groups}, str(self._server))

    def apply(self, change: Change) -> None:
        """Make one change.

        Raises:
            CommandError: it is refused; what was changed before stays, and another push goes on from there.
        """
        path = f"{self._base}/{quote(self._namespace, safe='')}"
        try:
            if change.group is None:
                missing = [http.HTTPStatus.NOT_FOUND]  # somebody else was quicker
                self._server.request("DELETE", f"{path}/{quote(change.name, safe='')}", accept=missing)
            else:
                self._server.request("POST", path, body=to_yaml(change.group), headers={**_YAML, **self._headers})
        except CommandError as error:
            msg = f"{change.action} {change.name}: {error}"
            raise CommandError(msg) from error


def grafana(url: str, folder: str, datasource: str | None) -> Ruler:
    """Return the rules in a folder of Grafana, with the token in GRAFANA_TOKEN.

    Raises:
        CommandError: no token, or not one data source to choose.
    """
    server = grafana_server(
        url,
        needs="read and write alert rules, set their provisioning status, read data sources, and read, make and write "
        "folders",
        missing="rules can be converted in Grafana 12 and newer; is this its address, with its sub-path?",
    )
    uid = datasource or _only_datasource(server)
    return Ruler(server, "/api/convert/prometheus", folder, {"x-grafana-alerting-datasource-uid": uid})


def _only_datasource(server: Server) -> str:
    found = [one for one in server.json("GET", "/api/datasources") if one.get("type") == "prometheus"]
    if len(found) != 1:
        named = ", ".join(f"{one['uid']} ({one['name']})" for one in found) or "none"
        msg = f"{server} has not one data source for Prometheus but these: {named}; choose with --datasource UID"
        raise CommandError(msg)
    uid: str = found[0]["uid"]
    return uid


def mimir(url: str, tenant: str | None) -> Ruler:
    """Return windvane's rules in Mimir, with the credentials in the variables that mimirtool reads.

    Raises:
        CommandError: the address is none.
    """
    headers = {"x-scope-orgid": tenant} if tenant else {}
    token, key = os.environ.get("MIMIR_AUTH_TOKEN", "").strip(), os.environ.get("MIMIR_API_KEY", "").strip()
    if token:
        headers["authorization"] = f"Bearer {token}"
    elif key:
        user = os.environ.get("MIMIR_API_USER", "").strip() or tenant or ""
        headers["authorization"] = f"Basic {base64.b64encode(f'{user}:{key}'.encode()).decode()}"
    server = Server(
        "Mimir",
        url,
        headers=headers,
        refused="name the --tenant, and put its credentials into MIMIR_AUTH_TOKEN, or into MIMIR_API_USER and "
        "MIMIR_API_KEY",
        missing="the rules are below http://host/prometheus, and Mimir needs a store for rules that can be written",
    )
    return Ruler(server, "", NAMESPACE, {})
