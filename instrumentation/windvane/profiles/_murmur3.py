"""MurmurHash3 of many values at once, and what a HyperLogLog sketch keeps of each hash.

Austin Appleby's MurmurHash3_x64_128 (public domain) with the seed of Apache DataSketches. A number is hashed
as its 8 bytes: a 64-bit integer, or a double whose zero has no sign; a text as its UTF-8.

A coupon is what a sketch keeps of a value: 26 bits of the first half of the hash, the address, of which the
low ones number a register, and above it 1 more than the leading zeros of the second half, at most 63.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from windvane.profiles._library import datasketches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["ADDRESS_BITS", "VALUE_BITS", "coupons", "coupons_of_texts", "hash_numbers", "ranks"]

ADDRESS_BITS: Final = 26
VALUE_BITS: Final = 6

Words: TypeAlias = "NDArray[np.uint64]"

_SEED: Final = np.uint64(9001)
_C1: Final = np.uint64(0x87C37B91114253D5)
_C2: Final = np.uint64(0x4CF5AD432745937F)
_MIX1: Final = np.uint64(0xFF51AFD7ED558CCD)
_MIX2: Final = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT: Final = np.uint64(33)
_ADDRESS: Final = np.uint64((1 << ADDRESS_BITS) - 1)
_START_OF_NUMBER: Final = _SEED ^ np.uint64(8)
"""Of either half: the seed and the length."""
_MAX_LEADING_ZEROS: Final = 62
_HALF: Final = np.uint64(32)
_MANTISSA_BITS: Final = 52
_EXPONENT_OF_32_BITS: Final = 1023 + 31
_LONG_TEXT: Final = 512
_BLOCK: Final = 16


def hash_numbers(numbers: NDArray[np.int64] | NDArray[np.float64]) -> tuple[Words, Words]:
    """Hash numbers.

    Args:
        numbers: shape (n,), without NaN.

    Returns:
        Both halves of the hashes, each of shape (n,).
    """
    words = (numbers + 0.0 if numbers.dtype.kind == "f" else numbers).view(np.uint64)  # -0.0 + 0.0 is 0.0
    # Each step writes where the last one did: memory that is asked for anew costs as much as the arithmetic.
    both = np.empty((2, words.size), dtype=np.uint64)
    first, second = both
    np.multiply(words, _C1, out=first)
    np.right_shift(first, np.uint64(33), out=second)
    first <<= np.uint64(31)
    first |= second
    first *= _C2
    first ^= _START_OF_NUMBER
    first += _START_OF_NUMBER
    np.add(first, _START_OF_NUMBER, out=second)
    _mix(both)
    first += second
    second += first
    return first, second


def coupons(first: Words, second: Words) -> NDArray[np.uint32]:
    """Make coupons of both halves of hashes, each of shape (n,)."""
    values = _values(second).astype(np.uint32)
    result: NDArray[np.uint32] = (first & _ADDRESS).astype(np.uint32) | (values << np.uint32(ADDRESS_BITS))
    return result


def ranks(first: Words, second: Words, registers: int) -> NDArray[np.int32]:
    """Make of both halves of hashes, each of shape (n,), the number of the register * 64 + the coupon's value."""
    slots = (first & np.uint64(registers - 1)).astype(np.int32)
    slots <<= VALUE_BITS
    slots |= _values(second)
    return slots


def _values(second: Words) -> NDArray[np.int32]:
    """Return 1 more than the leading zeros of second halves."""
    # The exponent of a double tells the number of bits of an integer; 32 of them are exact in a double.
    exponents = ((second >> _HALF).astype(np.float64).view(np.int64) >> _MANTISSA_BITS).astype(np.int32)
    values = _EXPONENT_OF_32_BITS + 1 - exponents
    for i in (exponents == 0).nonzero()[0].tolist():  # the upper half is 0
        values[i] = min(64 - int(second[i]).bit_length(), _MAX_LEADING_ZEROS) + 1
    return values


def coupons_of_texts(texts: Sequence[bytes]) -> NDArray[np.uint32]:
    """Make coupons of texts in UTF-8, none of them empty."""
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    result = np.empty(len(texts), dtype=np.uint32)
    short = np.flatnonzero(lengths <= _LONG_TEXT)
    if short.size:
        chosen = texts if short.size == len(texts) else [texts[i] for i in short.tolist()]
        result[short] = coupons(*_hash_texts(chosen, lengths[short]))
    for i in np.flatnonzero(lengths > _LONG_TEXT).tolist():
        result[i] = _coupon_of_long_text(texts[i])
    return result


def _hash_texts(texts: Sequence[bytes], lengths: NDArray[np.int64]) -> tuple[Words, Words]:
    # Zeros up to the end of the block after the last whole one, which they do not change.
    blocks = lengths // _BLOCK
    padded = b"".join([text.ljust((len(text) // _BLOCK + 1) * _BLOCK, b"\0") for text in texts])
    words = np.frombuffer(padded, dtype="<u8").astype(np.uint64, copy=False)
    starts = np.zeros(len(texts), dtype=np.int64)
    np.cumsum(blocks[:-1] + 1, out=starts[1:])
    starts *= 2
    order = np.argsort(-blocks, kind="stable")  # so that the texts with another block always are the first
    starts, remaining = starts[order], blocks[order]
    first, second = np.full(len(texts), _SEED), np.full(len(texts), _SEED)
    for block in range(int(remaining[0])):
        still = int(np.searchsorted(-remaining, -block))  # those with more whole blocks than this
        at, a, b = starts[:still] + 2 * block, first[:still], second[:still]
        a ^= _scrambled(words[at], _C1, 31, _C2)
        _rotate(a, 27)
        a += b
        a *= np.uint64(5)
        a += np.uint64(0x52DCE729)
        b ^= _scrambled(words[at + 1], _C2, 33, _C1)
        _rotate(b, 31)
        b += a
        b *= np.uint64(5)
        b += np.uint64(0x38495AB5)
    tail = starts + 2 * remaining
    second ^= _scrambled(words[tail + 1], _C2, 33, _C1)
    first ^= _scrambled(words[tail], _C1, 31, _C2)
    length = lengths[order].astype(np.uint64)
    first ^= length
    second ^= length
    first, second = _finished(first, second)
    back = np.empty_like(order)
    back[order] = np.arange(order.size)
    return first[back], second[back]


def _coupon_of_long_text(text: bytes) -> int:
    """Let the library hash a text that would take numpy too many steps; a sketch of one value is its coupon."""
    sketch: Any = datasketches().hll_sketch(12)
    sketch.update(text.decode())
    return int.from_bytes(sketch.serialize_compact()[8:12], "little")


def _scrambled(words: Words, factor: np.uint64, turn: int, other: np.uint64) -> Words:
    result = words * factor
    _rotate(result, turn)
    result *= other
    return result


def _rotate(words: Words, turn: int) -> None:
    low = words >> np.uint64(64 - turn)
    words <<= np.uint64(turn)
    words |= low


def _finished(first: Words, second: Words) -> tuple[Words, Words]:
    first += second
    second += first
    _mix(first)
    _mix(second)
    first += second
    second += first
    return first, second


def _mix(words: Words) -> None:
    shifted = words >> _SHIFT
    words ^= shifted
    words *= _MIX1
    np.right_shift(words, _SHIFT, out=shifted)
    words ^= shifted
    words *= _MIX2
    np.right_shift(words, _SHIFT, out=shifted)
    words ^= shifted
