"""Asks an OTLP endpoint whether it takes telemetry: TCP, TLS, then a real export of nothing.

An empty export request is zero bytes in protobuf, so neither the SDK nor an exporter is needed. No message
of an exception is passed on: it may hold parts of an address or a header.
"""

from __future__ import annotations

import contextlib
import email.utils
import importlib
import os
import socket
import ssl
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STEP_SECONDS", "Answer", "Target", "UnusableEndpointError", "export_nothing", "is_reachable", "resolve"]

Signal: TypeAlias = Literal["traces", "metrics"]
T = TypeVar("T")

STEP_SECONDS: Final = 3.0
"""What each step may take at most."""

_GRPC_METHODS: Final = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


class UnusableEndpointError(ValueError):
    """An endpoint that no exporter can use; the message says why, without its value."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the exporter of a signal sends.

    Attributes:
        signal: what is sent.
        protocol: `grpc` or `http/protobuf`.
        host: name or address.
        port: TCP port.
        tls: whether the exporter speaks TLS.
        path: path of HTTP requests; empty for gRPC.
        query: query of HTTP requests.
        credentials: user and password in the address.
        headers: what the exporter sends along; the names are in lower case.
    """

    signal: Signal
    protocol: str
    host: str
    port: int
    tls: bool
    path: str
    query: str
    credentials: tuple[str, str] | None
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a step.

    Attributes:
        outcome: `ok`; `timeout`; `refused`; `unknown_host`; `unreachable`; `no_answer` (it was reached,
            and did not speak the protocol); `no_tls`; `tls` (there is TLS, and no trust); `missing` (the
            library to ask with is not installed) or `broken` (it is, and does not work); else the HTTP
            status or the gRPC status code, such as `404` or `UNAUTHENTICATED`.
        clock_offset: seconds by which the server's clock is ahead, where it told its time; exact to half
            a second.
        web_page: whether it answered with HTML.
    """

    outcome: str
    clock_offset: float | None = None
    web_page: bool = False


def resolve(signal: Signal, protocol: str, endpoint: str | None) -> Target:
    """Work out where the exporter of a signal sends, as the exporters do.

    Args:
        signal: what is sent.
        protocol: `grpc` or `http/protobuf`.
        endpoint: stands in for `OTEL_EXPORTER_OTLP_ENDPOINT` and the signal's own, where it is given.

    Raises:
        UnusableEndpointError: no exporter could use it.
    """
    own = None if endpoint else os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    base = endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if protocol == "grpc":
        return _resolve_grpc(signal, (own or base or "http://localhost:4317").strip())
    return _resolve_http(signal, own or f"{(base or 'http://localhost:4318').removesuffix('/')}/v1/{signal}")


def is_reachable(target: Target) -> Answer:
    """Open a TCP connection; through a proxy that is the export's own business."""
    scheme = "https" if target.tls else "http"
    if urllib.request.getproxies().get(scheme) and not urllib.request.proxy_bypass(target.host):
        return Answer("ok")
    return _bounded(lambda: _connect(target))


def export_nothing(target: Target) -> Answer:
    """Send an empty export request over the target's protocol."""
    if target.tls and not _speaks_tls(target):
        return Answer("no_tls")
    answer = _bounded(lambda: (_call if target.protocol == "grpc" else _post)(target))
    if answer.outcome == "no_answer" and target.tls and target.protocol == "grpc":
        return Answer("tls") if not _is_trusted(target) else answer
    if answer.outcome in {"no_answer", "400"} and not target.tls and _speaks_tls(target):
        return Answer("tls_only")
    return answer


def _resolve_grpc(signal: Signal, endpoint: str) -> Target:
    insecure = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_INSECURE") or os.environ.get(
        "OTEL_EXPORTER_OTLP_INSECURE", ""
    )
    has_scheme = "://" in endpoint
    parts = _split(endpoint if has_scheme else f"//{endpoint}")
    tls = parts.scheme == "https" or (insecure.strip().lower() != "true" and parts.scheme != "http")
    return Target(signal, "grpc", parts.host, parts.port or 443, tls, "", "", parts.credentials, _headers(signal))


def _resolve_http(signal: Signal, endpoint: str) -> Target:
    if "://" not in endpoint:
        msg = "has no scheme; it starts with http:// or https://"
        raise UnusableEndpointError(msg)
    parts = _split(endpoint)
    if parts.scheme not in {"http", "https"}:
        msg = "has a scheme that OTLP over HTTP does not know; it starts with http:// or https://"
        raise UnusableEndpointError(msg)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Target(
        signal,
        "http/protobuf",
        parts.host,
        port,
        tls,
        parts.path or "/",
        parts.query,
        parts.credentials,
        _headers(signal),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    credentials: tuple[str, str] | None


def _split(endpoint: str) -> _Parts:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        msg = "is no address of the form http://host:port"
        raise UnusableEndpointError(msg)
    credentials = None
    if parts.username is not None:
        credentials = (unquote(parts.username), unquote(parts.password or ""))
    return _Parts(parts.scheme.lower(), host, port, parts.path, parts.query, credentials)


def _headers(signal: Signal) -> dict[str, str]:
    """Read the headers as the exporters do: percent-encoded pairs; what is no pair is left out."""
    text = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS") or os.environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    pairs = [entry.partition("=") for entry in text.split(",")]
    return {unquote(name).strip().lower(): unquote(value).strip() for name, equals, value in pairs if equals}


def _setting(target: Target, name: str) -> str | None:
    return (
        os.environ.get(f"OTEL_EXPORTER_OTLP_{target.signal.upper()}_{name}")
        or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")
        or None
    )


def _bounded(step: Callable[[], Answer]) -> Answer:
    """Give a step its time and no more: name look-ups and servers that answer byte by byte know no timeout."""
    answers: list[Answer] = []

    def run() -> None:
        try:
            answers.append(step())
        except Exception:  # noqa: BLE001 - a traceback on the terminal could show a header
            answers.append(Answer("broken"))

    thread = threading.Thread(target=run, name="windvane-doctor", daemon=True)
    thread.start()
    thread.join(STEP_SECONDS)
    return answers[0] if answers else Answer("timeout")


def _connect(target: Target) -> Answer:
    try:
        with socket.create_connection((target.host, target.port), STEP_SECONDS):
            return Answer("ok")
    except TimeoutError:
        return Answer("timeout")
    except ConnectionRefusedError:
        return Answer("refused")
    except socket.gaierror:
        return Answer("unknown_host")
    except (OSError, UnicodeError):
        return Answer("unreachable")


def _handshake(target: Target, context: ssl.SSLContext) -> Answer:
    try:
        with (
            socket.create_connection((target.host, target.port), STEP_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=target.host),
        ):
            return Answer("ok")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return Answer("no_tls")


def _speaks_tls(target: Target) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    # Nothing is sent over this connection; whether the certificate is trusted is asked by the export.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with contextlib.suppress(OSError):  # a server that asks for a certificate, or the files are not there
        _load_client_certificate(target, context)
    return _bounded(lambda: _handshake(target, context)).outcome == "ok"


def _is_trusted(target: Target) -> bool:
    try:
        context = ssl.create_default_context(cafile=_setting(target, "CERTIFICATE"))
        _load_client_certificate(target, context)
    except OSError:
        return False
    context.set_alpn_protocols(["h2"])
    return _bounded(lambda: _handshake(target, context)).outcome == "ok"


def _load_client_certificate(target: Target, context: ssl.SSLContext) -> None:
    certificate = _setting(target, "CLIENT_CERTIFICATE")
    if certificate:
        context.load_cert_chain(certificate, _setting(target, "CLIENT_KEY"))


def _post(target: Target) -> Answer:  # noqa: PLR0911 - one for each way it can end
    """Export over HTTP with requests, as the exporter does: the same proxies, trust and faults."""
    try:
        import requests  # noqa: PLC0415 - comes with the extra `otlp`
    except ModuleNotFoundError as error:
        return Answer("missing" if error.name == "requests" else "broken")
    except Exception:  # noqa: BLE001 - what another package has overwritten may raise anything
        return Answer("broken")
    certificate = _setting(target, "CLIENT_CERTIFICATE")
    key = _setting(target, "CLIENT_KEY")
    host = f"[{target.host}]" if ":" in target.host else target.host
    query = f"?{target.query}" if target.query else ""
    sent = time.time()
    try:
        response = requests.post(
            f"{'https' if target.tls else 'http'}://{host}:{target.port}{target.path}{query}",
            data=b"",
            headers={**target.headers, "content-type": "application/x-protobuf"},
            auth=target.credentials,
            timeout=STEP_SECONDS,
            verify=_setting(target, "CERTIFICATE") or True,
            cert=((certificate, key) if key else certificate) if certificate else None,
            allow_redirects=False,
        )
    except requests.Timeout:
        return Answer("timeout")
    except requests.exceptions.SSLError:
        return Answer("tls")
    except (requests.exceptions.InvalidHeader, UnicodeError):
        return Answer("bad_header")
    except requests.RequestException:
        return Answer("no_answer")
    except OSError:  # a certificate's file that is not there
        return Answer("tls")
    middle = (sent + time.time()) / 2
    outcome = "ok" if response.status_code // 100 == 2 else str(response.status_code)  # noqa: PLR2004 - any 2xx
    return Answer(
        outcome,
        _clock_offset(response.headers.get("date"), middle),
        "html" in response.headers.get("content-type", ""),
    )


def _clock_offset(date: str | None, at: float) -> float | None:
    try:
        # The header has whole seconds, rounded down.
        return email.utils.parsedate_to_datetime(date or "").timestamp() + 0.5 - at
    except ValueError:
        return None


def _call(target: Target) -> Answer:
    """Export over gRPC."""
    try:
        grpc: Any = importlib.import_module("grpc")  # comes with the extra `otlp`, and has no types
    except ModuleNotFoundError:
        return Answer("missing")
    except Exception:  # noqa: BLE001 - a broken installation may raise anything
        return Answer("broken")
    host = f"[{target.host}]" if ":" in target.host else target.host
    address = f"{host}:{target.port}"
    try:
        channel: Any = (
            grpc.secure_channel(address, _grpc_credentials(target, grpc))
            if target.tls
            else grpc.insecure_channel(address)
        )
    except OSError:
        return Answer("tls")
    try:
        export = channel.unary_unary(_GRPC_METHODS[target.signal])
        export(b"", timeout=STEP_SECONDS * 0.9, metadata=tuple(target.headers.items()))
    except grpc.RpcError as error:
        code = error.code().name
        outcome = {"UNAVAILABLE": "no_answer", "DEADLINE_EXCEEDED": "timeout", "INTERNAL": "no_answer"}.get(code, code)
        return Answer(outcome)
    except Exception:  # noqa: BLE001 - gRPC's own type for metadata it does not take varies
        return Answer("bad_header")
    finally:
        channel.close()
    return Answer("ok")


def _grpc_credentials(target: Target, grpc: Any) -> Any:  # noqa: ANN401 - gRPC has no types
    def content(name: str) -> bytes | None:
        path = _setting(target, name)
        return Path(path).read_bytes() if path else None

    return grpc.ssl_channel_credentials(content("CERTIFICATE"), content("CLIENT_KEY"), content("CLIENT_CERTIFICATE"))
