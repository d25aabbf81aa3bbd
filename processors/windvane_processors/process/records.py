"""Reads chunks of profiles out of OTLP log records, and refuses what is none."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from windvane import semconv
from windvane.baseline import check_model_name, check_model_version
from windvane.errors import DeclarationError, ProfileError
from windvane.profiles import DatasetProfile
from windvane_processors.profile_store import Part

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["MAX_CHUNK_BYTES", "RefusedError", "is_profile", "part_of"]

MAX_CHUNK_BYTES: Final = 256 * 2**10
"""Larger chunks are refused; windvane's own have half of that at most."""

_ATTRIBUTES: Final = "attributes"
_CHECKSUM: Final = "checksum"
_PROFILE: Final = "profile"
_WINDOW: Final = "window"
_DAY: Final = 86_400
_MAX_CHUNKS: Final = 10_000
_FUTURE: Final = timedelta(days=1)
_ID: Final = re.compile(r"[0-9a-f]{32}")


class RefusedError(ValueError):
    """A record cannot be stored.

    Attributes:
        result: the value of `windvane.process.result`.
    """

    def __init__(self, result: str, why: str) -> None:
        """Say why, without a value."""
        super().__init__(why)
        self.result = result


def is_profile(record: LogRecord) -> bool:
    """Tell whether a log record is an event `ml.profile`, by its field or, where that was lost, its attribute."""
    if record.event_name:
        return bool(record.event_name == semconv.PROFILE_EVENT.name)
    return any(
        pair.key == semconv.EVENT_NAME.name and pair.value.string_value == semconv.PROFILE_EVENT.name
        for pair in record.attributes
    )


def part_of(record: LogRecord, *, now: datetime, retention: timedelta) -> Part:
    """Return the chunk of a profile that a log record holds.

    Args:
        record: an event `ml.profile`.
        now: the present time.
        retention: windows that ended longer ago are not kept.

    Raises:
        RefusedError: an attribute is missing or cannot be, the body is damaged or no profile, or the window lies where
            no profile is kept.
    """
    attributes = {pair.key: pair.value for pair in record.attributes}
    try:
        model = check_model_name(_text(attributes, semconv.MODEL_NAME))
        version = check_model_version(_text(attributes, semconv.MODEL_VERSION))
    except DeclarationError as error:
        raise RefusedError(_ATTRIBUTES, str(error)) from error
    start = _whole(attributes, semconv.PROFILE_WINDOW_START)
    duration = _whole(attributes, semconv.PROFILE_WINDOW_DURATION)
    profile_id = _text(attributes, semconv.PROFILE_ID)
    chunk = _whole(attributes, semconv.PROFILE_CHUNK_INDEX)
    if not _ID.fullmatch(profile_id):
        raise RefusedError(_ATTRIBUTES, f"{semconv.PROFILE_ID.name}: must be 32 hexadecimal digits")
    if not 0 <= chunk < _MAX_CHUNKS:
        raise RefusedError(_ATTRIBUTES, f"{semconv.PROFILE_CHUNK_INDEX.name}: must be 0 to {_MAX_CHUNKS - 1}")
    if duration < 1 or _DAY % duration or start < 0 or start % duration:
        raise RefusedError(_ATTRIBUTES, "the window must begin at a multiple of its duration, which divides a day")
    if start + duration < (now - retention).timestamp() or start > (now + _FUTURE).timestamp():
        raise RefusedError(_WINDOW, "the window lies further back than profiles are kept, or in the future")
    body = record.body.bytes_value
    if hashlib.sha256(body).hexdigest() != _text(attributes, semconv.PROFILE_CHUNK_CHECKSUM):
        raise RefusedError(_CHECKSUM, "the body is not the one that was sent: its checksum differs")
    if len(body) > MAX_CHUNK_BYTES:
        raise RefusedError(_PROFILE, f"the body has more than {MAX_CHUNK_BYTES} bytes")
    try:
        profile = DatasetProfile.deserialize(body)
    except ProfileError as error:
        raise RefusedError(_PROFILE, f"the body is no profile: {error}") from error
    if profile.dataset_timestamp != datetime.fromtimestamp(start, UTC):
        raise RefusedError(_PROFILE, "the profile is of another time than its window")
    return Part(model, version, start, duration, profile_id, chunk, body)


def _value(attributes: dict[str, Any], attribute: semconv.Attribute, kind: str) -> Any:  # noqa: ANN401 - of its kind
    value = attributes.get(attribute.name)
    if value is None or value.WhichOneof("value") != kind:
        raise RefusedError(_ATTRIBUTES, f"{attribute.name}: is missing, or of another type")
    return getattr(value, kind)


def _text(attributes: dict[str, Any], attribute: semconv.Attribute) -> str:
    return str(_value(attributes, attribute, "string_value"))


def _whole(attributes: dict[str, Any], attribute: semconv.Attribute) -> int:
    return int(_value(attributes, attribute, "int_value"))
