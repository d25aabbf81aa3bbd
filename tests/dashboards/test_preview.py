"""The preview's server: the page, the dashboards, Prometheus' queries, and nothing else."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from windvane_dashboards import preview as module
from windvane_dashboards.boards import render
from windvane_dashboards.cli_preview import command
from windvane_dashboards.preview import Preview
from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Upstream:
    """Stands for Prometheus and keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer = (200, b'{"status":"success","data":[]}')
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                outer.asked.append((self.command, self.path, body))
                self.send_response(outer.answer[0])
                self.end_headers()
                self.wfile.write(outer.answer[1])

            do_GET = do_POST = answer  # noqa: N815 - as http.server calls them

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    thread = threading.Thread(target=upstream.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield upstream
    upstream.server.shutdown()
    upstream.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the page")
    (folder / "assets" / "index-1.js").write_text("code")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(module, "page_folder", lambda: folder)
    return folder


@pytest.fixture
def served(upstream: Upstream) -> Iterator[Preview]:
    with Preview(upstream.url, render()) as served:
        yield served


def ask(
    served: Preview, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    host = served.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def error(told: bytes) -> Any:
    return json.loads(told)["error"]


def test_the_page_stands_at_the_address_of_every_dashboard(served: Preview) -> None:
    """Links in panels lead to /d/<uid>, as in Grafana; the page sorts out which one it is."""
    for path in ("/", "/d/windvane-fleet", "/d/windvane-model?var-model=a%2Fb", "/d/nobody/title"):
        status, headers, body = ask(served, "GET", path)
        assert (status, body) == (200, b"<!doctype html>the page")
        assert headers["content-type"] == "text/html"
        assert headers["cache-control"] == "no-cache"
    status, headers, body = ask(served, "GET", "/assets/index-1.js")
    assert (status, body, headers["content-type"]) == (200, b"code", "text/javascript")
    assert "immutable" in headers["cache-control"]


def test_the_dashboards_are_those_that_grafana_gets(served: Preview) -> None:
    """The same bytes, and a list of them with Fleet first."""
    listed = json.loads(ask(served, "GET", "/dashboards.json")[2])["dashboards"]
    assert listed[0] == {"uid": "windvane-fleet", "title": "ML / Fleet"}
    assert len(listed) == len(render())
    for one in listed:
        assert ask(served, "GET", f"/dashboards/{one['uid']}.json")[2].decode() == render()[f"{one['uid']}.json"]


def test_queries_are_passed_on_as_they_are(served: Preview, upstream: Upstream) -> None:
    """Instant, range, and the values of a label."""
    form = urlencode({"query": 'up{a="\\"é"}', "time": "1"}).encode()
    for path in ("/api/v1/query", "/api/v1/query_range"):
        status, headers, body = ask(served, "POST", path, form, FORM)
        assert (status, body) == (200, upstream.answer[1])
        assert headers["cache-control"] == "no-store"
    ask(served, "GET", "/api/v1/label/ml_model_name/values?match%5B%5D=up&start=1")
    assert upstream.asked == [
        ("POST", "/api/v1/query", form),
        ("POST", "/api/v1/query_range", form),
        ("GET", "/api/v1/label/ml_model_name/values?match%5B%5D=up&start=1", b""),
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/status/config"),
        ("GET", "/api/v1/query?query=up"),
        ("GET", "/api/v1/label/a/../../status/config/values"),
        ("GET", "/api/v1/label/a%2Fb/values"),
        ("GET", "/api/v1/label/a/values/../../../status/config"),
        ("GET", "/metrics"),
        ("GET", "/-/quit"),
        ("GET", "/../secret"),
        ("GET", "/assets/../../secret"),
        ("GET", "/assets/%2e%2e/%2e%2e/secret"),
        ("POST", "/api/v1/write"),
        ("POST", "/api/v1/admin/tsdb/delete_series"),
        ("POST", "/api/v1/query/../admin/tsdb/snapshot"),
        ("POST", "/-/reload"),
        ("PUT", "/api/v1/query"),
        ("DELETE", "/api/v1/query"),
    ],
)
def test_nothing_else_is_reached(method: str, path: str, served: Preview, upstream: Upstream) -> None:
    """Neither of Prometheus nor of the files of this machine."""
    status, _, body = ask(served, method, path, b"x=1" if method == "POST" else None)
    assert status in {404, 501}
    assert b"secret" not in body
    assert upstream.asked == []


@pytest.mark.parametrize("host", ["evil.example:80", "localhost", "127.0.0.1", "", "evil.example"])
def test_another_name_for_this_machine_is_refused(host: str, served: Preview, upstream: Upstream) -> None:
    """A page elsewhere cannot have its own name lead here and read what comes back (DNS rebinding)."""
    status, _, body = ask(served, "POST", "/api/v1/query", b"query=up", {**FORM, "host": host})
    assert status == 403
    assert served.url in error(body)
    assert ask(served, "GET", "/", headers={"host": host})[0] == 403
    assert upstream.asked == []
    own = served.url.removeprefix("http://").replace("127.0.0.1", "localhost")
    assert ask(served, "GET", "/", headers={"host": own})[0] == 200


def test_queries_of_other_sites_are_refused(served: Preview, upstream: Upstream) -> None:
    """A browser says where a request comes from; a link to the page may come from anywhere."""
    for site in ("cross-site", "same-site"):
        assert ask(served, "POST", "/api/v1/query", b"query=up", {**FORM, "sec-fetch-site": site})[0] == 403
        assert ask(served, "GET", "/d/windvane-fleet", headers={"sec-fetch-site": site})[0] == 200
    assert upstream.asked == []
    assert ask(served, "POST", "/api/v1/query", b"query=up", {**FORM, "sec-fetch-site": "same-origin"})[0] == 200


@pytest.mark.parametrize("length", ["1000000000", "-1", "x", "²", None])
def test_a_body_without_a_bound_is_not_read(length: str | None, served: Preview, upstream: Upstream) -> None:
    """More than a query can need, or a length that is none."""
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=10) as connection:
        host = served.url.removeprefix("http://")
        lines = ["POST /api/v1/query HTTP/1.1", f"Host: {host}", *([f"Content-Length: {length}"] if length else [])]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        assert b" 413 " in connection.recv(64)
    assert upstream.asked == []


def test_every_answer_forbids_what_the_page_does_not_need(served: Preview) -> None:
    """No script but the page's own, no frame around it, no other server."""
    for path in ("/", "/dashboards.json", "/nothing", "/api/v1/label/a/values"):
        _, headers, _ = ask(served, "GET", path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_refusals_of_prometheus_come_back_in_its_own_words(served: Preview, upstream: Upstream) -> None:
    """So that the panel can say what is wrong with its query."""
    for status in (400, 422):
        upstream.answer = (status, b'{"status":"error","errorType":"bad_data","error":"parse error"}')
        assert ask(served, "POST", "/api/v1/query", b"query=(", FORM)[::2] == (status, upstream.answer[1])


@pytest.mark.parametrize(("status", "told"), [(401, "refuses"), (404, "/api/v1"), (503, "has failed")])
def test_a_prometheus_that_cannot_answer_is_told_apart(
    status: int, told: str, served: Preview, upstream: Upstream
) -> None:
    """The page shows one clear line in place of a chart."""
    upstream.answer = (status, b"no")
    got, _, body = ask(served, "POST", "/api/v1/query", b"query=up", FORM)
    assert got == 502
    assert json.loads(body)["errorType"] == "unavailable"
    assert told in error(body)


def test_a_prometheus_that_is_not_there_is_said() -> None:
    """With its address and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Preview(f"http://127.0.0.1:{port}", render()) as served:
        status, _, body = ask(served, "GET", "/api/v1/label/a/values")
    assert status == 502
    assert error(body) == (
        f"Prometheus at http://127.0.0.1:{port} does not answer: connection refused; is it running, and on this port?"
    )


def test_a_browser_that_goes_away_leaves_no_traceback(
    served: Preview, upstream: Upstream, capfd: pytest.CaptureFixture[str]
) -> None:
    """A refresh ends the requests before it."""
    upstream.answer = (200, b"x" * 2**22)
    host = served.url.removeprefix("http://")
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=10) as connection:
        connection.sendall(f"GET /api/v1/label/a/values HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        connection.recv(10)
    assert ask(served, "GET", "/")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_taken_port_is_said() -> None:
    """With the option that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} of 127.0.0.1 cannot be had .*--port"):
            Preview("http://127.0.0.1:9090", render(), port=port)


def test_a_page_that_is_not_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout says how to build it, on one line and with exit code 1."""
    monkeypatch.undo()
    monkeypatch.setattr(module, "files", lambda _package: tmp_path / "a" / "b")
    with pytest.raises(CommandError, match="make preview"):
        module.page_folder()
    built = tmp_path / "a" / "preview" / "dist"
    built.mkdir(parents=True)
    (built / "index.html").write_text("x")
    assert module.page_folder() == built


@pytest.mark.parametrize("url", ["127.0.0.1:9090", "ftp://x", "http://user:secret@host"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """And a password in it, which others on the machine would see."""
    result = CliRunner().invoke(command, ["--prometheus", url, "--port", "0"])
    assert isinstance(result.exception, CommandError)
    assert "secret" not in str(result.exception)


def test_the_command_serves_until_it_is_ended(upstream: Upstream, tmp_path: Path) -> None:
    """It prints the address, warns about a server that is no Prometheus, and ends quietly with Ctrl-C."""
    code = (
        "import pathlib, sys; from windvane_dashboards import preview;"
        f"preview.page_folder = lambda: pathlib.Path({str(tmp_path / 'page')!r});"
        "from windvane.cli import main; main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "preview", "--port", "0", "--prometheus", upstream.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.match(r"http://127\.0\.0\.1:(\d+) shows the dashboards on ", line)
        assert match, line
        assert process.stderr is not None
        assert "not as Prometheus does" in process.stderr.readline()
        connection = http.client.HTTPConnection("127.0.0.1", int(match[1]), timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_a_server_that_is_no_prometheus_is_named(upstream: Upstream) -> None:
    """Answers of another shape are one clear error, whatever was asked for."""
    prometheus = Prometheus(upstream.url)
    for ask_it in (lambda: prometheus.query("up"), prometheus.external_labels):
        with pytest.raises(CommandError, match="not as Prometheus does"):
            ask_it()
