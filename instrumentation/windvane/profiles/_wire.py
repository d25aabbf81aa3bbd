"""As much of the protobuf wire format as a whylogs profile needs.

Encoding: https://protobuf.dev/programming-guides/encoding/. A message is a row of fields; a field is a tag
(number and wire type) and a value. Written by hand since the profile's few messages are simpler than a
generated module, and since a reader of foreign bytes should know each length that it believes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, TypeAlias

from windvane.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Value", "bytes_field", "fields", "fixed64_field", "text", "varint", "varint_field", "varint_from"]

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MAX_VARINT_BYTES: Final = 10
_CONTINUES: Final = 0x80
_64_BITS: Final = (1 << 64) - 1
_MAX_FIELDS: Final = 2000
"""Of a message; each takes a hundred times as long to read as a byte does to send."""
_FIXED_LENGTHS: Final = {_FIXED64: 8, _FIXED32: 4}

Value: TypeAlias = int | float | bytes
"""A varint is an int, 64 fixed bits a float, and what has a length is bytes."""


def varint(number: int) -> bytes:
    """Write an integer of at most 64 bits in base 128; a negative one as its two's complement."""
    number &= _64_BITS
    written = bytearray()
    while number >= _CONTINUES:
        written.append(number & 0x7F | _CONTINUES)
        number >>= 7
    written.append(number)
    return bytes(written)


def varint_field(number: int, value: int) -> bytes:
    """Write a field with an integer."""
    return varint(number << 3 | _VARINT) + varint(value)


def fixed64_field(number: int, value: float) -> bytes:
    """Write a field with a double."""
    return varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Write a field with text, bytes or a message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def varint_from(data: bytes, position: int) -> tuple[int, int]:
    """Read a varint.

    Returns:
        The integer, at least 0 and of at most 64 bits, and the position after it.

    Raises:
        ProfileError: the data end in it, or it is too long.
    """
    number = 0
    for i, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * i)
        if byte < _CONTINUES:
            return number & _64_BITS, position + i + 1
    msg = f"no number stands at byte {position}"
    raise ProfileError(msg)


def fields(  # noqa: C901, PLR0912 - a short number is read in place
    message: bytes, *, most: int = _MAX_FIELDS
) -> Iterator[tuple[int, Value]]:
    """Read the fields of a message, in their order.

    Args:
        message: the message.
        most: how many fields it may have.

    Yields:
        The number of the field and its value; 32 fixed bits, which no message here has, are left out.

    Raises:
        ProfileError: the message is malformed, or has more fields.
    """
    position, end = 0, len(message)
    for _ in range(most):
        if position >= end:
            return
        # Almost all numbers have one byte, which is read here, since a call takes longer than all else.
        tag = message[position]
        if tag < _CONTINUES:
            position += 1
        else:
            tag, position = varint_from(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type in _FIXED_LENGTHS:
            length = _FIXED_LENGTHS[wire_type]
        elif wire_type in {_VARINT, _BYTES}:
            if position < end and message[position] < _CONTINUES:
                length = message[position]
                position += 1
            else:
                length, position = varint_from(message, position)
            if wire_type == _VARINT:
                yield number, length
                continue
        else:
            msg = f"field {number} has no wire type of protobuf's third version"
            raise ProfileError(msg)
        if length > end - position:
            msg = f"field {number} is longer than its message"
            raise ProfileError(msg)
        content = message[position : position + length]
        position += length
        if wire_type == _BYTES:
            yield number, content
        elif wire_type == _FIXED64:
            yield number, struct.unpack("<d", content)[0]
    if position < end:
        msg = f"a message has more than {most} fields"
        raise ProfileError(msg)


def text(value: Value) -> str:
    """Read a field's value as text.

    Raises:
        ProfileError: it is none.
    """
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    msg = "a field that must be text is none"
    raise ProfileError(msg)
