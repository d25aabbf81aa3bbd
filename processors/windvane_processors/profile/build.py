"""Profiles files larger than memory, on several processes."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile
from windvane_processors.reference.files import DataFiles, _errors_of, _TypeWidenedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["MAX_SEGMENTS", "Options", "build_profiles", "size_of"]

MAX_SEGMENTS: Final = 1000
"""More values of the segment's column are refused: each has a profile of its own."""

_UNIT_ROWS: Final = 1_000_000
_BATCH_ROWS: Final = 65_536

_told: Any = None
"""In a process of the pool: the queue for numbers of bytes read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How profiles are made.

    Attributes:
        segment: a column; each of its values has a profile of its own, without that column.
        frequent_items: whether frequent values are kept as they are.
        frequent_items_minimum: how often a value must have come to be kept.
        metadata: texts that the profiles carry.
    """

    segment: str | None = None
    frequent_items: bool = True
    frequent_items_minimum: int = 1
    metadata: Mapping[str, str] | None = None


class _Unit(NamedTuple):
    """What one process does in one go: a CSV file, or some row groups of a Parquet file."""

    path: Path
    row_groups: tuple[int, ...] | None
    size: int


def size_of(paths: Iterable[Path]) -> int:
    """Return the bytes of all files, of which those that are read are told."""
    return sum(path.stat().st_size for path in paths if path.is_file())


def build_profiles(
    paths: Sequence[Path],
    options: Options,
    *,
    processes: int | None = None,
    advance: Callable[[int], None] = lambda _size: None,
) -> dict[str | None, DatasetProfile]:
    """Profile the rows of files.

    The result does not depend on the number of processes, but for the quantiles, which are random within their bound.
    A column of a CSV file has one type throughout, the narrowest that holds all of it: integer, float, or text.

    Args:
        paths: `.csv` (UTF-8, with a header), `.csv.gz` or `.parquet`, with the same columns.
        options: how.
        processes: how many work at once; by default as many as this machine has processors.
        advance: called with each number of bytes read.

    Returns:
        The profile under None, or by value of the segment's column; a missing value is `null`.

    Raises:
        BaselineError: a file cannot be read; the message names it and says what to do.
        ProfileError: the segment's column is not there or has too many values, or a process was killed.
    """
    files = DataFiles(paths)
    if options.segment is not None and options.segment not in files.columns:
        msg = f"{paths[0]}: has no column {options.segment!r}; name one of {', '.join(files.columns[:20])}"
        raise ProfileError(msg)
    units = [unit for path in files.paths for unit in _units(path)]
    processes = min(processes or os.cpu_count() or 1, len(units))
    parts = (
        (_profile(unit, options, advance) for unit in units)
        if processes <= 1
        else _on_processes(units, options, processes, advance)
    )
    merged: dict[str | None, DatasetProfile] = {}
    for part in parts:
        for segment, data in part.items():
            profile = DatasetProfile.deserialize(data)
            merged[segment] = merged[segment] + profile if segment in merged else profile
            _check_segments(merged)
    if not merged:
        msg = f"{paths[0]}: the data has no rows"
        raise ProfileError(msg)
    # What is left out for being rare is so in all of the data, not in each part of it.
    return {
        segment: profile.select(profile.columns, frequent_items_minimum=options.frequent_items_minimum)
        for segment, profile in sorted(merged.items(), key=lambda item: item[0] or "")
    }


def _units(path: Path) -> Iterator[_Unit]:
    if not path.name.lower().endswith(".parquet"):
        yield _Unit(path, None, path.stat().st_size)
        return
    with _errors_of(path):
        metadata = pa.parquet.read_metadata(path)
    groups: list[int] = []
    rows = 0
    for group in range(metadata.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= _UNIT_ROWS or group == metadata.num_row_groups - 1:
            yield _Unit(path, tuple(groups), path.stat().st_size * rows // max(1, metadata.num_rows))
            groups, rows = [], 0


def _on_processes(
    units: Sequence[_Unit], options: Options, processes: int, advance: Callable[[int], None]
) -> Iterator[dict[str | None, bytes]]:
    """Profile units on a pool, and give the results in the order of the units."""
    context = multiprocessing.get_context("spawn")  # a fork would take over threads of the libraries
    told = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(told, advance), daemon=True)
    listener.start()
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(told,))
    try:
        waiting = iter(units)
        # No more at once than are worked at: results that wait for an earlier one are few.
        futures = [pool.submit(_profile, unit, options) for unit in itertools.islice(waiting, 2 * processes)]
        for position in itertools.count():
            if position == len(futures):
                break
            yield _result(futures, position)
            futures[position] = Future()  # its result may go
            unit = next(waiting, None)
            if unit is not None:
                futures.append(pool.submit(_profile, unit, options))
    except BrokenProcessPool as error:
        msg = (
            "a process was killed while it read, perhaps since memory ran out; use fewer with --processes, or see "
            "what the system says"
        )
        raise ProfileError(msg) from error
    except BaseException:
        for process in list(pool._processes.values()):  # noqa: SLF001 - until the pool has a method for it (3.14)
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        told.put(None)
        listener.join()


def _result(futures: list[Future[dict[str | None, bytes]]], position: int) -> dict[str | None, bytes]:
    """Wait for one result, and for a failure of any."""
    while not futures[position].done():
        done, _ = wait(futures[position:], return_when=FIRST_COMPLETED, timeout=1)
        for future in done:
            if future.exception() is not None:
                future.result()
        wait([futures[position]], timeout=0.1)
    return futures[position].result()


def _begin(told: Any) -> None:  # noqa: ANN401 - a queue of multiprocessing
    global _told  # noqa: PLW0603 - how a process of a pool is given what no task can carry
    _told = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process


def _listen(told: Any, advance: Callable[[int], None]) -> None:  # noqa: ANN401 - as above
    while (size := told.get()) is not None:
        advance(size)


def _profile(unit: _Unit, options: Options, advance: Callable[[int], None] | None = None) -> dict[str | None, bytes]:
    """Profile one unit; return the profiles as files."""
    advance = advance or _told.put
    read = 0

    def on_read(size: int) -> None:
        nonlocal read
        read += size
        advance(size)

    file = DataFiles([unit.path], categorical=DataFiles([unit.path]).columns)
    while True:
        profiles: dict[str | None, DatasetProfile] = {}
        try:
            for table in _tables(unit, file, on_read):
                _track(table, profiles, options)
        except _TypeWidenedError:  # a column needs a wider type: all of it has that
            advance(-read)
            read = 0
            continue
        advance(unit.size - read)
        return {segment: profile.serialize() for segment, profile in profiles.items()}


def _tables(unit: _Unit, file: DataFiles, on_read: Callable[[int], None]) -> Iterator[pa.Table]:
    if unit.row_groups is None:
        yield from file.chunks(on_read)
        return
    # Buffered reads keep one page of each column in memory instead of a whole row group.
    with _errors_of(unit.path), pa.parquet.ParquetFile(unit.path, pre_buffer=False, buffer_size=2**20) as parquet:
        rows = sum(parquet.metadata.row_group(group).num_rows for group in unit.row_groups)
        for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, row_groups=list(unit.row_groups)):
            yield pa.Table.from_batches([batch])
            on_read(unit.size * batch.num_rows // max(1, rows))


def _track(table: pa.Table, profiles: dict[str | None, DatasetProfile], options: Options) -> None:
    for segment, rows in _segments(table, options.segment):
        profile = profiles.get(segment)
        if profile is None:
            profile = profiles[segment] = DatasetProfile(
                metadata=options.metadata, frequent_items=options.frequent_items
            )
            _check_segments(profiles)
        profile.track(dict(zip(rows.column_names, rows.columns, strict=True)))


def _segments(table: pa.Table, column: str | None) -> Iterator[tuple[str | None, pa.Table]]:
    if column is None:
        yield None, table
        return
    values = table.column(column)
    rest = table.drop_columns([column])
    for value in values.unique():
        chosen = pa.compute.is_null(values) if not value.is_valid else pa.compute.equal(values, value)
        yield "null" if not value.is_valid else str(value.as_py()), rest.filter(chosen)


def _check_segments(profiles: Mapping[str | None, object]) -> None:
    if len(profiles) > MAX_SEGMENTS:
        msg = f"the segment's column has more than {MAX_SEGMENTS} values; name one that has few"
        raise ProfileError(msg)
