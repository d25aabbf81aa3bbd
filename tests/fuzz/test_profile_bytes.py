"""Damaged profiles: whatever bytes come, they are read or refused with ProfileError, in bounded time and memory.

As a test a short run with a fixed seed. By hand a long one, which stops at the first failure and writes its input:

    python tests/fuzz/test_profile_bytes.py --seconds 600
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import random
import resource
import struct
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1]))  # what tests share, also where this is run by hand

from whylogs_reference import HAS_WHEEL, Whylogs

from windvane.profiles import DatasetProfile, ProfileError
from windvane.profiles._wire import bytes_field, fields, fixed64_field, varint, varint_field, varint_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SECONDS: Final = 1.0
MEGABYTES: Final = 50
"""What reading a megabyte may take at most."""
SHORT_RUN: Final = 600
USED_COLUMNS: Final = 6
"""As many columns of what could be read are merged, asked and written."""

NUMBERS: Final = (0, 1, 2, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**53)
NUMBERS_64: Final = (*NUMBERS, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DOUBLES: Final = (0.0, -0.0, 1.0, 5e-324, 1.8e308, float("inf"), float("-inf"), float("nan"), -1e300)


@dataclass
class Parts:
    """A profile taken apart, so that what is changed inside arrives there: lengths and offsets fit again.

    Attributes:
        properties: the message of times and metadata.
        paths: names of components by number.
        columns: for each, its name and the entries of its chunk: number and component.
    """

    properties: bytes
    paths: list[tuple[int, bytes]]
    columns: list[tuple[bytes, list[tuple[int, bytes]]]]

    @classmethod
    def of(cls, data: bytes) -> Parts:
        length, position = varint_from(data, 4)
        length, position = varint_from(data, position + length)
        header, start = data[position : position + length], position + length
        parts = cls(b"", [], [])
        for number, value in fields(header, most=20_000):
            if number == 1:
                parts.properties = _bytes(value)
            elif number == 2:
                entry = dict(fields(_bytes(value)))
                at = start + varint_from(_bytes(dict(fields(_bytes(entry[2])))[1]), 0)[0]
                length, at = varint_from(data, at)
                size = dict(fields(data[at : at + length]))[3]
                assert isinstance(size, int)
                chunk = data[at + length : at + length + size]
                parts.columns.append((_bytes(entry.get(1, b"")), [_indexed(each) for _, each in fields(chunk)]))
            elif number == 5:
                parts.paths.append(_indexed(value))
        return parts

    def build(self) -> bytes:
        chunks, offsets, position = [], [], 0
        for name, components in self.columns:
            chunk = b"".join(bytes_field(1, varint_field(1, i) + bytes_field(2, each)) for i, each in components)
            header = varint_field(1, 2) + varint_field(3, len(chunk))
            chunks.append(varint(len(header)) + header + chunk)
            offsets.append(bytes_field(2, bytes_field(1, name) + bytes_field(2, bytes_field(1, varint(position)))))
            position += len(chunks[-1])
        named = [bytes_field(5, varint_field(1, i) + bytes_field(2, path)) for i, path in self.paths]
        header = b"".join((bytes_field(1, self.properties), *offsets, *named))
        return b"".join((b"WHY1\0", varint(len(header)), header, *chunks))


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def _indexed(value: object) -> tuple[int, bytes]:
    entry = dict(fields(_bytes(value)))
    number = entry.get(1, 0)
    assert isinstance(number, int)
    return number, _bytes(entry.get(2, b""))


def frames() -> Iterable[dict[str, object]]:
    """Columns of all sorts and sizes, that fill each sketch to each of its forms."""
    rng = np.random.default_rng(7)
    yield {}
    yield {"empty": [], "null": [None], "one": [0.5], "two": [1, 2], "object": [b"a", {}], "true": [True]}
    yield {
        "normal": rng.normal(size=20_000),
        "special": np.where(rng.random(5000) < 0.1, np.nan, np.where(rng.random(5000) < 0.1, np.inf, -1.0)),
        "ids": rng.integers(-(2**62), 2**62, 6000),
        "codes": rng.integers(0, 900, 6000),
        "texts": [f"é{n}" * (n % 9) for n in rng.integers(0, 2000, 5000).tolist()],
        "anything": [1, 2.5, True, "a", None, [1], 2**70, b"x"] * 40,
        "coupons": rng.normal(size=300),
        "list": [1.0, 2.0, 3.0],
    }
    yield {f"c{i}": [i, None, f"{i}"] for i in range(60)}


@functools.cache
def corpus() -> tuple[bytes, ...]:
    """Sound profiles: ours of each frame, merged ones, one with sketches of other sizes, and whylogs' own."""
    metadata = {"ml.model.name": "m", "whylogs.tag.a": "b", "é": ""}
    made = []
    for frame in frames():
        profile = DatasetProfile(metadata=metadata)
        profile.track(frame)
        made.append(profile)
    files = [profile.serialize() for profile in made]
    files += [(made[2] + made[2]).serialize(), other_sizes()]
    if HAS_WHEEL:
        whylogs = Whylogs()
        try:
            for frame in list(frames())[1:]:
                batch = {
                    name: (values, "object" if isinstance(values, list) else None)
                    for name, values in frame.items()
                    if name != "anything"  # where whylogs fails itself
                }
                files.append(whylogs.profile_of_frames([batch]))
        finally:
            whylogs.close()
    for data in files:
        DatasetProfile.deserialize(data)
    return tuple(files)


def other_sizes() -> bytes:
    """Sketches that are larger and smaller than whylogs' own, as other programs may make them."""
    library = pytest.importorskip("datasketches")
    parts = Parts(varint_field(4, 1) + varint_field(5, 1), [(0, b"cardinality/hll"), (1, b"distribution/kll")], [])
    parts.paths += [(2, b"distribution/mean"), (3, b"distribution/m2")]
    for lg_k, k, n in ((8, 8, 3000), (10, 100, 3000), (16, 4096, 60_000)):
        hll, kll = library.hll_sketch(lg_k), library.kll_doubles_sketch(k)
        for number in range(n):
            hll.update(number)
        kll.update(np.arange(float(n)))
        written = kll.serialize()
        sketches = hll.serialize_compact(), b"\6" + written[1:20] + bytes(4) + written[20:]
        components = [(i, bytes_field(5 + i, bytes_field(1, sketch))) for i, sketch in enumerate(sketches)]
        parts.columns.append((b"k%d" % k, [*components, (2, fixed64_field(3, 1.0)), (3, fixed64_field(3, 1.0))]))
    return parts.build()


def mutated(rng: random.Random) -> bytes:
    """Damage a sound profile once or a few times, outside or within its structure."""
    data = rng.choice(corpus())
    if rng.random() < 0.7:
        parts = Parts.of(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            rng.choice(STRUCTURED)(parts, rng)
        data = parts.build()
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = rng.choice(PLAIN)(data, rng)
    return data


def place(data: bytes, rng: random.Random) -> int:
    """Choose a place: often near the begin, where what decides stands."""
    return rng.randrange(min(len(data), rng.choice((16, 64, 900, 2**30))) or 1)


def changed_byte(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def changed_word(data: bytes, rng: random.Random) -> bytes:
    """Write a length, a count or a number where one may stand."""
    at = place(data, rng) & ~3
    kind = rng.choice("HIQd")
    number = rng.choice(DOUBLES) if kind == "d" else rng.choice(NUMBERS_64) % 2 ** (8 * struct.calcsize(kind))
    return data[:at] + struct.pack("<" + kind, number) + data[at + struct.calcsize(kind) :]


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: place(data, rng)]


def gap(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 8, 60)) :]


def inserted(data: bytes, rng: random.Random) -> bytes:
    at = place(data, rng)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 8, 60))) + data[at:]


def repeated(data: bytes, rng: random.Random) -> bytes:
    at, size = place(data, rng), rng.choice((1, 8, 100, 1000))
    return data[: at + size] + data[at : at + size] * rng.choice((1, 2, 50)) + data[at + size :]


def spliced(data: bytes, rng: random.Random) -> bytes:
    other = rng.choice(corpus())
    return data[: place(data, rng)] + other[place(other, rng) :]


PLAIN: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    changed_byte,
    changed_word,
    cut,
    gap,
    inserted,
    repeated,
    spliced,
)


def damage_sketch(parts: Parts, rng: random.Random) -> None:
    """Damage the bytes of a sketch, or any component, so that all lengths around it are right."""
    if not any(components for _, components in parts.columns):
        return
    components = rng.choice([components for _, components in parts.columns if components])
    at = rng.randrange(len(components))
    number, component = components[at]
    tag = component[:1]
    try:
        sketch = _bytes(dict(fields(_bytes(dict(fields(component)).get(tag[0] >> 3, b"")))).get(1, b""))
    except (AssertionError, ProfileError, IndexError):
        components[at] = number, rng.choice(PLAIN)(component, rng)
        return
    for _ in range(rng.choice((1, 1, 2, 3))):
        sketch = rng.choice(PLAIN[:-1])(sketch, rng)
    components[at] = number, bytes_field(tag[0] >> 3, bytes_field(1, sketch))


def change_number(parts: Parts, rng: random.Random) -> None:
    """Make a count or a moment of a column what it cannot be."""
    components = rng.choice(parts.columns or [(b"", [(0, b"")])])[1]
    if not components:
        return
    at = rng.randrange(len(components))
    value = varint_field(2, rng.choice(NUMBERS_64)) if rng.random() < 0.7 else fixed64_field(3, rng.choice(DOUBLES))
    components[at] = components[at][0], value


def swap_components(parts: Parts, rng: random.Random) -> None:
    """Give a column a component of another one, under its own number or another."""
    if not parts.columns:
        return
    ours, theirs = rng.choice(parts.columns)[1], rng.choice(parts.columns)[1]
    if theirs:
        number, component = rng.choice(theirs)
        ours.insert(rng.randrange(len(ours) + 1), (rng.choice((number, rng.randrange(30))), component))


def drop(parts: Parts, rng: random.Random) -> None:
    """Leave out a column, a component or the name of one."""
    kept: list[list[object]] = [parts.columns, parts.paths]  # type: ignore[list-item]
    kept += [components for _, components in parts.columns]  # type: ignore[misc]
    found = rng.choice(kept)
    if found:
        del found[rng.randrange(len(found))]


def double_column(parts: Parts, rng: random.Random) -> None:
    """Repeat columns under their own name or many others."""
    if parts.columns:
        name, components = rng.choice(parts.columns)
        if rng.random() < 0.2 and sum(len(each) for _, each in components) < 300:
            parts.columns += [(b"%s%d" % (name, i), list(components)) for i in range(rng.choice((50, 500)))]
        else:
            parts.columns.append((name, list(components)))


def change_name(parts: Parts, rng: random.Random) -> None:
    """Give a column or a component a name that is another's, or no text."""
    names = [name for name, _ in parts.columns] + [path for _, path in parts.paths] + [b"", b"\xff", b"\xed\xa0\x80"]
    if parts.columns and rng.random() < 0.5:
        at = rng.randrange(len(parts.columns))
        parts.columns[at] = rng.choice(names), parts.columns[at][1]
    elif parts.paths:
        at = rng.randrange(len(parts.paths))
        parts.paths[at] = rng.choice((parts.paths[at][0], rng.choice(NUMBERS_64))), rng.choice(names)


def change_properties(parts: Parts, rng: random.Random) -> None:
    parts.properties = (
        rng.choice(PLAIN)(parts.properties, rng)
        if rng.random() < 0.5
        else varint_field(rng.choice((4, 5)), rng.choice(NUMBERS_64)) + bytes_field(rng.choice((6, 7)), b"") * 3
    )


STRUCTURED: tuple[Callable[[Parts, random.Random], None], ...] = (
    *[damage_sketch] * 5,
    change_number,
    swap_components,
    drop,
    double_column,
    change_name,
    change_properties,
)


def peak() -> float:
    """Return the most megabytes that this process has had, the library's among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def check(data: bytes) -> bool:
    """Read bytes and use what they turn out to be; tell whether they are a profile.

    Raises:
        AssertionError: reading took too long or too much memory, or what was read is not what is written.
        Exception: anything but ProfileError that reading or using raises.
    """
    megabytes = max(1.0, len(data) / 2**20)
    before, begin = peak(), time.process_time()
    try:
        profile = DatasetProfile.deserialize(data)
    except ProfileError:
        profile = None
    seconds, memory = time.process_time() - begin, peak() - before
    assert seconds < SECONDS * megabytes, f"reading took {seconds:.1f} s"
    assert memory < MEGABYTES * megabytes, f"reading took {memory:.0f} MB"
    if profile is None:
        return False
    profile = profile.select(sorted(profile.columns)[:USED_COLUMNS])
    written = profile.serialize()
    assert DatasetProfile.deserialize(written).serialize() == written
    for column in profile.columns.values():
        if column.quantiles is not None:
            _ = column.quantiles.quantiles([0.0, 0.5, 1.0]), column.quantiles.cdf([0.0, 1.0])
        if column.cardinality is not None:
            low, high = column.cardinality.bounds(2)
            assert low <= high
        if column.frequent_items is not None:
            assert all(item.lower <= item.upper for item in column.frequent_items.items)
    try:
        merged = profile + DatasetProfile.deserialize(corpus()[2]) + profile
    except ProfileError:  # together more rows than a profile may have
        return True
    merged.track({name: [1.0, 2, "a", None] for name in profile.columns})
    try:
        DatasetProfile.deserialize(merged.serialize())
    except ProfileError:  # likewise
        assert max(column.counts.n for column in merged.columns.values()) > 2**48
    return True


def test_damaged_profiles_are_read_or_refused() -> None:
    """Of profiles that are damaged in their bytes or their structure, each is read or refused, in bounds."""
    rng = random.Random(5)  # noqa: S311 - no secret
    sound = sum(check(mutated(rng)) for _ in range(SHORT_RUN))
    assert SHORT_RUN / 20 < sound < SHORT_RUN * 19 / 20  # else the damage is all too large or too small


def test_sound_profiles_are_the_same_taken_apart_and_put_together() -> None:
    """The harness itself: what it takes apart and does not change is read as the same profile."""
    for data in corpus():
        again = DatasetProfile.deserialize(Parts.of(data).build())
        assert again.serialize() == DatasetProfile.deserialize(data).serialize()


def main() -> None:
    """Fuzz for a time, and write an input that fails beside the working folder's other builds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    warnings.simplefilter("error")
    rng = random.Random(options.seed)  # noqa: S311 - no secret
    corpus()
    start = peak()
    end = time.monotonic() + options.seconds
    inputs = sound = 0
    while time.monotonic() < end:
        data = mutated(rng)
        try:
            sound += check(data)
        except BaseException:
            target = Path("build") / f"fuzz-{hashlib.sha256(data).hexdigest()[:16]}.bin"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
            sys.stderr.write(f"failed after {inputs} inputs of seed {options.seed}: {target}\n")
            raise
        inputs += 1
    sys.stdout.write(
        f"{inputs} inputs of seed {options.seed}, {sound} of them profiles; memory grew by {peak() - start:.0f} MB\n"
    )


if __name__ == "__main__":
    main()
