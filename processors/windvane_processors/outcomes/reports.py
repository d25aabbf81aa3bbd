"""Reads what is reported: outcomes, feedback, and which key names which prediction."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final, NamedTuple

from windvane.baseline import check_model_name
from windvane.errors import DeclarationError, TokenError

__all__ = [
    "MAX_ITEMS",
    "Feedback",
    "KeyedPrediction",
    "Report",
    "UnreadableError",
    "actual_of",
    "feedback_of",
    "items_of",
    "prediction_of",
    "report_of",
]

MAX_ITEMS: Final = 10_000
"""Of one request."""

_MAX_MARKS: Final = 600_000
"""Of braces, brackets and commas in a body: what bounds the memory that reading it takes."""

_MAX_KEY: Final = 512
_MAX_TEXT: Final = 256
_MAX_RELEVANT: Final = 100
"""Items of an actual that is a list."""

_DIGEST_DIGITS: Final = 32


class UnreadableError(ValueError):
    """A body that holds no items at all, or too many."""


class Report(NamedTuple):
    """An outcome.

    Attributes:
        token: the prediction's; None where it is known by a key.
        model: the model's name, with `key`.
        key: the caller's own key of the prediction.
        actual: what came true.
        time: when that became known, in seconds since 1970; None for now.
    """

    token: str | None
    model: str | None
    key: str | None
    actual: object
    time: float | None


class Feedback(NamedTuple):
    """Feedback on a prediction.

    Attributes:
        token: the prediction's.
        kind: such as accepted or overridden.
    """

    token: str
    kind: str


class KeyedPrediction(NamedTuple):
    """Which prediction a key names.

    Attributes:
        digest: of the model and the key, 16 bytes.
        token: the prediction's.
    """

    digest: bytes
    token: str


def items_of(body: bytes, field: str) -> list[object]:
    """Return the items of a body, not looked at yet.

    Args:
        body: JSON.
        field: name of the list in it.

    Raises:
        UnreadableError: it is no JSON, or no object with one such list, or a list that is too long.
    """
    if sum(body.count(mark) for mark in b"{[,") > _MAX_MARKS:
        msg = f"the body has too many values; send {MAX_ITEMS} items at once at most"
        raise UnreadableError(msg)
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        msg = "the body is no JSON in UTF-8"
        raise UnreadableError(msg) from error
    items = content.get(field) if isinstance(content, dict) else None
    if not isinstance(items, list):
        msg = f'the body must be an object like {{"{field}": [...]}}'
        raise UnreadableError(msg)
    if len(items) > MAX_ITEMS:
        msg = f"the body has {len(items)} items; send {MAX_ITEMS} at once at most"
        raise UnreadableError(msg)
    return items


def report_of(item: object) -> Report:
    """Read an outcome.

    Raises:
        TokenError: it is none.
    """
    fields = _fields(item, _REPORT)
    actual = fields.get("actual")
    if not _is_actual(actual):
        msg = "actual: must be a text, a number, true or false, or a list of these"
        raise TokenError(msg, "actual")
    time = fields.get("time")
    if time is not None and (not _is_number(time) or not math.isfinite(time)):
        msg = "time: must be a number of seconds since 1970"
        raise TokenError(msg, "malformed")
    token, model, key = (fields.get(name) for name in ("token", "model", "key"))
    if (token is None) == (key is None) or (key is None) != (model is None):
        msg = "name the prediction by its token, or by model and key"
        raise TokenError(msg, "malformed")
    if token is not None:
        return Report(_text("token", token, 1024), None, None, actual, time)
    try:
        named = check_model_name(_text("model", model, _MAX_TEXT))
    except DeclarationError as error:
        raise TokenError(str(error), "model") from error
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    return Report(None, named, _text("key", key, _MAX_KEY), actual, time)


def actual_of(value: object) -> object:
    """Return an actual of a table's column as JSON has it; None where there is none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, list):
        return [actual_of(item) for item in value if item is not None] or None
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, str | bool | int | float) else str(value)


def feedback_of(item: object) -> Feedback:
    """Read feedback.

    Raises:
        TokenError: it is none.
    """
    fields = _fields(item, _FEEDBACK)
    return Feedback(_text("token", fields.get("token"), 1024), _text("kind", fields.get("kind"), 64))


def prediction_of(item: object) -> KeyedPrediction:
    """Read which prediction a key names.

    Raises:
        TokenError: the item does not tell it.
    """
    fields = _fields(item, _PREDICTION)
    digest = _text("key_digest", fields.get("key_digest"), _DIGEST_DIGITS)
    try:
        read = bytes.fromhex(digest)
    except ValueError:
        read = b""
    if len(digest) != _DIGEST_DIGITS or len(read) != _DIGEST_DIGITS // 2:
        msg = f"key_digest: must be {_DIGEST_DIGITS} hexadecimal digits"
        raise TokenError(msg, "malformed")
    return KeyedPrediction(read, _text("token", fields.get("token"), 1024))


_REPORT: Final = frozenset({"token", "model", "key", "actual", "time"})
_FEEDBACK: Final = frozenset({"token", "kind"})
_PREDICTION: Final = frozenset({"key_digest", "token"})


def _fields(item: object, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(item, dict) or not known.issuperset(item):
        msg = f"an item must be an object with no other fields than {', '.join(sorted(known))}"
        raise TokenError(msg, "malformed")
    return item


def _text(field: str, value: object, longest: int) -> str:
    if not isinstance(value, str) or not value or len(value) > longest or not _is_unicode(value):
        msg = f"{field}: must be a text of 1 to {longest} characters"
        raise TokenError(msg, "malformed")
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can write and nobody can store, and no null."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_actual(value: object) -> bool:
    if isinstance(value, list):
        return 0 < len(value) <= _MAX_RELEVANT and all(_is_scalar(item) for item in value)
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and _is_unicode(value)
    # A whole number may have any number of digits.
    return isinstance(value, bool) or (_is_number(value) and abs(value) <= _LARGEST)  # type: ignore[arg-type]


_LARGEST: Final = 1e308
