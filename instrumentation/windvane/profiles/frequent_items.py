"""The most frequent values of a column.

Misra, Gries, "Finding repeated elements" (1982), merged as in Agarwal et al., "Mergeable summaries" (2012).
Apache DataSketches' sketch, whose bytes these are, differs only in which counters it gives up:
https://datasketches.apache.org/docs/Frequency/FrequentItemsOverview.html
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import numpy as np

from windvane.errors import ProfileError
from windvane.profiles._wire import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["FrequentItem", "FrequentItems"]

_MAX_TEXT: Final = 128
"""Longer text is cut, as whylogs cuts it."""
_LG_MAX_SIZE: Final = 10
"""whylogs' default: a table of 1024, filled up to three quarters."""
_LG_MIN_SIZE: Final = 3
_CAPACITY: Final = 768
_KEPT: Final = 384
"""Values of more that are kept: half of them, as in the library, so that it does not come to it each time."""

_FAMILY: Final = 10
_EMPTY: Final = 1 | 4
"""Both bits that the library's versions have used; each reads either."""
_START: Final = struct.Struct("<BBBBBBxx")
"""Longs of preamble, version, family, lg of the largest and of the present table, flags."""
_REST: Final = struct.Struct("<IxxxxQQ")
"""Items, weight of all values, offset."""
_MAX_WEIGHT: Final = 1 << 62
"""Of all values together, of what is read."""


class FrequentItem(NamedTuple):
    """A value and how often it came.

    Attributes:
        value: the text; an integer or a boolean as Python writes it.
        estimate: the estimated count.
        lower: it came at least so often.
        upper: it came at most so often.
    """

    value: str
    estimate: int
    lower: int
    upper: int


class FrequentItems:
    """At most 768 values with their counts: exact while no more have come, else too low by at most n / 385."""

    __slots__ = ("_counts", "_offset", "_weight")

    def __init__(self) -> None:
        """Begin without values."""
        self._counts: dict[str, int] = {}
        self._weight = 0
        self._offset = 0

    def update_texts(self, counts: Mapping[str, int]) -> None:
        """Add texts with their counts."""
        values = [value[:_MAX_TEXT].encode("utf-8", "replace").decode() for value in counts]
        self._add_all(zip(values, counts.values(), strict=True))
        self._weight += sum(counts.values())
        self._reduce()

    def update_integers(self, integers: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Add distinct integers with their counts, both of shape (n,)."""
        self._weight += int(counts.sum())
        if integers.size > _CAPACITY:  # many more than can stay: only those that can become text
            excess = int(np.partition(counts, -_KEPT - 1)[-_KEPT - 1])
            frequent = counts > excess
            integers, counts = integers[frequent], counts[frequent] - excess
            self._offset += excess
        self._add_all(zip(map(str, integers.tolist()), counts.tolist(), strict=True))
        self._reduce()

    def merge(self, other: FrequentItems) -> FrequentItems:
        """Return the counts of both sets of values."""
        merged = FrequentItems()
        merged._counts = dict(self._counts)
        merged._add_all(other._counts.items())
        merged._weight = self._weight + other._weight
        merged._offset = self._offset + other._offset
        merged._reduce()
        return merged

    @property
    def n(self) -> int:
        """How many values were given, the most that any count can be."""
        return max(self._weight, self._offset)

    @property
    def items(self) -> list[FrequentItem]:
        """The values that surely are more frequent than any that is not listed, the most frequent first."""
        pairs = sorted(self._counts.items(), key=_most_frequent_first)
        return [FrequentItem(value, n + self._offset, n, n + self._offset) for value, n in pairs if n > self._offset]

    def to_bytes(self, minimum: int = 1) -> bytes:
        """Write the sketch as the library does.

        Args:
            minimum: an item that may have come less often is left out.
        """
        written = [(value, n) for value, n in sorted(self._counts.items(), key=_most_frequent_first) if n >= minimum]
        if not written:
            return _START.pack(1, 1, _FAMILY, _LG_MAX_SIZE, _LG_MIN_SIZE, _EMPTY)
        largest = max(_LG_MAX_SIZE, _lg_table(len(written)))
        values = [value.encode() for value, _ in written]
        return b"".join(
            (
                _START.pack(4, 1, _FAMILY, largest, _lg_table(len(written)), 0),
                _REST.pack(len(written), self._weight, self._offset),
                struct.pack(f"<{len(written)}Q", *(n for _, n in written)),
                *(struct.pack("<I", len(value)) + value for value in values),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> FrequentItems:
        """Read a sketch of texts.

        Raises:
            ProfileError: the bytes are no such sketch.
        """
        if len(data) < _START.size:
            _invalid("is too short")
        _, version, family, _, _, flags = _START.unpack_from(data)
        if version != 1 or family != _FAMILY:
            _invalid(f"is of another kind (version {version}, family {family})")
        sketch = cls()
        if flags & _EMPTY:
            return sketch
        position = _START.size + _REST.size
        if len(data) < position:
            _invalid("is too short")
        count, sketch._weight, sketch._offset = _REST.unpack_from(data, _START.size)
        if len(data) < position + 12 * count:
            _invalid("has fewer items than it says")
        counts = struct.unpack_from(f"<{count}Q", data, position)
        position += 8 * count
        if 0 in counts or sum(counts) > sketch._weight or max(sketch._weight, sketch._offset) > _MAX_WEIGHT:
            _invalid("has counts that cannot be")
        for n in counts:
            length = int.from_bytes(data[position : position + 4], "little")
            position += 4
            if position + length > len(data):
                _invalid("has an item that is longer than the rest")
            sketch._counts[text(data[position : position + length])] = n
            position += length
        if position != len(data) or len(sketch._counts) != count:
            _invalid("has more than its items, or one twice")
        return sketch

    def _add_all(self, counts: Iterable[tuple[str, int]]) -> None:
        own = self._counts
        for value, count in counts:
            own[value] = own.get(value, 0) + count

    def _reduce(self) -> None:
        """Where there are too many, take from all counts that of the first value that is not kept."""
        if len(self._counts) <= _CAPACITY:
            return
        excess = sorted(self._counts.values(), reverse=True)[_KEPT]
        self._counts = {value: count - excess for value, count in self._counts.items() if count > excess}
        self._offset += excess


def _most_frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _lg_table(items: int) -> int:
    """Return the lg of the size of the smallest table of which the items fill at most three quarters."""
    return max(_LG_MIN_SIZE, (-(-items * 4 // 3) - 1).bit_length())


def _invalid(what: str) -> NoReturn:
    msg = f"a sketch of frequent items {what}"
    raise ProfileError(msg)
