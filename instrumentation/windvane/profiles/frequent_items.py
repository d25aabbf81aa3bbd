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
_INTEGER_CAPACITY: Final = 2048
"""Of integers more are kept, of which each takes but 16 bytes; at most 768 values leave the sketch."""
_TWO_BYTES: Final = (1 << 16) - 1
_NO_INTEGERS: Final = np.empty(0, dtype=np.int64)

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

    __slots__ = ("_counts", "_integer_counts", "_integers", "_offset", "_weight")

    def __init__(self) -> None:
        """Begin without values."""
        self._counts: dict[str, int] = {}
        # Integers become texts when they are needed as such: sorted, with the count of each.
        self._integers = _NO_INTEGERS
        self._integer_counts = _NO_INTEGERS
        self._weight = 0
        self._offset = 0

    def update_texts(self, counts: Mapping[str, int]) -> None:
        """Add texts with their counts."""
        values = [value[:_MAX_TEXT].encode("utf-8", "replace").decode() for value in counts]
        _add_all(self._counts, zip(values, counts.values(), strict=True))
        self._weight += sum(counts.values())
        self._reduce()

    def update_integers(self, integers: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Add distinct integers in their order with their counts, both of shape (n,)."""
        self._weight += int(np.add.reduce(counts))
        if np.array_equal(integers, self._integers):
            self._integer_counts = self._integer_counts + counts
            return
        if self._integers.size:
            both = np.concatenate((self._integers, integers))
            order = np.argsort(both, kind="stable")  # merges what is sorted already
            both = both.take(order)
            starts = np.flatnonzero(np.concatenate(([True], both[1:] != both[:-1])))
            integers = both.take(starts)
            counts = np.add.reduceat(np.concatenate((self._integer_counts, counts)).take(order), starts)
        if integers.size > _INTEGER_CAPACITY:
            excess = _first_not_kept(counts)
            frequent = counts > excess
            integers, counts = integers[frequent], counts[frequent] - excess
            self._offset += excess
        self._integers, self._integer_counts = integers, counts

    def merge(self, other: FrequentItems) -> FrequentItems:
        """Return the counts of both sets of values."""
        merged = FrequentItems()
        merged._counts, merged._offset = self._table()
        counts, offset = other._table()
        _add_all(merged._counts, counts.items())
        merged._weight = self._weight + other._weight
        merged._offset += offset
        merged._reduce()
        return merged

    @property
    def n(self) -> int:
        """How many values were given, the most that any count can be."""
        return max(self._weight, self._table()[1])

    @property
    def items(self) -> list[FrequentItem]:
        """The values that surely are more frequent than any that is not listed, the most frequent first."""
        counts, offset = self._table()
        pairs = sorted(counts.items(), key=_most_frequent_first)
        return [FrequentItem(value, n + offset, n, n + offset) for value, n in pairs if n > offset]

    def to_bytes(self, minimum: int = 1) -> bytes:
        """Write the sketch as the library does.

        Args:
            minimum: an item that may have come less often is left out.
        """
        counts, offset = self._table()
        written = [(value, n) for value, n in sorted(counts.items(), key=_most_frequent_first) if n >= minimum]
        if not written:
            return _START.pack(1, 1, _FAMILY, _LG_MAX_SIZE, _LG_MIN_SIZE, _EMPTY)
        largest = max(_LG_MAX_SIZE, _lg_table(len(written)))
        values = [value.encode() for value, _ in written]
        return b"".join(
            (
                _START.pack(4, 1, _FAMILY, largest, _lg_table(len(written)), 0),
                _REST.pack(len(written), self._weight, offset),
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

    def _table(self) -> tuple[dict[str, int], int]:
        """Return all values as texts with their counts, at most 768, and the offset that this needs."""
        counts = dict(self._counts)
        _add_all(counts, zip(map(str, self._integers.tolist()), self._integer_counts.tolist(), strict=True))
        counts, excess = _reduced(counts)
        return counts, self._offset + excess

    def _reduce(self) -> None:
        self._counts, excess = _reduced(self._counts)
        self._offset += excess


def _add_all(counts: dict[str, int], more: Iterable[tuple[str, int]]) -> None:
    for value, count in more:
        counts[value] = counts.get(value, 0) + count


def _reduced(counts: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where there are too many, take from all counts that of the first value that is not kept, and return it too."""
    if len(counts) <= _CAPACITY:
        return counts, 0
    excess = sorted(counts.values(), reverse=True)[_KEPT]
    return {value: count - excess for value, count in counts.items() if count > excess}, excess


def _first_not_kept(counts: NDArray[np.int64]) -> int:
    """Return the 385th largest count."""
    # Two bytes are sorted by their digits; where most are equal, as rare values are, partition takes 20 times as long.
    found = int(np.sort(np.minimum(counts, _TWO_BYTES).astype(np.uint16), kind="stable")[-_KEPT - 1])
    return found if found < _TWO_BYTES else int(np.partition(counts, -_KEPT - 1)[-_KEPT - 1])


def _most_frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _lg_table(items: int) -> int:
    """Return the lg of the size of the smallest table of which the items fill at most three quarters."""
    return max(_LG_MIN_SIZE, (-(-items * 4 // 3) - 1).bit_length())


def _invalid(what: str) -> NoReturn:
    msg = f"a sketch of frequent items {what}"
    raise ProfileError(msg)
