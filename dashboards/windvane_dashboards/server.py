"""HTTP to what rules and dashboards are used with: Prometheus, Grafana, Mimir. Every failure is one clear line."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import yaml

from windvane.errors import WindvaneError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["CommandError", "Prometheus", "Server", "grafana_server"]

_Kind = TypeVar("_Kind")

_SECONDS: Final = 30
_QUERY_SECONDS: Final = 150  # Prometheus itself ends a query after two minutes
_MOST_BYTES: Final = 256 * 2**20
_LONGEST_MESSAGE: Final = 300
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class CommandError(WindvaneError, RuntimeError):
    """What a command cannot do: rules or dashboards that cannot be read, compared, sent or evaluated.

    The message says what to do instead.
    """


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are not followed: urllib would hand the credentials on to the other host."""

    def redirect_request(self, *_arguments: object, **_named: object) -> None:
        """Leave the redirect as the answer."""


class Server:
    """A server that is asked over HTTP.

    Args:
        name: what it is, for messages.
        url: its address; a path in it is kept.
        headers: sent with every request. They may hold secrets and never stand in a message.
        refused: what to do where it answers 401 or 403.
        missing: what to do where it answers 404.

    Raises:
        CommandError: the address is none.
    """

    def __init__(
        self, name: str, url: str, *, headers: Mapping[str, str] | None = None, refused: str = "", missing: str = ""
    ) -> None:
        """Keep the address; nothing is sent yet."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            parts, host = urlsplit(""), None
        if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
            msg = f"{name}: not an address like http://host:9090"
            raise CommandError(msg)
        if parts.username or parts.password:
            msg = f"{name}: an address holds no user and password, since other users of the machine see it; {refused}"
            raise CommandError(msg.rstrip("; "))
        self.name = name
        self.url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._refused = refused or "it wants credentials, which this command does not send"
        self._missing = missing or "is this its address?"
        # The stack's own servers, past any proxy that the environment names.
        proxies = urllib.request.ProxyHandler({}) if host in _LOOPBACK else urllib.request.ProxyHandler()
        self._opener = urllib.request.build_opener(proxies, _NoRedirect)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        seconds: float | None = None,
    ) -> tuple[int, bytes]:
        """Send a request; return status and body.

        Args:
            method: HTTP method.
            path: appended to the address, already quoted.
            body: what is sent.
            headers: beside those of every request.
            accept: statuses of 300 and above that are no error.
            seconds: the longest wait for the next bytes; 30 by default.

        Raises:
            CommandError: no answer, or a status that is an error.
        """
        seconds = seconds or _SECONDS
        asked = urllib.request.Request(  # noqa: S310 - http or https, see __init__
            self.url + path, data=body, method=method, headers={**self._headers, **(headers or {})}
        )
        try:
            with self._opener.open(asked, timeout=seconds) as answer:
                return answer.status, self._read(answer)
        except urllib.error.HTTPError as error:
            with error:
                told = b""
                with contextlib.suppress(OSError, http.client.HTTPException):
                    told = self._read(error)
                if error.code not in accept:
                    raise CommandError(self.refusal(error.code, told, error.headers.get("location"))) from None
                return error.code, told
        except (OSError, http.client.HTTPException) as error:
            msg = f"{self} does not answer: {_no_answer(error, seconds)}"
            raise CommandError(msg) from error

    def json(self, method: str, path: str, *, body: bytes | None = None, **named: Any) -> Any:  # noqa: ANN401 - JSON
        """Send a request and read the answer as JSON.

        Raises:
            CommandError: as `request`; or the answer is no JSON.
        """
        _, told = self.request(method, path, body=body, **named)
        try:
            return json.loads(told)
        except ValueError as error:
            msg = f"{self} answers with something else than JSON: {self._missing}"
            raise CommandError(msg) from error

    def __str__(self) -> str:
        """Name and address, as messages call it."""
        return f"{self.name} at {self.url}"

    def refusal(self, status: int, body: bytes, location: str | None = None) -> str:
        """Return what an answer of 300 and above means, with what the server says of it, on one line."""
        if status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            return f"{self} refuses the request ({status}): {self._refused}"
        if status == http.HTTPStatus.NOT_FOUND:
            return f"{self} has no such page (404): {self._missing}"
        if http.HTTPStatus.MULTIPLE_CHOICES <= status < http.HTTPStatus.BAD_REQUEST:
            there = urlsplit(location or "")
            return f"{self} redirects to {there.scheme}://{there.hostname}{there.path}: name the address that answers"
        whose = "has failed" if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR else "refuses the request"
        told = _message(body)
        if secret := self._headers.get("authorization", "").partition(" ")[2]:
            told = told.replace(secret, "***")
        return f"{self} {whose} ({status}){': ' if told else ''}{told}"

    @staticmethod
    def _read(answer: Any) -> bytes:  # noqa: ANN401 - an answer or an error of urllib
        read: bytes = answer.read(_MOST_BYTES + 1)
        if len(read) > _MOST_BYTES:
            msg = f"the answer is longer than {_MOST_BYTES >> 20} MiB; ask for less"
            raise CommandError(msg)
        return read


def _no_answer(error: Exception, seconds: float) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return f"nothing came for {seconds:g} s"
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused; is it running, and on this port?"
    if isinstance(reason, socket.gaierror):
        return "unknown host"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    if isinstance(reason, ssl.SSLError):
        return "it speaks no TLS there; is it http?"
    return str(reason) or type(reason).__name__


def _message(body: bytes) -> str:
    """Return what a server says about an error, on one line."""
    text = body.decode(errors="replace")
    with contextlib.suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict):
            text = str(told.get("message") or told.get("error") or "")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "" if line.startswith("<") else line[:_LONGEST_MESSAGE]  # a page for browsers says nothing


def grafana_server(url: str, *, needs: str, missing: str) -> Server:
    """Return a Grafana, with the service account's token in GRAFANA_TOKEN.

    Args:
        url: its address, with its sub-path.
        needs: what the token must be allowed to do.
        missing: what to do where it has not what is asked for.

    Raises:
        CommandError: there is no token, or the address is none.
    """
    token = os.environ.get("GRAFANA_TOKEN", "").strip()
    if not token:
        msg = "GRAFANA_TOKEN is not set: make a service account in Grafana and put its token there"
        raise CommandError(msg)
    headers = {"authorization": f"Bearer {token}", "accept": "application/yaml, application/json"}
    return Server(
        "Grafana", url, headers=headers, refused=f"the token in GRAFANA_TOKEN needs to {needs}", missing=missing
    )


class Prometheus(Server):
    """The HTTP API of Prometheus, or of what speaks it.

    Args:
        url: its address; below it stands `/api/v1`.
    """

    def __init__(self, url: str) -> None:
        """Keep the address; nothing is sent yet."""
        super().__init__(
            "Prometheus", url, missing="is this the address below which /api/v1 is? (for Mimir it ends in /prometheus)"
        )

    def api(self, path: str, key: str, form: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Ask the API; return the list that stands under this key of its data.

        Raises:
            CommandError: as `Server.request`; or the answer is not of this shape.
        """
        return self._under(path, key, list, form)

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """Evaluate an expression at a time, now by default; return the series as the API gives them.

        Raises:
            CommandError: as `api`; it refuses an expression with its own words.
        """
        time = {} if at is None else {"time": f"{at:.3f}"}
        return self.api("query", "result", {"query": expression, **time})

    def formatted(self, expression: str) -> str:
        """Return the expression as Prometheus itself lays it out, so that two can be compared."""
        return str(self._data("format_query", {"query": expression}))

    def external_labels(self) -> dict[str, str]:
        """Return the labels that it adds to every alert it sends."""
        configuration = yaml.load(self._under("status/config", "yaml", str), yaml.BaseLoader)  # noqa: S506 - strings only
        labels: dict[str, str] = ((configuration or {}).get("global") or {}).get("external_labels") or {}
        return labels

    def _under(self, path: str, key: str, kind: type[_Kind], form: Mapping[str, str] | None = None) -> _Kind:
        data = self._data(path, form)
        found = data.get(key) if isinstance(data, dict) else None
        if not isinstance(found, kind):
            raise self._unlike()
        return found

    def _data(self, path: str, form: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        answer = self.json(
            "GET" if form is None else "POST",
            f"/api/v1/{path}",
            body=None if form is None else urlencode(form).encode(),
            headers={"content-type": "application/x-www-form-urlencoded"} if form is not None else None,
            seconds=_QUERY_SECONDS if form is not None else None,
        )
        if not isinstance(answer, dict) or "data" not in answer:
            raise self._unlike()
        return answer["data"]

    def _unlike(self) -> CommandError:
        return CommandError(f"{self} answers, but not as Prometheus does: {self._missing}")
