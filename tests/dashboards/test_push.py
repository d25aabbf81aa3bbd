"""`windvane dashboards diff` and `push`, against a stand-in that keeps state and speaks Grafana's documented API.

Statuses and bodies follow these pages of https://grafana.com/docs/grafana/v11.6/developers/http_api/, which 12 and 13
still serve ("Legacy APIs are not being disabled", in v13.2/developer-resources/api-reference/http-api/apis-migration/):

- dashboard/: POST /api/dashboards/db (200; 400, 401, 403; 412 with the reason in `status`: `version-mismatch`,
  `name-exists` or `plugin-dashboard`), GET and DELETE /api/dashboards/uid/:uid (200; 401, 403, 404)
- dashboard_versions/: GET /api/dashboards/uid/:uid/versions, newest first
- folder/: GET /api/folders/:uid (200; 401, 403, 404), POST /api/folders (200; 400, 401, 403; 409 or 412 where it is
  there)
- folder_dashboard_search/: GET /api/search
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from windvane_dashboards.boards import BOARDS
from windvane_dashboards.cli_dashboards import command
from windvane_dashboards.cli_dashboards.push import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

TOKEN = "glsa_the-secret"  # noqa: S105 - of a server that plays one
UIDS = [board["uid"] for board in BOARDS]
ALLOWED = {
    "GET": r"/api/(folders/[\w-]+|search|dashboards/uid/windvane-[\w-]+(/versions)?)",
    "POST": r"/api/(folders|dashboards/db)",
    "DELETE": r"/api/dashboards/uid/windvane-[\w-]+",
}
"""All that a push may ask, by method."""


class Grafana:
    """Folders and dashboards with their versions; every request is kept."""

    def __init__(self, *, listed: bool) -> None:
        self.folders = {"theirs": "Theirs"}
        self.boards: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.answers: dict[str, tuple[int, str]] = {}  # in place of what it would say, by the start of `METHOD path`
        self._listed = listed  # versions as a list, as before Grafana 12
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with outer._lock:
                    outer.requests.append((self.command, self.path))
                    if self.headers.get("authorization") != f"Bearer {TOKEN}":
                        status, text = 401, '{"message":"Invalid API key"}'
                    elif instead := outer.instead(f"{self.command} {self.path}"):
                        status, text = instead
                    else:
                        status, answer = outer.serve(self.command, self.path, json.loads(body or b"null"))
                        text = json.dumps(answer)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("content-length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())

            do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _any  # noqa: N815 - names of the standard library

            def log_message(self, *_args: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def instead(self, request: str) -> tuple[int, str] | None:
        return next((answer for start, answer in self.answers.items() if request.startswith(start)), None)

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Answer nothing meanwhile."""
        with self._lock:
            yield

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def save(self, board: dict[str, Any], folder: str, message: str, by: str) -> int:
        """Keep a new version, with the numbers that Grafana gives."""
        kept = self.boards.setdefault(board["uid"], {"versions": []})
        number = len(kept["versions"]) + 1
        kept["board"] = {**copy.deepcopy(board), "id": 17, "version": number}
        kept["folder"], kept["by"] = folder, by
        kept["versions"].insert(0, {"version": number, "message": message, "createdBy": by})
        return number

    def serve(self, method: str, target: str, body: Any) -> tuple[int, Any]:  # noqa: PLR0911 - one for each path
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        parts = path.strip("/").split("/")
        match (method, parts[1:]):
            case ("GET", ["folders", uid]):
                return (200, {"uid": uid}) if uid in self.folders else (404, {"message": "folder not found"})
            case ("POST", ["folders"]):
                if body["uid"] in self.folders:
                    return 409, {"message": "a folder with the same uid already exists"}
                self.folders[body["uid"]] = body["title"]
                return 200, body
            case ("GET", ["search"]):
                wanted = query["folderUIDs"][0]
                return 200, [{"uid": uid} for uid, kept in self.boards.items() if kept["folder"] == wanted]
            case ("GET", ["dashboards", "uid", uid, "versions"]):
                versions = self.boards[uid]["versions"]
                return 200, versions if self._listed else {"continueToken": "", "versions": versions}
            case ("GET" | "DELETE", ["dashboards", "uid", uid]) if uid not in self.boards:
                return 404, {"message": "Dashboard not found"}
            case ("GET", ["dashboards", "uid", uid]):
                kept = self.boards[uid]
                meta = {"folderUid": kept["folder"], "updatedBy": kept["by"], "provisioned": kept.get("file", False)}
                return 200, {"dashboard": kept["board"], "meta": meta}
            case ("DELETE", ["dashboards", "uid", uid]):
                del self.boards[uid]
                return 200, {"message": "deleted"}
            case ("POST", ["dashboards", "db"]):
                return self._posted(body)
        return 500, {"message": f"this stand-in has no {method} {path}"}

    def _posted(self, body: dict[str, Any]) -> tuple[int, Any]:
        board, kept = body["dashboard"], self.boards.get(body["dashboard"]["uid"])
        if body["folderUid"] not in {*self.folders, ""}:
            return 400, {"message": "folder not found"}
        if kept and not body["overwrite"] and board["version"] != kept["board"]["version"]:
            return 412, {"status": "version-mismatch", "message": "The dashboard has been changed by someone else"}
        return 200, {"version": self.save(board, body["folderUid"], body["message"], "sa-windvane")}


@pytest.fixture(params=[True, False], ids=["grafana-11", "grafana-12"])
def grafana(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grafana]:
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    server = Grafana(listed=request.param)
    yield server
    server.close()
    # Of every request of every test: policies, contact points and data sources are neither written nor asked for.
    for method, path in server.requests:
        assert re.fullmatch(ALLOWED[method], path.split("?")[0]), f"{method} {path}"


def run(grafana: Grafana, *arguments: str) -> Result:
    done = CliRunner().invoke(command, [*arguments, "--grafana", grafana.url])
    assert TOKEN not in done.output
    return done


def written(grafana: Grafana) -> list[tuple[str, str]]:
    return [(method, path) for method, path in grafana.requests if method != "GET"]


def edit(grafana: Grafana, uid: str, **changes: object) -> None:
    """Save a dashboard by hand."""
    kept = grafana.boards[uid]
    grafana.save({**kept["board"], **changes}, kept["folder"], "nicer", "ada")


def test_without_yes_nothing_is_written(grafana: Grafana) -> None:
    """A push shows what it would make; `diff` says the same with its exit code."""
    done = run(grafana, "push")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.output.splitlines()[:-1]] == [["make", f"{uid}:"] for uid in UIDS]
    assert run(grafana, "diff").exit_code == 1
    assert written(grafana) == []


def test_a_push_makes_the_folder_and_every_dashboard_and_the_next_one_changes_nothing(grafana: Grafana) -> None:
    """By uid, so any number of pushes ends in the same."""
    assert run(grafana, "push", "--yes").exit_code == 0
    assert grafana.folders == {"theirs": "Theirs", "windvane": "windvane"}
    assert {uid: kept["folder"] for uid, kept in grafana.boards.items()} == dict.fromkeys(UIDS, "windvane")
    before, _ = copy.deepcopy(grafana.boards), grafana.requests.clear()
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 0
    assert "nothing to do" in done.output
    assert written(grafana) == []
    assert grafana.boards == before
    assert run(grafana, "diff").exit_code == 0


def test_what_is_written_is_the_folder_and_the_dashboards_alone(grafana: Grafana) -> None:
    """Into its own folder; what may be asked at all is asserted at the end of every test."""
    theirs = {"uid": "windvane-theirs", "title": "Theirs"}
    grafana.save(theirs, "theirs", "mine", "ada")
    before = copy.deepcopy(grafana.boards["windvane-theirs"])
    run(grafana, "push", "--yes")
    edit(grafana, UIDS[0], title="Ours")
    run(grafana, "push", "--yes", "--overwrite")
    assert {path for _, path in written(grafana)} == {"/api/folders", "/api/dashboards/db"}
    assert grafana.boards["windvane-theirs"] == before
    assert grafana.folders == {"theirs": "Theirs", "windvane": "windvane"}


def test_what_a_person_saved_survives_until_told_otherwise(grafana: Grafana) -> None:
    """The push names who it was and what differs, does the rest, and ends with 1."""
    run(grafana, "push", "--yes")
    edit(grafana, "windvane-model", title="Ours", refresh="5s")
    del grafana.boards["windvane-feature"]
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 1
    assert "kept      windvane-model: saved by ada" in done.output
    assert 'title: "Ours" -> "ML / Model"' in done.output
    assert 'refresh: "5s" -> "1m"' in done.output
    assert grafana.boards["windvane-model"]["board"]["title"] == "Ours"
    assert "windvane-feature" in grafana.boards
    assert run(grafana, "push", "--yes", "--overwrite").exit_code == 0
    assert grafana.boards["windvane-model"]["board"]["title"] == "ML / Model"
    assert [version["message"] for version in grafana.boards["windvane-model"]["versions"]][1] == "nicer"


def test_what_windvane_saved_last_is_replaced_where_people_put_it(grafana: Grafana) -> None:
    """A dashboard of an older version is changed; one that was moved to another folder stays there."""
    run(grafana, "push", "--yes")
    kept = grafana.boards["windvane-fleet"]
    kept["folder"] = "theirs"
    kept["board"]["title"] = "of an older version"
    kept["versions"][0]["message"] = "windvane 0.0.9 0123456789abcdef"
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 0
    assert "change    windvane-fleet" in done.output
    assert kept["folder"] == "theirs"
    assert kept["board"]["title"] == "ML / Fleet"


def test_only_what_windvane_made_is_deleted(grafana: Grafana) -> None:
    """A generated dashboard of another version goes; one that a person saved, and any other, stay."""
    run(grafana, "push", "--yes")
    ours = "windvane 0.0.9 0123456789abcdef"
    grafana.save({"uid": "windvane-old"}, "windvane", ours, "sa-windvane")
    grafana.save({"uid": "windvane-copied"}, "windvane", "mine", "ada")
    grafana.save({"uid": "windvane-elsewhere"}, "theirs", ours, "sa-windvane")
    grafana.save({"uid": "their-board"}, "windvane", ours, "ada")
    done = run(grafana, "push", "--yes")
    assert "delete    windvane-old" in done.output
    assert set(grafana.boards) == {*UIDS, "windvane-copied", "windvane-elsewhere", "their-board"}


def test_a_provisioned_dashboard_is_left_to_its_files(grafana: Grafana) -> None:
    """Grafana would refuse to save it."""
    grafana.save({"uid": "windvane-fleet", "title": "old"}, "windvane", "", "")
    grafana.boards["windvane-fleet"]["file"] = True
    done = run(grafana, "push", "--overwrite")
    assert "kept      windvane-fleet: Grafana loads it from files" in done.output


def test_a_save_in_between_is_not_lost(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    """412: the version that was looked at is not the last any more."""
    run(grafana, "push", "--yes")
    grafana.boards["windvane-fleet"]["board"]["title"] = "older"
    grafana.boards["windvane-fleet"]["versions"][0]["message"] = "windvane 0.0.9 0123456789abcdef"
    posted = grafana._posted

    def later(body: dict[str, Any]) -> tuple[int, Any]:
        edit(grafana, "windvane-fleet", title="Quick")
        return posted(body)

    monkeypatch.setattr(grafana, "_posted", later)
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 2
    assert "somebody saved it meanwhile (412)" in done.output
    assert grafana.boards["windvane-fleet"]["board"]["title"] == "Quick"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, '{"message":"Invalid API key"}'), "the token in GRAFANA_TOKEN needs to"),
        ((403, '{"message":"Permissions needed"}'), "read, write and delete dashboards"),
        ((500, '{"message":"database is locked"}'), "has failed (500): database is locked"),
        ((502, "<html>bad gateway</html>"), "has failed (502)"),
        ((200, "<html>a login page</html>"), "is this its address?"),
        ((200, "[]"), "is this its address?"),
        ((302, ""), "redirects to"),
    ],
)
def test_a_grafana_that_refuses_is_one_clear_line(grafana: Grafana, answer: tuple[int, str], told: str) -> None:
    """Exit code 2, and what to do."""
    grafana.answers[""] = answer
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 2
    assert told in done.output
    assert len(done.output.splitlines()) == 1


DENIED = (403, '{"message":"You\'ll need additional permissions to perform this action."}')


@pytest.mark.parametrize(
    ("request_", "answer", "told"),
    [
        ("POST /api/folders", DENIED, "make windvane-fleet: Grafana at"),
        ("POST /api/dashboards/db", DENIED, "read, make and write folders, and read, write and delete dashboards"),
        ("POST /api/dashboards/db", (400, '{"message":"Dashboard title cannot be empty"}'), "title cannot be empty"),
        ("POST /api/dashboards/db", (409, '{"message":"conflict"}'), "somebody saved it meanwhile (409)"),
        (
            "POST /api/dashboards/db",
            (412, '{"status":"name-exists","message":"A dashboard with the same name already exists"}'),
            "refuses the request (412): A dashboard with the same name already exists",
        ),
        (
            "POST /api/dashboards/db",
            (412, '{"status":"plugin-dashboard","message":"The dashboard belongs to plugin X"}'),
            "refuses the request (412): The dashboard belongs to plugin X",
        ),
        ("POST /api/dashboards/db", (503, ""), "has failed (503)"),
    ],
)
def test_what_grafana_does_not_take_is_told_and_another_push_goes_on(
    grafana: Grafana, request_: str, answer: tuple[int, str], told: str
) -> None:
    """A token that may read and not write, a folder without rights, a name that is taken, an outage in the middle."""
    grafana.answers[request_] = answer
    done = run(grafana, "push", "--yes")
    assert done.exit_code == 2
    assert told in done.output
    assert not grafana.boards
    del grafana.answers[request_]
    assert run(grafana, "push", "--yes").exit_code == 0
    assert set(grafana.boards) == set(UIDS)


@pytest.mark.parametrize("status", [409, 412])
def test_a_folder_that_somebody_else_makes_meanwhile_is_used(grafana: Grafana, status: int) -> None:
    """Two pushes at once, of which one was quicker."""
    grafana.answers["GET /api/folders/"] = (404, '{"message":"folder not found"}')
    grafana.answers["POST /api/folders"] = (status, '{"message":"the folder has been changed by someone else"}')
    grafana.folders["windvane"] = "windvane"
    assert run(grafana, "push", "--yes").exit_code == 0
    assert set(grafana.boards) == set(UIDS)


def test_a_grafana_that_is_slow_is_given_up_with_a_word(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing."""
    monkeypatch.setattr("windvane_dashboards.server._SECONDS", 0.2)
    with grafana.silent():
        done = run(grafana, "push", "--yes")
    assert done.exit_code == 2
    assert "does not answer: nothing came for 0.2 s" in done.output


def test_without_a_token_or_a_grafana_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked without a token."""
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    done = CliRunner().invoke(command, ["push", "--grafana", "http://127.0.0.1:1"])
    assert (done.exit_code, "GRAFANA_TOKEN is not set" in done.output) == (2, True)
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    done = CliRunner().invoke(command, ["push", "--grafana", "http://127.0.0.1:1"])
    assert (done.exit_code, "connection refused" in done.output) == (2, True)


def test_differences_name_the_panel_and_the_query() -> None:
    """Panels that moved are not all that differ; numbers that Grafana gives are left out."""
    old = {
        "id": 1,
        "version": 3,
        "panels": [{"title": "A", "x": 1}, {"title": "B", "targets": [{"refId": "Q", "e": 1}]}],
    }
    new = {"panels": [{"title": "B", "targets": [{"refId": "Q", "e": 2}]}, {"title": "C"}]}
    assert list(differences(old, new)) == [
        'panels[A]: {"title": "A", "x": 1} -> nothing',
        "panels[B].targets[Q].e: 1 -> 2",
        'panels[C]: nothing -> {"title": "C"}',
    ]
