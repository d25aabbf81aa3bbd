"""Bytes that are no profile, or a damaged one, give one error, and ask for little memory."""

from __future__ import annotations

import functools
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windvane.profiles import DatasetProfile, ProfileError
from windvane.profiles._wire import bytes_field, varint, varint_field

if TYPE_CHECKING:
    from windvane.profiles.cardinality import Cardinality
    from windvane.profiles.frequent_items import FrequentItems
    from windvane.profiles.quantiles import Quantiles

SETTINGS = settings(max_examples=300, deadline=None)


@functools.cache
def profile() -> bytes:
    rng = np.random.default_rng(1)
    made = DatasetProfile(metadata={"ml.model.name": "m", "whylogs.tag.a": "b"})
    made.track(
        {
            "many": rng.normal(size=6000),
            "few": [1, 2, None, 3, 2],
            "texts": [f"t{i % 20}" for i in range(60)],
            "one": [0.5],
            "none": [None],
        }
    )
    return made.serialize()


@functools.cache
def sketches() -> dict[type[Quantiles | Cardinality | FrequentItems], list[bytes]]:
    columns = DatasetProfile.deserialize(profile()).columns.values()
    found: dict[type[Quantiles | Cardinality | FrequentItems], list[bytes]] = {}
    for column in columns:
        for sketch in (column.quantiles, column.cardinality, column.frequent_items):
            if sketch is not None:
                found.setdefault(type(sketch), []).append(sketch.to_bytes())
    return found


def read_and_use(data: bytes) -> None:
    """Read bytes; a profile that they turn out to be can be merged, shown and written."""
    try:
        merged = DatasetProfile.deserialize(data) + DatasetProfile.deserialize(profile())
    except ProfileError:
        return
    for column in merged.columns.values():
        if column.quantiles:
            column.quantiles.quantiles([0.5])
        if column.cardinality:
            _ = column.cardinality.estimate
    merged.track({name: [1.0, 2, "a"] for name in merged.columns})
    DatasetProfile.deserialize(merged.serialize())


@SETTINGS
@given(data=st.data())
def test_a_profile_with_changed_bytes_is_read_or_refused(data: st.DataObject) -> None:
    """Bits that flip anywhere, also where a length or a count stands, raise nothing but ProfileError."""
    damaged = bytearray(profile())
    # Most bytes are items of sketches; what decides stands at the heads.
    places = st.one_of(st.integers(0, len(damaged) - 1), st.integers(0, 900))
    for place, change in data.draw(st.lists(st.tuples(places, st.integers(1, 255)), min_size=1, max_size=5)):
        damaged[place] ^= change
    read_and_use(bytes(damaged))


@SETTINGS
@given(cut=st.one_of(st.integers(0, 1200), st.integers(0, 10**6)), gap=st.integers(1, 60))
def test_a_profile_that_ends_early_or_has_a_gap_is_read_or_refused(cut: int, gap: int) -> None:
    """Cut anywhere, it is refused; with a gap, it is refused or read."""
    whole = profile()
    cut %= len(whole)
    with pytest.raises(ProfileError):
        DatasetProfile.deserialize(whole[:cut])
    read_and_use(whole[:cut] + whole[cut + gap :])


@SETTINGS
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda rest: b"WHY1\0" + rest)))
def test_random_bytes_are_refused(data: bytes) -> None:
    """Any bytes are read or refused."""
    read_and_use(data)


@SETTINGS
@given(data=st.data())
def test_a_damaged_sketch_is_read_or_refused(data: st.DataObject) -> None:
    """Each sketch alone: changed, cut or prolonged anywhere, it is refused before the library sees it, or usable."""
    kind = data.draw(st.sampled_from(list(sketches())))
    damaged = bytearray(data.draw(st.sampled_from(sketches()[kind])))
    for place, change in data.draw(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)):
        if place < len(damaged):
            damaged[place] = change
    cut = data.draw(st.one_of(st.just(0), st.integers(-8, 8)))
    damaged = damaged[:cut] if cut < 0 else damaged + bytes(cut)
    try:
        sketch = kind.from_bytes(bytes(damaged))
    except ProfileError:
        return
    sketch.merge(kind()).to_bytes()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"WHY",
        b"WHY2" + b"\0" * 20,
        b"WHY1",
        b"WHY1\0",
        b"WHY1\0\0",
        b"WHY1\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"PAR1" + b"\0" * 100,
        b"\x1f\x8b" + b"\0" * 100,
    ],
)
def test_foreign_bytes_are_refused(data: bytes) -> None:
    """What is no profile is told to be none."""
    with pytest.raises(ProfileError):
        DatasetProfile.deserialize(data)


def header_of(columns: bytes, chunks: bytes) -> bytes:
    header = bytes_field(1, varint_field(4, 1) + varint_field(5, 1)) + columns
    return b"WHY1\0" + varint(len(header)) + header + chunks


def test_columns_that_share_bytes_are_refused() -> None:
    """Ten thousand names of one chunk would make a large profile of a small file."""
    chunk = bytes_field(1, varint_field(1, 0) + bytes_field(2, varint_field(2, 1)))
    chunks = varint(4) + varint_field(1, 2) + varint_field(3, len(chunk)) + chunk
    column = b"".join(
        bytes_field(2, bytes_field(1, b"c%d" % i) + bytes_field(2, bytes_field(1, b"\0"))) for i in range(1000)
    )
    with pytest.raises(ProfileError, match="overlap"):
        DatasetProfile.deserialize(
            header_of(column + bytes_field(5, varint_field(1, 0) + bytes_field(2, b"counts/n")), chunks)
        )


def test_more_columns_than_allowed_are_refused() -> None:
    """A header with more names than a profile may have is refused."""
    columns = b"".join(bytes_field(2, bytes_field(1, b"c%d" % i)) for i in range(10_001))
    with pytest.raises(ProfileError, match="10000"):
        DatasetProfile.deserialize(header_of(columns, b""))


def test_reading_asks_for_no_more_memory_than_a_few_times_the_bytes() -> None:
    """Neither a whole profile nor one whose lengths lie takes much memory."""
    whole = profile()
    lies = header_of(bytes_field(2, bytes_field(1, b"x") + bytes_field(2, bytes_field(1, b"\0"))), b"\xff\xff\xff\x7f")
    DatasetProfile.deserialize(whole)  # imports
    for data in (whole, lies):
        tracemalloc.start()
        read_and_use(data) if data is lies else DatasetProfile.deserialize(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 * len(whole)


def test_counts_that_cannot_be_are_refused() -> None:
    """A column with more nulls than values, or more values than anything has, is refused."""
    path = b"counts/n", b"counts/null"
    for n, nulls in ((1, 2), (2**49, 0), (-1, 0)):
        components = enumerate((n, nulls))
        chunk = b"".join(
            bytes_field(1, varint_field(1, i) + bytes_field(2, varint_field(2, count))) for i, count in components
        )
        header = varint_field(1, 2) + varint_field(3, len(chunk))
        columns = bytes_field(2, bytes_field(1, b"x") + bytes_field(2, bytes_field(1, b"\0")))
        paths = b"".join(bytes_field(5, varint_field(1, i) + bytes_field(2, name)) for i, name in enumerate(path))
        with pytest.raises(ProfileError):
            DatasetProfile.deserialize(header_of(columns + paths, varint(len(header)) + header + chunk))
