"""Reads CSV and Parquet files chunk by chunk, in their order, with one type per column throughout."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from windvane import _baseline_builder as builder
from windvane.errors import BaselineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from windvane.baseline import Baseline

__all__ = ["DataFiles", "build_baseline"]

_SUFFIXES: Final = (".csv", ".csv.gz", ".parquet")
# Types of CSV columns are inferred from the first block. Larger blocks cost memory, smaller ones time.
_BLOCK_BYTES: Final = 4 * 2**20
_BATCH_ROWS: Final = 32_768

_CONVERSION_ERROR: Final = re.compile(
    r"In CSV column #(?P<column>\d+): (?:Row #(?P<row>\d+): )?CSV conversion error to (?P<type>[^:]+): "
    r"(?:invalid value '(?P<value>.*)')?",
    re.DOTALL,
)


class _TypeWidenedError(Exception):
    """A later part of the data has shown that a column needs a wider type: start again."""


class DataFiles:
    """Data in one or several files, read in the order given.

    Attributes:
        paths: the files.
        columns: names of all columns, in the order of the first file.
        size: bytes of all files.
    """

    def __init__(self, paths: Sequence[Path], *, exclude: Sequence[str] = (), categorical: Sequence[str] = ()) -> None:
        """Look at the files' columns.

        Args:
            paths: `.csv` (UTF-8, with a header), `.csv.gz` or `.parquet`.
            exclude: columns that need not be read.
            categorical: columns that may be read as text where they are not all integers.

        Raises:
            BaselineError: a file cannot be read, or its columns differ from those of the first file.
        """
        self.paths = tuple(paths)
        self._exclude = frozenset(exclude)
        self._categorical = frozenset(categorical)
        self._types: dict[str, pa.DataType] = {}
        if not self.paths:
            msg = "no file was named"
            raise BaselineError(msg)
        headers = []
        for path in self.paths:
            with _errors_of(path):
                headers.append(builder.column_names(_Header(self._header(path))))
        self.columns = headers[0]
        for path, header in zip(self.paths[1:], headers[1:], strict=True):
            for name in (*header, *self.columns):
                if (name in header) != (name in self.columns):
                    has, lacks = (path, self.paths[0]) if name in header else (self.paths[0], path)
                    msg = f"{lacks}: has no column {name!r}, but {has} has; pass files with the same columns"
                    raise BaselineError(msg)
        self.size = sum(path.stat().st_size for path in self.paths)

    def chunks(self, advance: Callable[[int], None] | None = None) -> Iterator[pa.Table]:
        """Read all files once, without the excluded columns.

        Args:
            advance: called with the number of bytes of the files that were read since it was called last.

        Raises:
            BaselineError: a file cannot be read; the message names it, the line and column where it can, and
                what to do.
        """
        for path in self.paths:
            told = 0
            read = _read_parquet if _suffix(path) == ".parquet" else self._read_csv
            with _errors_of(path):
                for batch, position in read(path, [name for name in self.columns if name not in self._exclude]):
                    yield pa.Table.from_batches([batch])
                    if advance is not None:
                        advance(position - told)
                    told = position

    def _header(self, path: Path) -> list[str]:
        if _suffix(path) == ".parquet":
            return list(pa.parquet.read_schema(path).names)
        with _open(path) as (_, stream):
            header = pa.csv.open_csv(stream, pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False), _PARSING)
            return list(header.schema.names)

    def _read_csv(self, path: Path, names: list[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
        conversion = pa.csv.ConvertOptions(
            include_columns=names, column_types=self._types, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        # With threads, pyarrow does not say in which line it found an error.
        reading = pa.csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)
        with _open(path) as (raw, stream):
            header = self._header(path)
            try:
                reader = pa.csv.open_csv(stream, reading, _PARSING, conversion)
                for field in reader.schema:
                    if pa.types.is_binary(field.type):
                        msg = f"{path}: column {field.name!r}: is no UTF-8 text; convert the file to UTF-8"
                        raise BaselineError(msg)
                    if pa.types.is_temporal(field.type) and field.name in self._categorical:
                        self._types[field.name] = pa.string()
                        raise _TypeWidenedError
                    self._types.setdefault(field.name, field.type)
                for batch in reader:
                    yield batch, raw.tell()
            except pa.ArrowInvalid as error:
                found = _CONVERSION_ERROR.match(str(error))
                if found is None:
                    raise
                self._widen(path, header[int(found["column"])], found)

    def _widen(self, path: Path, name: str, found: re.Match[str]) -> None:
        """Give a column the narrowest type that also holds the value found, or say that there is none."""
        value = found["value"]
        old = self._types.get(name, pa.null())
        new = None
        if value is not None:
            text_will_do = pa.types.is_null(old) or pa.types.is_temporal(old) or name in self._categorical
            if _is_number(value) and (pa.types.is_null(old) or pa.types.is_integer(old)):
                new = pa.int64() if pa.types.is_null(old) and _is_integer(value) else pa.float64()
            elif text_will_do and not pa.types.is_string(old):
                new = pa.string()
        if new is None:
            line = f"line {found['row']}, " if found["row"] else ""
            if value is None:
                msg = f"{path}: {line}column {name!r}: is no UTF-8 text; convert the file to UTF-8"
            else:
                msg = (
                    f"{path}: {line}column {name!r}: {value[:40]!r} is no {_WORDS.get(str(old), str(old))}, "
                    f"as the values before it are; mend the value, or add --exclude {name} or, for a column of names, "
                    f"--categorical {name}"
                )
            raise BaselineError(msg)
        self._types[name] = new
        raise _TypeWidenedError


def build_baseline(
    files: DataFiles, options: builder.Options, on_pass: Callable[[int], Callable[[int], None]] | None = None
) -> tuple[Baseline, tuple[str, ...]]:
    """Make a baseline of files, reading them twice in bounded memory.

    Args:
        files: the data, its rows in the order in which they were recorded.
        options: what to make of it.
        on_pass: called with 1 and 2 when a pass begins (with 1 again where the data must be read anew);
            returns what is called with each number of bytes read.

    Returns:
        The baseline, and notes for people on columns that cannot be watched or not well.

    Raises:
        BaselineError: no baseline can be made; the message says why and what to do.
    """
    while True:
        passes = 0

        def chunks() -> Iterator[pa.Table]:
            nonlocal passes
            passes += 1
            return files.chunks(on_pass(passes) if on_pass is not None else None)

        try:
            return builder.build(files.columns, chunks, options)
        except _TypeWidenedError:
            continue


class _Header:
    """Column names in the shape in which `builder.column_names` takes and checks them."""

    def __init__(self, names: list[str]) -> None:
        self.column_names = names


_PARSING: Final = pa.csv.ParseOptions(newlines_in_values=True)
_WORDS: Final = {"int64": "number", "double": "number", "bool": "boolean"}


def _suffix(path: Path) -> str:
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    msg = f"{path}: cannot tell its format; name it {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
    raise BaselineError(msg)


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a CSV file; give it as it stands on disk, to ask how far it is read, and uncompressed."""
    with path.open("rb") as raw:
        stream = pa.PythonFile(raw, mode="r")
        yield raw, pa.CompressedInputStream(stream, "gzip") if _suffix(path) == ".csv.gz" else stream


def _read_parquet(path: Path, names: list[str]) -> Iterator[tuple[pa.RecordBatch, int]]:
    size = path.stat().st_size
    # Buffered reads keep one page of each column in memory instead of a whole row group.
    with pa.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        rows = done = 0
        rows = file.metadata.num_rows
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            done += batch.num_rows
            yield batch, size * done // rows


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file into errors that name the file and say what to do."""
    try:
        yield
    except BaselineError as error:
        if str(error).startswith(str(path)):
            raise
        msg = f"{path}: {error}"
        raise BaselineError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path}: is no UTF-8 text; convert the file to UTF-8"
        raise BaselineError(msg) from error
    except OSError as error:
        # pyarrow's errors have no strerror.
        msg = f"{path}: cannot be read: {error.strerror or _line(error)}; check the path and the file"
        raise BaselineError(msg) from error
    except pa.ArrowException as error:
        if "Empty CSV file" in str(error):
            msg = f"{path}: holds no rows; a CSV file needs a header and rows"
        else:
            msg = f"{path}: cannot be read: {_line(error)}; mend the file"
        raise BaselineError(msg) from error


def _line(error: BaseException) -> str:
    """Write an error's first line, bounded: pyarrow quotes whole rows."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return re.sub(r"^CSV parse error: Row #(\d+)", r"line \1", line)[:200]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,18}", text) is not None
