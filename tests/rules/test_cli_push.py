"""`windvane rules push`, against a server that plays the documented behaviour of Grafana's conversion and of Mimir."""

from __future__ import annotations

import contextlib
import copy
import http
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import yaml
from click.testing import CliRunner

from windvane_dashboards import server
from windvane_dashboards.cli_rules import command
from windvane_dashboards.cli_rules.rulefile import parse_groups
from windvane_dashboards.rules import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

TOKEN = "glsa_the-secret"  # noqa: S105 - of a server that plays one
CONVERT = "/api/convert/prometheus/config/v1/rules"
RULES = "/prometheus/config/v1/rules"
DATASOURCES = [
    {"uid": "loki-1", "name": "Loki", "type": "loki"},
    {"uid": "prom-1", "name": "Main", "type": "prometheus"},
]
THEIRS = {"name": "their-alerts", "interval": "1m", "rules": [{"alert": "DiskFull", "expr": "disk > 1"}]}


class Servers:
    """Grafana below `/api` and Mimir below `/prometheus`, on one port; every request is kept."""

    def __init__(self) -> None:
        self.folders: dict[str, list[dict[str, Any]]] = {}
        self.tenants: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.datasources = DATASOURCES
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.answer: tuple[int, str] | None = None  # in place of what it would say
        self.answer_from = 0  # from which request on
        self.location = ""
        self.delay = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                outer.requests.append((self.command, unquote(self.path)))
                outer.authorizations.append(self.headers.get("authorization"))
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if outer.delay:
                    time.sleep(outer.delay)
                if outer.answer is not None and len(outer.requests) > outer.answer_from:
                    self.tell(*outer.answer)
                elif self.path.startswith("/api/"):
                    self.tell(*outer.grafana(self, body))
                else:
                    self.tell(*outer.mimir(self, body))

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def tell(self, status: int, text: str) -> None:
                with contextlib.suppress(OSError):  # who asks may have gone
                    self.send_response(status)
                    if outer.location:
                        self.send_header("location", outer.location)
                    self.send_header("content-length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # none outlives the test
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def grafana(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, '{"message":"Invalid API key"}'
        if request.path == "/api/datasources":
            return 200, json.dumps(self.datasources)
        if not request.path.startswith(CONVERT):
            return 404, '{"message":"Not found"}'
        if request.command == "POST" and request.headers.get("x-grafana-alerting-datasource-uid") not in {
            one["uid"] for one in self.datasources
        }:
            return 400, '{"message":"data source not found"}'
        status, text = self.rules(self.folders, request.command, request.path.removeprefix(CONVERT), body)
        return (200, "{}\n") if (status, text) == (404, "no rule groups found") else (status, text)

    def mimir(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, str]:
        tenant = request.headers.get("x-scope-orgid")
        if not tenant:
            return 401, "no org id\n"
        if not request.path.startswith(RULES):
            return 404, "404 page not found\n"
        if request.command == "POST" and len(yaml.load(body, yaml.CSafeLoader)["rules"]) > 20:
            return 400, "per-user rules per rule group limit (limit: 20 actual: 21) exceeded"
        namespaces = self.tenants.setdefault(tenant, {})
        return self.rules(namespaces, request.command, request.path.removeprefix(RULES), body)

    @staticmethod
    def rules(namespaces: dict[str, list[dict[str, Any]]], method: str, path: str, body: bytes) -> tuple[int, str]:
        parts = [unquote(part) for part in path.strip("/").split("/") if part]
        if method == "GET" and not parts:
            return (
                (200, yaml.dump(namespaces, Dumper=yaml.CSafeDumper)) if namespaces else (404, "no rule groups found")
            )
        groups = namespaces.setdefault(parts[0], [])
        if method == "POST":
            group = yaml.load(body, yaml.CSafeLoader)
            # Durations come back as the server writes them.
            group["interval"] = {"1m": "60s"}.get(group["interval"], group["interval"])
            groups[:] = [one for one in groups if one["name"] != group["name"]] + [group]
            return 202, '{"status":"success"}'
        if method == "DELETE" and len(parts) == 2:
            if all(one["name"] != parts[1] for one in groups):
                return 404, ""
            groups[:] = [one for one in groups if one["name"] != parts[1]]
            return 202, '{"status":"success"}'
        return 405, ""

    def written(self) -> list[tuple[str, str]]:
        return [one for one in self.requests if one[0] != "GET"]


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Both servers, and the token in its variable."""
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    for name in ("MIMIR_AUTH_TOKEN", "MIMIR_API_KEY", "MIMIR_API_USER"):
        monkeypatch.delenv(name, raising=False)
    running = Servers()
    try:
        yield running
    finally:
        running.close()


def _push(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["push", *arguments])


def _grafana(servers: Servers, *arguments: str) -> Result:
    return _push("--grafana", servers.url, *arguments)


def _generated() -> list[dict[str, Any]]:
    return [group for name, text in render().items() for group in parse_groups(text, name)]


def test_without_yes_the_plan_is_shown_and_nothing_is_sent(servers: Servers) -> None:
    """Every group is named."""
    done = _grafana(servers)
    assert done.exit_code == 0, done.output
    for group in _generated():
        assert f"make      {group['name']}" in done.output
    assert "nothing was sent; --yes does it" in done.output
    assert servers.written() == []


@pytest.mark.parametrize("target", ["grafana", "mimir"])
def test_a_push_makes_every_group_and_a_second_one_nothing(servers: Servers, target: str) -> None:
    """The groups arrive whole; repeating sends nothing, also where durations come back in another form."""
    there = ["--grafana", servers.url, "--folder", "ML: models/all"]
    if target == "mimir":
        there = ["--mimir", f"{servers.url}/prometheus", "--tenant", "acme"]
    done = _push(*there, "--yes")
    assert done.exit_code == 0, done.output
    kept = servers.folders["ML: models/all"] if target == "grafana" else servers.tenants["acme"]["windvane"]
    made = _generated()
    assert [{**group, "interval": own["interval"]} for group, own in zip(kept, made, strict=True)] == made
    servers.requests.clear()
    again = _push(*there, "--yes")
    assert "nothing to do" in again.output
    assert servers.written() == []


def test_only_its_own_groups_are_changed_or_deleted(servers: Servers) -> None:
    """A hand-made change is shown and undone, a group of an older version goes, others' groups stay."""
    _grafana(servers, "--yes")
    alerts = next(group for group in servers.folders["windvane"] if group["name"] == "windvane-alerts-health")
    broken = next(rule for rule in alerts["rules"] if rule["alert"] == "MLFeatureBroken")
    broken["expr"] = broken["expr"].replace("0.25", "0.9")
    old = {"name": "windvane-old", "interval": "1m", "rules": [{"record": "ml_x:y:z", "expr": "1"}]}
    # Called as ours, but what it holds is not: left alone.
    alike = {"name": "windvane-extra", "interval": "1m", "rules": [{"alert": "Mine", "expr": "up"}]}
    servers.folders["windvane"] += [old, copy.deepcopy(THEIRS), alike]
    servers.folders["Elsewhere"] = [copy.deepcopy(old)]
    servers.requests.clear()

    shown = _grafana(servers)
    assert "change    windvane-alerts-health" in shown.output
    assert "-    ml_model_feature_kind:ml_feature_violations:excess > 0.25" in shown.output
    assert "delete    windvane-old" in shown.output
    assert "foreign   their-alerts: left as it is" in shown.output
    assert "foreign   windvane-extra: left as it is" in shown.output
    assert servers.written() == []

    done = _grafana(servers, "--yes")
    assert done.exit_code == 0, done.output
    assert servers.written() == [("POST", f"{CONVERT}/windvane"), ("DELETE", f"{CONVERT}/windvane/windvane-old")]
    assert {group["name"] for group in servers.folders["windvane"]} == {
        *(group["name"] for group in _generated()),
        "their-alerts",
        "windvane-extra",
    }
    assert servers.folders["Elsewhere"] == [old]


def test_nothing_but_rules_and_data_sources_is_ever_asked_for(servers: Servers) -> None:
    """Contact points and notification policies are not touched, and no alert carries a receiver of its own."""
    _grafana(servers, "--yes")
    assert {path for _, path in servers.requests} == {"/api/datasources", CONVERT, f"{CONVERT}/windvane"}
    assert "notification_settings" not in yaml.safe_dump(servers.folders)


def test_a_foreign_group_of_a_generated_name_is_not_overwritten(servers: Servers) -> None:
    """Nothing at all is sent then."""
    servers.folders["windvane"] = [{**copy.deepcopy(THEIRS), "name": "windvane-alerts-health"}]
    done = _grafana(servers, "--yes")
    assert done.exit_code == 2
    assert "a group windvane-alerts-health is there that windvane did not make" in done.output
    assert servers.written() == []


def test_alerts_only_leaves_the_recording_rules_out(servers: Servers) -> None:
    """For alerts in Grafana over what Prometheus records."""
    _grafana(servers, "--yes", "--alerts-only")
    assert all("alert" in rule for group in servers.folders["windvane"] for rule in group["rules"])


def test_the_data_source_is_the_only_one_or_the_one_that_is_named(servers: Servers) -> None:
    """Two to choose from are named."""
    servers.datasources = [*DATASOURCES, {"uid": "prom-2", "name": "Other", "type": "prometheus"}]
    done = _grafana(servers, "--yes")
    assert done.exit_code == 2
    assert "prom-1 (Main), prom-2 (Other); choose with --datasource UID" in done.output
    assert _grafana(servers, "--yes", "--datasource", "prom-2").exit_code == 0


def test_mimir_takes_the_credentials_that_mimirtool_takes(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tenant it says what to do; the key never shows."""
    done = _push("--mimir", f"{servers.url}/prometheus")
    assert done.exit_code == 2
    assert "name the --tenant" in done.output
    monkeypatch.setenv("MIMIR_API_KEY", "the-secret-key")
    servers.answer = (403, "")
    done = _push("--mimir", f"{servers.url}/prometheus", "--tenant", "acme")
    assert servers.authorizations[-1] == "Basic YWNtZTp0aGUtc2VjcmV0LWtleQ=="
    assert "the-secret-key" not in done.output
    assert "YWNtZTp0" not in done.output


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, '{"message":"no"}'), "refuses the request (401): the token in GRAFANA_TOKEN needs to"),
        ((403, "denied"), "refuses the request (403): the token in GRAFANA_TOKEN needs to"),
        ((404, '{"message":"Not found"}'), "404): rules can be converted in Grafana 12 and newer"),
        ((500, '{"message":"database is locked"}'), "has failed (500): database is locked"),
        ((502, "<html><body>Bad gateway</body></html>"), "has failed (502)\n"),
        ((400, f'{{"message":"bad token {TOKEN}"}}'), "refuses the request (400): bad token ***"),
        ((200, "<html><body>Log in</body></html>"), "something else than rules"),
        ((200, "a: [b"), "something else than rules"),
    ],
    ids=["401", "403", "404", "500", "502 page", "400 with the token", "login page", "broken YAML"],
)
def test_each_error_of_the_server_is_one_clear_line(servers: Servers, answer: tuple[int, str], said: str) -> None:
    """With what to do, and without the token."""
    servers.answer = answer
    done = _grafana(servers, "--yes", "--datasource", "prom-1")
    assert done.exit_code == 2
    assert said in done.output
    assert done.output.count("\n") == 1
    assert TOKEN not in done.output
    assert servers.written() == []


def test_an_error_in_mid_push_says_where_it_was_and_the_next_push_goes_on(servers: Servers) -> None:
    """What was sent stays, what was not is sent then."""
    servers.answer, servers.answer_from = (503, "overloaded"), 4
    done = _grafana(servers, "--yes")
    assert done.exit_code == 2
    assert f"make {_generated()[2]['name']}: Grafana" in done.output
    assert "has failed (503): overloaded" in done.output
    servers.answer = None
    servers.requests.clear()
    assert _grafana(servers, "--yes").exit_code == 0
    assert len(servers.written()) == len(_generated()) - 2


def test_a_redirect_is_named_and_not_followed_with_the_token(servers: Servers) -> None:
    """Another host must not see it."""
    servers.answer, servers.location = (http.HTTPStatus.FOUND, ""), "https://login.example.org/x?token=1"
    done = _grafana(servers, "--yes", "--datasource", "prom-1")
    assert done.exit_code == 2
    assert "redirects to https://login.example.org/x: name the address that answers" in done.output
    assert len(servers.requests) == 1


def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_said(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout is a line, too."""
    monkeypatch.setattr(server, "_SECONDS", 0.2)
    servers.delay = 0.6
    done = _grafana(servers, "--yes", "--datasource", "prom-1")
    assert done.exit_code == 2
    assert "does not answer: nothing came for 0.2 s" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --grafana URL or --mimir URL"),
        (["--grafana", "http://a", "--mimir", "http://b"], "either --grafana URL or --mimir URL"),
        (["--grafana", "grafana.example.org"], "not an address like http://"),
        (["--grafana", "http://admin:hunter2@127.0.0.1:1"], "an address holds no user and password"),
        (["--grafana", "http://127.0.0.1:1"], "connection refused"),
    ],
    ids=["no target", "two targets", "no address", "password in the address", "refused"],
)
def test_bad_options_end_in_a_line(servers: Servers, arguments: list[str], said: str) -> None:
    """Exit code 2, and no secret shown."""
    done = _push(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "hunter2" not in done.output


def test_a_missing_token_says_how_to_get_one(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent."""
    monkeypatch.delenv("GRAFANA_TOKEN")
    done = _grafana(servers)
    assert done.exit_code == 2
    assert "GRAFANA_TOKEN is not set" in done.output
    assert servers.requests == []
