"""The quantiles of a column: a KLL sketch of doubles.

Karnin, Lang, Liberty, "Optimal quantile approximation in streams" (2016), as Apache DataSketches has it:
https://datasketches.apache.org/docs/KLL/KLLSketch.html
"""

from __future__ import annotations

import math
import random
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from windvane.errors import ProfileError
from windvane.profiles._library import datasketches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Quantiles"]

_K: Final = 1024
"""whylogs' default."""
_MIN_K: Final = 8
_MAX_K: Final = 4096
"""Of what is read: the larger k is, the more memory a few bytes can ask for."""
_M: Final = 8
"""The smallest capacity of a level; the library knows no other."""
_MAX_LEVELS: Final = 60

_FAMILY: Final = 15
_EMPTY: Final = 1
_LEVEL_ZERO_SORTED: Final = 2
_SINGLE: Final = 4

_START: Final = struct.Struct("<BBBBHBx")
"""Ints of preamble, version, family, flags, k, m."""
_REST: Final = struct.Struct("<QHBx4x")
"""n, the smallest k of all that were merged, levels; and the 4 bytes that only whylogs' version has."""
_ITEMS: Final = 1024
_MIN_BLOCK: Final = 4 * _ITEMS
"""From so many values on, a block is compacted at once; fewer levels could not hold what remains of it."""
_BLOCK: Final = 16 * _ITEMS
"""The usual size of a block, which stays in the processor's cache."""
_PLACES: Final = (1 << 16) - 1
_SIGN: Final = np.int64(-(2**63))
_CROWD: Final = 32
"""So many values may have one place, though they differ."""

_WHYLOGS_PREAMBLE: Final = b"\6"
_LIBRARY_PREAMBLE: Final = b"\5"
_EXTRA: Final = slice(20, 24)


class Quantiles:
    """Quantiles with a normalised rank error of about 0.2 % (k = 1024), whatever the number of values.

    Infinities have their place in the order; NaN has none and must not be given.
    """

    __slots__ = ("_bytes", "_n", "_sketch")

    def __init__(self) -> None:
        """Begin without values."""
        self._sketch: Any = datasketches().kll_doubles_sketch(_K)
        self._bytes = b""
        self._n = 0

    def update(self, values: NDArray[np.float64]) -> None:
        """Add values, shape (n,), none of them NaN."""
        rest = 0
        while values.size - rest >= _MIN_BLOCK:
            stop = rest + _BLOCK if values.size - rest >= _BLOCK + _MIN_BLOCK else values.size
            levels = _levels(stop - rest)
            stop -= (stop - rest) % (1 << levels)
            self._merge_block(stop - rest, levels, *_compacted(values[rest:stop], levels))
            rest = stop
        if rest < values.size:
            self._n += values.size - rest
            # The library takes no array that cannot be written to, as Arrow's are.
            self._library_sketch().update(np.require(values[rest:], requirements=["C", "W"]))

    def update_repeated(self, values: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
        """Add distinct values in their order, each so often as counted; both of shape (n,), none of them NaN."""
        n = int(np.add.reduce(counts))
        levels = _levels(n) if n >= _MIN_BLOCK else 0
        if not levels:
            self.update(np.repeat(values, counts))
            return
        # What remains of a block is the same, whether the values stand there or are counted; the block may be larger.
        step = 1 << levels
        offset, rest = random.randrange(step), n % step  # noqa: S311 - nobody gains from guessing it
        ends = np.cumsum(counts)
        if rest:
            self.update(np.repeat(values, np.diff(np.maximum(ends, n - rest), prepend=n - rest)))
            np.minimum(ends, n - rest, out=ends)
        risen = np.diff((ends + (step - 1 - offset)) >> levels, prepend=0)
        self._merge_block(n - rest, levels, values[0], values[-1], np.repeat(values, risen))

    def merge(self, other: Quantiles) -> Quantiles:
        """Return the sketch of both sets of values."""
        merged = Quantiles()
        merged._sketch.merge(self._library_sketch())
        merged._sketch.merge(other._library_sketch())
        merged._n = self._n + other._n
        return merged

    @property
    def n(self) -> int:
        """How many values were given."""
        return self._n

    @property
    def minimum(self) -> float:
        """The smallest value, exactly; NaN where there is none."""
        return float(self._library_sketch().get_min_value()) if self._n else math.nan

    @property
    def maximum(self) -> float:
        """The largest value, exactly; NaN where there is none."""
        return float(self._library_sketch().get_max_value()) if self._n else math.nan

    def quantiles(self, ranks: Sequence[float]) -> list[float]:
        """Estimate the values at these ranks, each between 0 and 1; NaN where there is no value."""
        if not self._n:
            return [math.nan] * len(ranks)
        return [float(value) for value in self._library_sketch().get_quantiles(list(ranks))]

    def cdf(self, points: Sequence[float]) -> list[float]:
        """Estimate the share of values up to and including each of these increasing points; NaN without values."""
        if not self._n:
            return [math.nan] * len(points)
        return [float(share) for share in self._library_sketch().get_cdf(list(points), True)[:-1]]  # noqa: FBT003 - inclusive

    def to_bytes(self) -> bytes:
        """Write the sketch as whylogs does.

        whylogs has an older version of the library, whose header is an int longer where there are two values
        or more.
        """
        if self._sketch is None:
            return self._bytes
        written: bytes = self._sketch.serialize()
        if self._n <= 1:
            return written
        return _WHYLOGS_PREAMBLE + written[1 : _EXTRA.start] + bytes(4) + written[_EXTRA.start :]

    @classmethod
    def from_bytes(cls, data: bytes) -> Quantiles:
        """Read a sketch that whylogs or `to_bytes` wrote.

        The library believes what it reads. So everything is checked before it sees a byte, and it sees them
        only when the sketch is used, since it takes memory for the items that could still come.

        Raises:
            ProfileError: the bytes are no such sketch.
        """
        sketch = cls()
        sketch._n = _checked(data)
        sketch._sketch, sketch._bytes = None, data
        return sketch

    def _merge_block(self, n: int, levels: int, smallest: float, largest: float, items: NDArray[np.float64]) -> None:
        """Add n values of which sorted items remain, each of which stands for 2^levels."""
        starts = np.full(levels + 1, _capacity(_K, levels + 1) - items.size, dtype="<u4")
        sketch = b"".join(
            (
                _START.pack(_LIBRARY_PREAMBLE[0], 1, _FAMILY, 0, _K, _M),
                _REST.pack(n, _K, levels + 1)[: _EXTRA.start - _START.size],
                starts.tobytes(),
                struct.pack("<dd", smallest, largest),
                items.astype("<f8", copy=False).tobytes(),
            )
        )
        self._library_sketch().merge(datasketches().kll_doubles_sketch.deserialize(sketch))
        self._n += n

    def _library_sketch(self) -> Any:  # noqa: ANN401 - the library has no types
        if self._sketch is None:
            data = self._bytes
            if self._n > 1:
                data = _LIBRARY_PREAMBLE + data[1 : _EXTRA.start] + data[_EXTRA.stop :]
            self._sketch, self._bytes = datasketches().kll_doubles_sketch.deserialize(data), b""
        return self._sketch


def _levels(n: int) -> int:
    """Tell by how many levels a block of so many values rises, so that 1024 to 2047 items remain."""
    return (n // _ITEMS).bit_length() - 1


def _compacted(values: NDArray[np.float64], levels: int) -> tuple[float, float, NDArray[np.float64]]:
    """Compact a block at once.

    KLL's compaction sorts the items of a level and gives every second of them, from a random one of the first
    two on, to the next level, where it stands for two. Here every 2^levels-th goes up by so many levels: the
    rank of any value is wrong by less than 2^levels, and on average right. The library would compact in small
    steps, which adds up to more error and four times the time.

    Args:
        values: shape (n,), a multiple of 2^levels, of which 1024 to 2047 items remain.
        levels: by how many levels the items rise.

    Returns:
        The smallest and the largest value, and the items that remain, sorted.
    """
    step = 1 << levels
    smallest, largest = values.min(), values.max()
    offset = random.randrange(step)  # noqa: S311 - nobody gains from guessing it
    items = _every(step, offset, values, smallest, largest)
    items.sort()
    return smallest, largest, items


def _every(step: int, offset: int, values: NDArray[np.float64], smallest: float, largest: float) -> NDArray[np.float64]:
    """Return every so-many-th of the sorted values from an offset on, none further from its place than a few items.

    Two bytes are sorted by their digits, in a fifth of the time: the place of a value in the range, or, where
    some values lie far out, of its bits, whose upper ones are the exponent. Where too many different values
    share one place all the same, the values themselves are sorted.
    """
    for places_of in (_places_in_range, _places_of_bits):
        places = places_of(values, smallest, largest)
        if places is None:
            continue
        order = np.argsort(places, kind="stable")
        chosen = order[offset::step]
        shared = places.take(chosen)
        crowd = max(1, _CROWD // step)
        if not (shared[crowd:] == shared[:-crowd]).any():
            return values.take(chosen)
        ordered = values.take(order)
        if not (ordered[1:] < ordered[:-1]).any():  # only equal values share a place
            return ordered[offset::step]
    return np.sort(values)[offset::step]


def _places_in_range(values: NDArray[np.float64], smallest: float, largest: float) -> NDArray[np.uint16] | None:
    with np.errstate(all="ignore"):  # a range without end, or of one value, has no places
        scale = _PLACES / (largest - smallest)
    if not 0 < scale < math.inf:
        return None
    places = values - smallest
    places *= scale
    return places.astype(np.uint16)


def _places_of_bits(values: NDArray[np.float64], smallest: float, largest: float) -> NDArray[np.uint16]:
    least, greatest = (int(_ordered_bits(np.array([end]))[0]) for end in (smallest, largest))
    bits = _ordered_bits(values)
    bits -= np.uint64(least)
    bits >>= np.uint64(max(0, (greatest - least).bit_length() - 16))
    return bits.astype(np.uint16)


def _ordered_bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return integers in the order of the values: of negative ones all bits change, of others the sign."""
    bits = (values + 0.0).view(np.int64)  # so that -0.0 and 0.0 have the same
    return (bits ^ (bits >> 63 | _SIGN)).view(np.uint64)


def _checked(data: bytes) -> int:  # noqa: C901, PLR0912 - one branch for each way to be wrong
    """Tell how many values a sketch in whylogs' format stands for.

    Raises:
        ProfileError: the bytes are no such sketch.
    """
    if len(data) < _START.size:
        _invalid("is too short")
    preamble, version, family, flags, k, m = _START.unpack_from(data)
    if family != _FAMILY or m != _M or not _MIN_K <= k <= _MAX_K:
        _invalid(f"is of another kind (family {family}, k {k}, m {m})")
    if flags & _EMPTY:
        if (preamble, version, len(data)) != (2, 1, _START.size):
            _invalid("is not as empty as it says")
        return 0
    if flags & _SINGLE:
        if (preamble, version, len(data)) != (2, 2, _START.size + 8) or math.isnan(*struct.unpack_from("<d", data, 8)):
            _invalid("has no single value")
        return 1
    if (preamble, version) != (_WHYLOGS_PREAMBLE[0], 1) or len(data) < _START.size + _REST.size:
        _invalid("has an unknown header")
    n, smallest_k, levels = _REST.unpack_from(data, _START.size)
    if n <= 1 or not 1 <= levels <= _MAX_LEVELS or not _MIN_K <= smallest_k <= k:
        _invalid("has an impossible number of values or levels")
    position = _START.size + _REST.size
    if len(data) < position + 4 * levels:
        _invalid("is too short")
    starts = np.append(np.frombuffer(data, "<u4", levels, position).astype(np.int64), _capacity(k, levels))
    sizes = np.diff(starts)
    position += 4 * levels
    if sizes.min() < 0 or len(data) != position + 8 * (2 + int(sizes.sum())):
        _invalid("has levels that do not fit its length")
    if sum(size << level for level, size in enumerate(sizes.tolist())) != n:
        _invalid("has weights that do not add up")
    ends, items = np.split(np.frombuffer(data, "<f8", offset=position), [2])
    if np.isnan(ends).any() or np.isnan(items).any() or items.min() < ends[0] or items.max() > ends[1]:
        _invalid("has items beyond its range")
    sorted_levels = np.split(items, np.cumsum(sizes)[:-1])[0 if flags & _LEVEL_ZERO_SORTED else 1 :]
    if any((level[1:] < level[:-1]).any() for level in sorted_levels):
        _invalid("has a level out of order")
    number: int = n
    return number


@cache
def _capacity(k: int, levels: int) -> int:
    """Return how many items so many levels may hold."""
    return sum(_level_capacity(k, depth) for depth in range(levels))


def _level_capacity(k: int, depth: int) -> int:
    """Return how many items a level may hold that lies so far below the top: k * (2/3)^depth, at least m."""
    if depth > _MAX_LEVELS // 2:  # in two steps, as the library rounds it
        half = depth // 2
        return max(_M, _two_thirds(_two_thirds(k, half), depth - half))
    return max(_M, _two_thirds(k, depth))


def _two_thirds(k: int, depth: int) -> int:
    thirds: int = 3**depth
    return ((2 * k << depth) // thirds + 1) >> 1


def _invalid(what: str) -> NoReturn:
    msg = f"a KLL sketch {what}"
    raise ProfileError(msg)
