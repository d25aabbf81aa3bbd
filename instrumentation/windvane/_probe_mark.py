"""Tells the calls of probes from traffic.

A probe's calls carry a mark in OpenTelemetry's baggage. Baggage comes from outside: if any mark were believed, whoever
calls the model could keep what he does out of its telemetry. So a mark is the time under a secret that the process of
the probes and the service share, good for five minutes, and where there is no secret there are no marks.
"""

from __future__ import annotations

import hmac
import os
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import baggage

from windvane import semconv
from windvane.errors import DeclarationError

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["PROBE_KEY", "is_probe", "load_key", "marked"]

PROBE_KEY: Final = "WINDVANE_PROBE_KEY"
"""Environment variable: the secret that probes and services share."""

_MIN_KEY_LENGTH: Final = 32
_GOOD_FOR: Final = 300
"""Seconds, in either direction, since clocks differ."""

_LONGEST_MARK: Final = 80
_key: bytes = b""


def load_key() -> None:
    """Read the secret from the environment.

    Raises:
        DeclarationError: it is too short.
    """
    global _key  # noqa: PLW0603 - a process has one
    text = os.environ.get(PROBE_KEY, "").strip()
    if text and len(text) < _MIN_KEY_LENGTH:
        msg = (
            f"{PROBE_KEY}: has {len(text)} characters; it needs {_MIN_KEY_LENGTH} at least, such as "
            "`openssl rand -hex 32` gives"
        )
        raise DeclarationError(msg)
    _key = text.encode()


def marked() -> Context | None:
    """Return the current context with a mark, None where there is no secret."""
    if not _key:
        return None
    now = str(int(time.time()))
    return baggage.set_baggage(semconv.PROBE_MARK, f"{now}.{_mac(now)}")


def is_probe() -> bool:
    """Whether the current context has a mark that holds."""
    if not _key:
        return False
    mark = baggage.get_baggage(semconv.PROBE_MARK)
    if not isinstance(mark, str) or len(mark) > _LONGEST_MARK or not mark.isascii():
        return False
    at, _, mac = mark.partition(".")
    return (
        at.isdigit()
        and abs(time.time() - int(at)) <= _GOOD_FOR
        and hmac.compare_digest(mac.encode(), _mac(at).encode())
    )


def _mac(text: str) -> str:
    return hmac.digest(_key, text.encode(), "sha256").hex()
