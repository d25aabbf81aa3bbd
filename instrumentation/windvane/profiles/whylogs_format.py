"""Reads and writes the files of whylogs 1.x ("WHY1"). The bytes are described in docs/profile-format.md."""

from __future__ import annotations

import sys
from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from windvane.errors import ProfileError
from windvane.profiles._wire import (
    Value,
    bytes_field,
    fields,
    fixed64_field,
    text,
    varint,
    varint_field,
    varint_from,
)
from windvane.profiles.cardinality import Cardinality
from windvane.profiles.column import ColumnProfile, Counts, Moments, Types
from windvane.profiles.frequent_items import FrequentItems
from windvane.profiles.quantiles import Quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_COLUMNS", "MAX_ROWS", "Content", "read", "write"]

MAX_COLUMNS: Final = 10_000
"""Of one profile; also when it is read."""

MAX_ROWS: Final = 1 << 48
"""The same. So sums of counts that a file makes up stay far from 64 bits."""

_MAGIC: Final = b"WHY1"
_TAG_PREFIX: Final = "whylogs.tag."
_COLUMN_CHUNK: Final = 2
_MINIMUM: Final = 1
_MAXIMUM: Final = 2
"""Type ids: how whylogs merges an integer. Without one, it adds."""
_NO_INTEGER: Final = sys.maxsize
_MAX_METADATA: Final = 1000
_MAX_PATHS: Final = 1000

_N: Final = 2
_D: Final = 3
_FREQUENT_ITEMS: Final = 4
_HLL: Final = 5
_KLL: Final = 6
"""Numbers of the fields of a component, of which it has one; field 1 is its type id."""


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        columns: the profiles by column.
        dataset_timestamp: milliseconds since 1970 in UTC.
        creation_timestamp: the same.
        metadata: texts by name.
    """

    columns: dict[str, ColumnProfile]
    dataset_timestamp: int
    creation_timestamp: int
    metadata: dict[str, str]


def write(content: Content, *, frequent_items_minimum: int = 1) -> bytes:
    """Write a file; equal content gives equal bytes.

    Args:
        content: what to write.
        frequent_items_minimum: frequent items that came less often are left out.
    """
    components = {name: _components(column, frequent_items_minimum) for name, column in sorted(content.columns.items())}
    paths = sorted({path for of_column in components.values() for path in of_column})
    index = {path: i for i, path in enumerate(paths)}
    chunks: list[bytes] = []
    offsets: list[bytes] = []
    position = 0
    for name, of_column in components.items():
        chunk = b"".join(
            bytes_field(1, varint_field(1, index[path]) + bytes_field(2, component))
            for path, component in sorted(of_column.items())
        )
        header = _delimited(varint_field(1, _COLUMN_CHUNK) + varint_field(3, len(chunk)))
        chunks += [header, chunk]
        offsets.append(bytes_field(2, _entry(name, bytes_field(1, varint(position)))))
        position += len(header) + len(chunk)
    properties = varint_field(4, content.creation_timestamp) + varint_field(5, content.dataset_timestamp)
    for name, value in sorted(content.metadata.items()):
        properties += bytes_field(6 if name.startswith(_TAG_PREFIX) else 7, _entry(name, value.encode()))
    profile_header = b"".join(
        (
            bytes_field(1, properties),
            *offsets,
            varint_field(4, position),
            *(bytes_field(5, varint_field(1, i) + bytes_field(2, path.encode())) for path, i in index.items()),
        )
    )
    segment_header = _delimited(b"")  # no segments
    return b"".join((_MAGIC, segment_header, _delimited(profile_header), *chunks))


def read(data: bytes) -> Content:
    """Read a file that whylogs or `write` wrote; metrics that `write` does not write are left out.

    Raises:
        ProfileError: the bytes are no such file, or it is damaged.
    """
    if not data.startswith(_MAGIC):
        _damaged("this is no whylogs profile: it does not begin with WHY1")
    # What a file with one segment says of it stands in the metadata as well.
    _, position = _read_delimited(data, len(_MAGIC))
    header, start = _read_delimited(data, position)
    if not header:
        _damaged("the header of the profile is empty")
    properties, offsets, paths = _read_header(header)
    columns: dict[str, ColumnProfile] = {}
    left = len(data) - start
    for name, positions in sorted(offsets.items()):
        components: dict[str, bytes] = {}
        for offset in positions:
            chunk, size = _read_chunk(data, start + offset)
            left -= size
            if left < 0:  # a small file would be a large profile if columns shared bytes
                _damaged("columns of the profile overlap")
            components |= _read_components(chunk, paths)
        columns[name] = _column(components)
    return Content(columns, *_read_properties(properties))


def _components(column: ColumnProfile, frequent_items_minimum: int) -> dict[str, bytes]:
    result = {
        f"counts/{field.name}": varint_field(_N, getattr(column.counts, field.name)) for field in fields_of(Counts)
    }
    for field in fields_of(Types):
        result[f"types/{field.name}"] = varint_field(_N, getattr(column.types, field.name))
    if column.quantiles is not None:
        result["distribution/kll"] = bytes_field(_KLL, bytes_field(1, column.quantiles.to_bytes()))
        result["distribution/mean"] = fixed64_field(_D, column.moments.mean)
        result["distribution/m2"] = fixed64_field(_D, column.moments.m2)
    if column.has_integers:
        minimum = _NO_INTEGER if column.minimum is None else column.minimum
        maximum = -_NO_INTEGER if column.maximum is None else column.maximum
        result["ints/min"] = varint_field(1, _MINIMUM) + varint_field(_N, minimum)
        result["ints/max"] = varint_field(1, _MAXIMUM) + varint_field(_N, maximum)
    if column.cardinality is not None:
        result["cardinality/hll"] = bytes_field(_HLL, bytes_field(1, column.cardinality.to_bytes()))
    if column.frequent_items is not None:
        sketch = column.frequent_items.to_bytes(frequent_items_minimum)
        result["frequent_items/frequent_strings"] = bytes_field(_FREQUENT_ITEMS, bytes_field(1, sketch))
    return result


def _column(components: Mapping[str, bytes]) -> ColumnProfile:
    values = {path: dict(fields(component)) for path, component in components.items()}
    column = ColumnProfile.empty()
    for metric, counts in (("counts", column.counts), ("types", column.types)):
        for field in fields_of(counts):
            setattr(counts, field.name, _count(values, f"{metric}/{field.name}"))
    if "distribution/kll" in values:
        column.quantiles = Quantiles.from_bytes(_sketch(values["distribution/kll"], _KLL))
        column.moments = Moments(
            column.quantiles.n, _double(values, "distribution/mean"), _double(values, "distribution/m2")
        )
    if "ints/min" in values or "ints/max" in values:
        column.has_integers = True
        minimum, maximum = _integer(values, "ints/min"), _integer(values, "ints/max")
        if minimum <= maximum:
            column.minimum, column.maximum = minimum, maximum
    if "cardinality/hll" in values:
        column.cardinality = Cardinality.from_bytes(_sketch(values["cardinality/hll"], _HLL))
    if "frequent_items/frequent_strings" in values:
        sketch = _sketch(values["frequent_items/frequent_strings"], _FREQUENT_ITEMS)
        column.frequent_items = FrequentItems.from_bytes(sketch)
    _check_counts(column, has_n="counts/n" in values)
    return column


def _check_counts(column: ColumnProfile, *, has_n: bool) -> None:
    """Refuse a column that counts more values than it has; without their number it has as many as it counts."""
    found = [getattr(part, field.name) for part in (column.counts, column.types) for field in fields_of(part)]
    if column.quantiles is not None:
        found.append(column.quantiles.n)
    if column.frequent_items is not None:
        found.append(column.frequent_items.n)
    if not has_n:  # as whylogs writes with a schema without this metric
        column.counts.n = max(found)
    if not max(found) <= column.counts.n <= MAX_ROWS:
        _damaged("a column counts more values than it has, or than it can have")


def _read_chunk(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the content of a column's chunk, and how long it is with its header."""
    if position >= len(data):
        _damaged("a column lies beyond the end of the profile")
    header, start = _read_delimited(data, position)
    values = dict(fields(header))
    length = values.get(3, 0)
    if values.get(1) != _COLUMN_CHUNK or not isinstance(length, int) or length > len(data) - start:
        _damaged("a column's chunk is no column, or longer than the profile")
    return data[start : start + length], start + length - position


def _read_header(header: bytes) -> tuple[bytes, dict[str, list[int]], dict[int, str]]:
    """Return the properties, the offsets of each column's chunks, and the names of the components."""
    properties: list[bytes] = []
    offsets: dict[str, list[int]] = {}
    paths: dict[int, str] = {}
    for number, value in fields(header, most=MAX_COLUMNS + _MAX_PATHS):
        if number == 1:
            properties.append(_message(value))
        elif number == 2:  # noqa: PLR2004 - numbers of fields, here and below, as docs/profile-format.md lists them
            name, of_column = _read_entry(value)
            offsets[name] = _read_offsets(of_column)
            if len(offsets) > MAX_COLUMNS:
                _damaged(f"the profile has more than {MAX_COLUMNS} columns")
        elif number == 5:  # noqa: PLR2004
            index, path = _read_indexed(value)
            paths[index] = text(path)
    return b"".join(properties), offsets, paths


def _read_components(chunk: bytes, paths: Mapping[int, str]) -> dict[str, bytes]:
    components: dict[str, bytes] = {}
    for number, value in fields(chunk):
        if number == 1:
            index, component = _read_indexed(value)
            if index not in paths:
                _damaged("a component of a column has no name")
            components[paths[index]] = _message(component)
    return components


def _read_properties(properties: bytes) -> tuple[int, int, dict[str, str]]:
    timestamps = {4: 0, 5: 0}
    metadata: dict[str, str] = {}
    for number, value in fields(properties):
        if number in timestamps and isinstance(value, int):
            timestamps[number] = value
        elif number in {6, 7}:
            name, content = _read_entry(value)
            metadata[name] = text(content)
            if len(metadata) > _MAX_METADATA:
                _damaged(f"the profile has more than {_MAX_METADATA} tags and metadata")
    return timestamps[5], timestamps[4], metadata


def _read_offsets(message: Value) -> list[int]:
    offsets: list[int] = []
    for number, value in fields(_message(message)):
        if number != 1:
            continue
        if isinstance(value, bytes):  # packed
            position = 0
            while position < len(value):
                offset, position = varint_from(value, position)
                offsets.append(offset)
        elif isinstance(value, int):
            offsets.append(value)
    return offsets


def _read_entry(message: Value) -> tuple[str, Value]:
    """Read an entry of a map whose keys are text."""
    entry = dict(fields(_message(message)))
    return text(entry.get(1, b"")), entry.get(2, b"")


def _read_indexed(message: Value) -> tuple[int, Value]:
    """Read an entry of a map whose keys are numbers."""
    entry = dict(fields(_message(message)))
    index = entry.get(1, 0)
    if not isinstance(index, int):
        _damaged("the number of a component is none")
    return index, entry.get(2, b"")


def _read_delimited(data: bytes, position: int) -> tuple[bytes, int]:
    """Read a message that its length precedes; return it and the position after it."""
    length, position = varint_from(data, position)
    if length > len(data) - position:
        _damaged("the profile ends within a header")
    return data[position : position + length], position + length


def _message(value: Value) -> bytes:
    if not isinstance(value, bytes):
        _damaged("a field that must be a message is none")
    return value


def _sketch(component: Mapping[int, Value], number: int) -> bytes:
    return _message(dict(fields(_message(component.get(number, 0)))).get(1, b""))


def _count(values: Mapping[str, Mapping[int, Value]], path: str) -> int:
    count = _integer(values, path) if path in values else 0  # earlier versions of whylogs have fewer counts
    if count < 0:
        _damaged(f"{path} is negative")
    return count


def _integer(values: Mapping[str, Mapping[int, Value]], path: str) -> int:
    number = values.get(path, {}).get(_N)
    if not isinstance(number, int):
        _damaged(f"{path} is no integer")
    return number - (1 << 64) if number >> 63 else number


def _double(values: Mapping[str, Mapping[int, Value]], path: str) -> float:
    number = values.get(path, {}).get(_D)
    if not isinstance(number, float):
        _damaged(f"{path} is no double")
    return number


def _delimited(message: bytes) -> bytes:
    return varint(len(message)) + message


def _entry(name: str, value: bytes) -> bytes:
    return bytes_field(1, name.encode()) + bytes_field(2, value)


def _damaged(msg: str) -> NoReturn:
    raise ProfileError(msg)
