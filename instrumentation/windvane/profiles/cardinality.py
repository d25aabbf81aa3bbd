"""How many distinct values a column has: a HyperLogLog sketch.

Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007), with the estimator of historic inverse probability
of Ting, "Streamed approximate counting of distinct elements" (2014), as Apache DataSketches has them:
https://datasketches.apache.org/docs/HLL/HllSketches.html
"""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from windvane.errors import ProfileError
from windvane.profiles._library import datasketches
from windvane.profiles._murmur3 import ADDRESS_BITS, VALUE_BITS, coupons, coupons_of_texts, hash_numbers, ranks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Cardinality"]

_LG_K: Final = 12
"""whylogs' default: 4096 registers."""
_MIN_LG_K: Final = 8
"""Smaller sketches have no set of coupons."""
_MAX_LG_K: Final = 16

_FAMILY: Final = 7
_EMPTY: Final = 4
_COMPACT: Final = 8
_OUT_OF_ORDER: Final = 16
_LIST, _SET, _REGISTERS = range(3)
_MAX_LIST: Final = 8
"""As many coupons are a set and no list any more."""
_HLL_4: Final = 0
_HLL_8: Final = 2
_MAX_VALUE: Final = 63
_LG_SET: Final = 5
_LG_EXCEPTIONS: Final = {8: 3, 9: 3, 10: 4, 11: 4, 12: 5, 13: 5, 14: 6, 15: 7, 16: 8}
"""With how large tables the library begins, as lg: for coupons, and for exceptions by lg k."""

_START: Final = struct.Struct("<BBBBBBBB")
"""Ints of preamble, version, family, lg k, lg of a table's size, flags, list's length or offset, mode and type."""
_REST: Final = struct.Struct("<dddII")
"""Accumulated estimate, sum of 2^-register below 32 and above, registers at the offset, exceptions."""

_LIMITS: Final = np.uint64(2**64 - 1) >> np.arange(64, dtype=np.uint64)
"""By register: the largest second half of a hash that raises it."""
_NO_NUMBERS: Final = np.empty(0, dtype=np.int64)
_BATCH: Final = 16_384
"""Values looked at together, so that they stay in the processor's cache; their places fit two bytes."""
_HEAD: Final = 512
_MAX_LATEST: Final = 2048
_INVERSE_POWERS: Final = np.ldexp(1.0, -np.arange(64))


class Cardinality:
    """The number of distinct values within 1.6 % (one standard deviation, 4096 registers).

    The first 384 distinct values are kept apart, as coupons; then each register keeps the largest value of
    its coupons. The state and its estimate are those of the library fed one value at a time, in the same
    order; in numpy, a column is hashed whole and only what raises a register is looked at.
    """

    __slots__ = (
        "_accumulated",
        "_coupons",
        "_inverse_sum",
        "_latest",
        "_lg_k",
        "_limits",
        "_out_of_order",
        "_registers",
    )

    def __init__(self) -> None:
        """Begin without values."""
        self._lg_k = _LG_K
        self._coupons: set[int] = set()
        self._registers: NDArray[np.uint8] | None = None
        self._limits: NDArray[np.uint64] | None = None  # the largest second half of a hash that raises a register
        self._latest = _NO_NUMBERS  # distinct ones that have been added
        self._accumulated = 0.0
        self._inverse_sum: float | None = None  # of 2^-register
        self._out_of_order = False

    def update_numbers(self, numbers: NDArray[np.int64] | NDArray[np.float64]) -> None:
        """Add numbers, shape (n,), without NaN; 1 and 1.0 are two values, as whylogs has it."""
        for start in range(0, numbers.size, _BATCH):
            self._add_hashes(*hash_numbers(numbers[start : start + _BATCH]))

    def update_repeated(self, numbers: NDArray[np.int64], distinct: NDArray[np.int64]) -> None:
        """Add numbers of which each distinct one is known.

        A value that came before changes nothing, so that only the first of each is looked at; all of them
        where nothing depends on their order.

        Args:
            numbers: shape (n,).
            distinct: the distinct ones among them in their order, shape (m,).
        """
        if np.array_equal(distinct, self._latest):
            return
        if distinct.size > _BATCH or 2 * distinct.size > numbers.size:
            self.update_numbers(numbers)
            return
        first, second = hash_numbers(distinct)
        if self._registers is None:
            if len(self._coupons) + distinct.size <= _max_coupons(self._lg_k):
                self._update(coupons(first, second))
            else:
                order = np.argsort(_first_places(numbers, distinct), kind="stable")
                self._add_hashes(first.take(order), second.take(order))
        else:
            rising = self._rising(self._registers, first, second)
            if rising.size:
                rising = rising.take(np.argsort(_first_places(numbers, distinct.take(rising)), kind="stable"))
                new = ranks(first.take(rising), second.take(rising), self._registers.size)
                self._raise_registers(self._registers, new)
        if distinct.size <= _MAX_LATEST:
            self._latest = distinct

    def update_texts(self, texts: Iterable[str]) -> None:
        """Add texts; the empty one is no value, as the library has it."""
        encoded = [text.encode("utf-8", "replace") for text in texts if text]
        if encoded:
            self._update(coupons_of_texts(encoded))

    def merge(self, other: Cardinality) -> Cardinality:
        """Return the sketch of both sets of values."""
        library = datasketches()
        union = library.hll_union(max(self._lg_k, other._lg_k))
        for sketch in (self, other):
            union.update(library.hll_sketch.deserialize(sketch.to_bytes()))
        return Cardinality.from_bytes(union.get_result(library.tgt_hll_type.HLL_8).serialize_compact())

    @property
    def estimate(self) -> float:
        """The estimated number of distinct values."""
        return float(self._library_sketch().get_estimate())

    def bounds(self, deviations: int = 1) -> tuple[float, float]:
        """Return the bounds of the estimate, so many standard deviations away: 1, 2 or 3."""
        sketch = self._library_sketch()
        return float(sketch.get_lower_bound(deviations)), float(sketch.get_upper_bound(deviations))

    def to_bytes(self) -> bytes:
        """Write the sketch as the library does, compact, with registers of 4 bits."""
        registers = self._registers
        if registers is None:
            return self._coupons_to_bytes()
        offset = int(registers.min())
        above = registers - np.uint8(offset)
        exceptions = np.flatnonzero(above >= 15).astype(np.uint32)  # noqa: PLR2004 - 4 bits
        nibbles = np.minimum(above, 15)
        small = registers < 32  # noqa: PLR2004 - 2^-32 and less have a sum of their own, to lose no bit
        flags = _COMPACT | (_OUT_OF_ORDER if self._out_of_order else 0)
        table = _lg_table(exceptions.size, _LG_EXCEPTIONS[self._lg_k]) if exceptions.size else 0
        return b"".join(
            (
                _START.pack(10, 1, _FAMILY, self._lg_k, table, flags, offset, _REGISTERS | _HLL_4 << 2),
                _REST.pack(
                    self._accumulated,
                    _INVERSE_POWERS[registers[small]].sum(),
                    _INVERSE_POWERS[registers[~small]].sum(),
                    int(np.count_nonzero(above == 0)),
                    exceptions.size,
                ),
                (nibbles[::2] | nibbles[1::2] << 4).tobytes(),
                (exceptions | registers[exceptions].astype(np.uint32) << ADDRESS_BITS).astype("<u4").tobytes(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Cardinality:
        """Read a compact sketch with registers of 4 or 8 bits.

        Raises:
            ProfileError: the bytes are no such sketch.
        """
        if len(data) < _START.size:
            _invalid("is too short")
        _, version, family, lg_k, _, flags, small, mode = _START.unpack_from(data)
        if version != 1 or family != _FAMILY or not _MIN_LG_K <= lg_k <= _MAX_LG_K:
            _invalid(f"is of another kind (version {version}, family {family}, lg k {lg_k})")
        if not flags & (_COMPACT | _EMPTY):
            _invalid("is not compact")
        sketch = cls()
        sketch._lg_k = lg_k
        sketch._out_of_order = bool(flags & _OUT_OF_ORDER)
        if mode & 3 == _REGISTERS:
            sketch._read_registers(data, small, mode >> 2 & 3)
            return sketch
        if flags & _EMPTY:
            count, position = 0, _START.size
        elif mode & 3 == _LIST:
            count, position = small, _START.size
        elif mode & 3 == _SET and len(data) >= _START.size + 4:
            count, position = int.from_bytes(data[_START.size : _START.size + 4], "little"), _START.size + 4
        else:
            _invalid("has an unknown mode")
        if count > _max_coupons(lg_k) or len(data) != position + 4 * count:
            _invalid("has coupons that do not fit its length")
        found = np.frombuffer(data, "<u4", count, position)
        sketch._coupons = set(found.tolist())
        if len(sketch._coupons) != count or (found >> ADDRESS_BITS == 0).any():
            _invalid("has coupons that cannot be")
        return sketch

    def _add_hashes(self, first: NDArray[np.uint64], second: NDArray[np.uint64]) -> None:
        """Add both halves of hashes, each of shape (n,), in the order in which their values came."""
        size = first.size
        if self._registers is None:
            self._update(coupons(first[:_HEAD], second[:_HEAD]))
            first, second = first[_HEAD:], second[_HEAD:]
            if self._registers is None:
                self._update(coupons(first, second))
                return
            size = self._registers.size // 2
        # At first a few: most values raise a register that later ones would have to be compared with.
        while first.size:
            rising = self._rising(self._registers, first[:size], second[:size])
            if rising.size:
                new = ranks(first.take(rising), second.take(rising), self._registers.size)
                self._raise_registers(self._registers, new)
            first, second = first[size:], second[size:]
            size *= 2

    def _rising(
        self, registers: NDArray[np.uint8], first: NDArray[np.uint64], second: NDArray[np.uint64]
    ) -> NDArray[np.intp]:
        """Return the places of the hashes that raise a register as it is now."""
        if self._limits is None:
            self._limits = _LIMITS.take(registers)
        slots = (first & np.uint64(registers.size - 1)).view(np.int64)
        return (second <= self._limits.take(slots)).nonzero()[0]

    def _update(self, new: NDArray[np.uint32]) -> None:
        """Add coupons in the order in which their values came."""
        capacity = _max_coupons(self._lg_k)
        while self._registers is None and new.size:
            # A few at a time, and of the rest no known ones, save for those that share a slot of the table:
            # of a large column, most comes when the registers are there already, or is known.
            head, new, kept = new[:_HEAD], new[_HEAD:], self._coupons
            for i, coupon in enumerate(head.tolist()):
                kept.add(coupon)
                if len(kept) > capacity:
                    self._promote()
                    new = np.concatenate((head[i + 1 :], new))
                    break
            else:
                if new.size:
                    known = np.zeros(1 << self._lg_k, dtype=np.uint32)
                    coupons_now = self._sorted_coupons()
                    known[coupons_now & np.uint32(known.size - 1)] = coupons_now
                    new = new[known[new & np.uint32(known.size - 1)] != new]
        registers = self._registers
        if registers is not None:
            for start in range(0, new.size, _BATCH):
                part = new[start : start + _BATCH]
                slots, values = (part & np.uint32(registers.size - 1)).astype(np.int32), part >> ADDRESS_BITS
                rising = values > registers.take(slots)
                if rising.any():
                    self._raise_registers(registers, (slots << VALUE_BITS | values.astype(np.int32))[rising])

    def _sorted_coupons(self) -> NDArray[np.uint32]:
        result = np.fromiter(self._coupons, dtype=np.uint32, count=len(self._coupons))
        result.sort()
        return result

    def _promote(self) -> None:
        """Make registers of the coupons."""
        registers = np.zeros(1 << self._lg_k, dtype=np.uint8)
        by_value = self._sorted_coupons()  # of those of one register, the last and largest stays
        registers[by_value & np.uint32(registers.size - 1)] = by_value >> ADDRESS_BITS
        self._registers, self._coupons = registers, set()
        self._accumulated = _estimate_at_promotion(self._lg_k)

    def _raise_registers(self, registers: NDArray[np.uint8], ranks: NDArray[np.int32]) -> None:
        """Find the values that raise a register when they come, and let each add to the estimate.

        Each adds the inverse of the probability that a new value would raise any register, which is the sum
        of 2^-register over their number.

        Args:
            registers: those of this sketch.
            ranks: of at most 65,536 values in the order in which they came, each above its register as it is now.
        """
        # By register, and in each by the order in which they came; a later register outweighs any value.
        order = np.argsort((ranks >> VALUE_BITS).astype(np.uint16), kind="stable")  # sorted by their digits
        ranks = ranks.take(order)
        is_record = np.ones(ranks.size, dtype=np.bool_)
        np.greater(ranks[1:], np.maximum.accumulate(ranks)[:-1], out=is_record[1:])
        records = is_record.nonzero()[0]
        ranks, order = ranks.take(records), order.take(records)
        slots, values = ranks >> VALUE_BITS, ranks & _MAX_VALUE
        if not self._out_of_order:
            before = registers.take(slots).astype(np.int32)
            np.copyto(before[1:], values[:-1], where=slots[1:] == slots[:-1])
            if self._inverse_sum is None:
                self._inverse_sum = float(_INVERSE_POWERS.take(registers).sum())
            sums = np.empty(order.size + 1)
            sums[0] = self._inverse_sum
            changes = _INVERSE_POWERS.take(values) - _INVERSE_POWERS.take(before)
            changes.take(np.argsort(order.astype(np.uint16), kind="stable"), out=sums[1:])
            # Both sums add one after the other, as the library does; sum would add in pairs.
            np.add.accumulate(sums, out=sums)
            self._inverse_sum = float(sums[-1])
            np.divide(registers.size, sums[:-1], out=sums[1:])
            sums[0] = self._accumulated
            self._accumulated = float(np.add.accumulate(sums)[-1])
        registers[slots] = values  # of those of one register, the last and largest stays
        if self._limits is not None:
            self._limits[slots] = _LIMITS.take(values)

    def _coupons_to_bytes(self) -> bytes:
        count = len(self._coupons)
        flags = _COMPACT | (_EMPTY if not count else 0) | (_OUT_OF_ORDER if self._out_of_order else 0)
        content = self._sorted_coupons().astype("<u4").tobytes()
        if count < _MAX_LIST:
            return _START.pack(2, 1, _FAMILY, self._lg_k, 3, flags, count, _LIST | _HLL_4 << 2) + content
        start = _START.pack(3, 1, _FAMILY, self._lg_k, _lg_table(count, _LG_SET), flags, 0, _SET | _HLL_4 << 2)
        return start + struct.pack("<I", count) + content

    def _read_registers(self, data: bytes, offset: int, kind: int) -> None:
        if len(data) < _START.size + _REST.size:
            _invalid("is too short")
        accumulated, _, _, _, exceptions = _REST.unpack_from(data, _START.size)
        count = 1 << self._lg_k
        size = {_HLL_4: count // 2, _HLL_8: count}.get(kind)
        position = _START.size + _REST.size
        if size is None or len(data) != position + size + 4 * exceptions or not 0 <= accumulated < math.inf:
            _invalid("has registers that do not fit its length")
        packed = np.frombuffer(data, np.uint8, size, position)
        if kind == _HLL_8:
            registers = packed.copy()
        else:
            registers = np.empty(count, dtype=np.uint8)
            registers[::2], registers[1::2] = packed & 15, packed >> 4
            special = registers == 15  # noqa: PLR2004 - 4 bits
            registers += np.uint8(min(offset, _MAX_VALUE))
            pairs = np.frombuffer(data, "<u4", exceptions, position + size)
            slots = (pairs & np.uint32((1 << ADDRESS_BITS) - 1)).astype(np.int64)
            if not np.array_equal(np.sort(slots), np.flatnonzero(special)):
                _invalid("has other exceptions than registers that need them")
            registers[slots] = pairs >> ADDRESS_BITS
        if registers.max() > _MAX_VALUE:
            _invalid("has a register that is too large")
        self._registers, self._accumulated = registers, accumulated

    def _library_sketch(self) -> Any:  # noqa: ANN401 - the library has no types
        return datasketches().hll_sketch.deserialize(self.to_bytes())


def _max_coupons(lg_k: int) -> int:
    """Return how many coupons are kept: three quarters of a table with an eighth of the registers' number."""
    return 3 << lg_k - 5


def _lg_table(entries: int, least: int) -> int:
    """Return the lg of the size of the library's hash table, which is filled up to three quarters."""
    return max(least, (-(-entries * 4 // 3) - 1).bit_length())


@cache
def _estimate_at_promotion(lg_k: int) -> float:
    """Ask the library for its estimate when the first registers are made, which depends on their number only."""
    sketch = datasketches().hll_sketch(lg_k)
    number = 0
    while True:
        sketch.update(number)
        number += 1
        if number > _max_coupons(lg_k):
            written = sketch.serialize_compact()
            if written[7] & 3 == _REGISTERS:
                return float(_REST.unpack_from(written, _START.size)[0])


def _first_places(numbers: NDArray[np.int64], distinct: NDArray[np.int64]) -> NDArray[np.intp]:
    """Tell where each of some distinct numbers in their order stands first; each of them is there."""
    least, greatest = int(distinct[0]), int(distinct[-1])
    places = np.flatnonzero((numbers >= least) & (numbers <= greatest))[::-1]
    numbers = numbers.take(places)
    # Of places that are written to one slot the last, which is the first of the number, stays.
    if greatest - least < 4 * numbers.size:
        first = np.zeros(greatest - least + 1, dtype=np.intp)
        first[numbers - least] = places
        return first.take(distinct - least)
    slots = np.searchsorted(distinct, numbers)
    known = distinct.take(slots) == numbers
    first = np.zeros(distinct.size, dtype=np.intp)
    first[slots[known]] = places[known]
    return first


def _invalid(what: str) -> NoReturn:
    msg = f"a HyperLogLog sketch {what}"
    raise ProfileError(msg)
