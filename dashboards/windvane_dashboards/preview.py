"""Serves the preview: a page that draws dashboards, their JSON, and Prometheus' queries below the same address.

The page is built from `dashboards/preview` (`make preview`) and comes with the wheel.
"""

from __future__ import annotations

import http
import json
import mimetypes
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from windvane_dashboards.server import CommandError, Prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Preview", "page_folder"]

_ADDRESS: Final = "127.0.0.1"
_MOST_BODY_BYTES: Final = 1 << 18
_CLIENT_SECONDS: Final = 30
_QUERY_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.1  # until the end is noticed

# What the page asks of Prometheus, and nothing else of it can be reached.
_QUERIES: Final = frozenset({"/api/v1/query", "/api/v1/query_range"})
_LABEL_VALUES: Final = re.compile(r"/api/v1/label/[a-zA-Z_][a-zA-Z0-9_]*/values")

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_HEADERS: Final = {
    # Grafana's components write their styles into the page; everything else comes from this server alone.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _File(NamedTuple):
    content: bytes
    kind: str


def page_folder() -> Path:
    """Return the folder of the built page.

    Raises:
        CommandError: it is not built.
    """
    package = Path(str(files("windvane_dashboards")))
    # A wheel carries it inside the package; a checkout builds it beside the package.
    for folder in (package / "page", package.parent / "preview" / "dist"):
        if (folder / "index.html").is_file():
            return folder
    msg = "the page of the preview is not built: run `make preview`, which needs Node 20.19 or newer"
    raise CommandError(msg)


class Preview:
    """The preview on loopback; a context manager that serves on threads of its own.

    Args:
        prometheus: address below which `/api/v1` is.
        dashboards: JSON text of each dashboard, as Grafana reads it.
        port: on loopback; any free one by default.

    Raises:
        CommandError: the page is not built, the port is taken, or the address is none.

    Example:
        >>> with Preview("http://127.0.0.1:9090", render().values()) as preview:  # doctest: +SKIP
        ...     print(preview.url)
    """

    def __init__(self, prometheus: str, dashboards: Mapping[str, str], *, port: int = 0) -> None:
        """Read the page and take the port; entering the context starts to serve."""
        contents = _contents(page_folder(), dashboards)
        try:
            self._server = _Server((_ADDRESS, port), Prometheus(prometheus), contents)
        except OSError as error:
            msg = f"port {port} of {_ADDRESS} cannot be had ({error.strerror}): choose another with --port"
            raise CommandError(msg) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": _POLL_SECONDS}, name="preview", daemon=True
        )

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{_ADDRESS}:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _contents(folder: Path, dashboards: Mapping[str, str]) -> dict[str, _File]:
    """Return everything that is served as it is, by path; nothing else can be reached."""
    contents = {
        f"/{path.relative_to(folder).as_posix()}": _File(
            path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        )
        for path in folder.rglob("*")
        if path.is_file()
    }
    listed = []
    for text in dashboards.values():
        board = json.loads(text)
        contents[f"/dashboards/{board['uid']}.json"] = _File(text.encode(), _JSON)
        listed.append({"uid": board["uid"], "title": board["title"]})
    contents["/dashboards.json"] = _File(json.dumps({"dashboards": listed}).encode(), _JSON)
    contents["/"] = contents["/index.html"]
    return contents


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Another program on the port is an error, even one that would share it.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], prometheus: Prometheus, contents: Mapping[str, _File]) -> None:
        self.prometheus = prometheus
        self.contents = contents
        super().__init__(address, _Handler)
        # Other names for loopback may lead here from a page elsewhere (DNS rebinding).
        self.hosts = frozenset(f"{name}:{self.server_port}" for name in (_ADDRESS, "localhost"))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as declared above it
        """Say nothing of a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "windvane"
    sys_version = ""
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_allowed():
            return
        if path.startswith("/api/"):
            if _LABEL_VALUES.fullmatch(path):
                self._forward("GET")
            else:
                self._refuse(http.HTTPStatus.NOT_FOUND, "the preview passes on nothing but queries")
            return
        file = self.server.contents.get("/" if path.startswith("/d/") else path)
        if file is None:
            self._refuse(http.HTTPStatus.NOT_FOUND, "there is no such page")
            return
        lasting = path.startswith("/assets/")  # their names change with what is in them
        self._answer(http.HTTPStatus.OK, file, "max-age=31536000, immutable" if lasting else "no-cache")

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        if self.path not in _QUERIES:
            self._refuse(http.HTTPStatus.NOT_FOUND, "the preview passes on nothing but queries")
            return
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _MOST_BODY_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a query has at most {_MOST_BODY_BYTES >> 10} KiB")
            return
        self._forward("POST", self.rfile.read(int(length)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server calls it
        """Keep no log of requests."""

    def _is_allowed(self) -> bool:
        if self.headers.get("host") not in self.server.hosts:
            self._refuse(http.HTTPStatus.FORBIDDEN, f"open http://{_ADDRESS}:{self.server.server_port} itself")
            return False
        if self.headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and self.path.startswith("/api/"):
            self._refuse(http.HTTPStatus.FORBIDDEN, "another site's page asks")
            return False
        return True

    def _forward(self, method: str, body: bytes | None = None) -> None:
        """Pass a query on; Prometheus' own refusals come back as they are."""
        try:
            status, answer = self.server.prometheus.request(
                method,
                self.path,
                body=body,
                headers={"content-type": _FORM} if body is not None else None,
                accept={http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.UNPROCESSABLE_ENTITY},
                seconds=_QUERY_SECONDS,
            )
        except CommandError as error:
            self._refuse(http.HTTPStatus.BAD_GATEWAY, str(error))
            return
        self._answer(http.HTTPStatus(status), _File(answer, _JSON), "no-store")

    def _refuse(self, status: http.HTTPStatus, reason: str) -> None:
        """Answer as Prometheus' API does, so that the page has one way to read what went wrong."""
        self.close_connection = True  # what is left of the request is not read
        unavailable = status == http.HTTPStatus.BAD_GATEWAY
        told = {"status": "error", "errorType": "unavailable" if unavailable else "bad_data", "error": reason}
        self._answer(status, _File(json.dumps(told).encode(), _JSON), "no-store")

    def _answer(self, status: http.HTTPStatus, file: _File, cache: str) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", file.kind)
        self.send_header("Content-Length", str(len(file.content)))
        self.send_header("Cache-Control", cache)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(file.content)
