"""Counts files of any size through a baseline's own bins."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from windvane import semconv
from windvane.bins import NumericBins, numbers_of
from windvane.errors import BaselineError
from windvane_processors.reference.files import DataFiles, _TypeWidenedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from windvane.baseline import Baseline, Feature
    from windvane.bins import Counts

__all__ = ["Batch", "count_batch"]

_SAMPLE_ROWS: Final = 10_000
"""Rows of which numbers are kept, to look for a change of unit; 80 kB for each numeric feature."""

_KNOWN_TYPES: Final = ("float", "integer", "boolean", "string", "text")
_SHOWN_NAMES: Final = 5


@dataclass(slots=True)
class Tally:
    """What was counted of one feature.

    Attributes:
        counts: values in each bin, in the order of the bins' labels.
        violations: values of each kind of violation, in the order of `semconv.VIOLATION_KIND.values`.
        sample: finite values of the sampled rows; empty for a feature without numeric bins.
    """

    counts: Counts
    violations: Counts
    sample: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Batch:
    """What files hold, by the bins of a baseline.

    Attributes:
        rows: rows of all files.
        tallies: what was counted of each feature that the files have, by its name. Every value of an input
            that they lack counts as missing; an output or a derived feature that they lack is left out.
        missing_columns: inputs of the baseline that the files have no column for.
        unexpected_columns: columns of the files that the baseline does not know.
    """

    rows: int
    tallies: Mapping[str, Tally]
    missing_columns: tuple[str, ...]
    unexpected_columns: tuple[str, ...]


def count_batch(
    paths: Sequence[Path], baseline: Baseline, on_file: Callable[[Path], Callable[[int], None]] | None = None
) -> Batch:
    """Count files through the bins of a baseline, once and in bounded memory.

    Text among the numbers of a CSV file counts as a violation of type, as it does in a service. In a Parquet
    file the column's own type counts: numbers written as text are text.

    Args:
        paths: `.csv`, `.csv.gz` or `.parquet` files with the same columns.
        baseline: what to count by.
        on_file: called when a file is begun, and again where it must be read anew; returns what is called
            with each number of bytes read.

    Raises:
        BaselineError: a file cannot be read, holds none of the inputs, or the files hold no rows; the message
            says what to do.
    """
    everything = DataFiles(paths)
    present = frozenset(everything.columns)
    features = {feature.name: feature for feature in baseline.features if feature.role != "derived"}
    missing = tuple(feature.name for feature in baseline.inputs if feature.name not in present)
    if len(missing) == len(baseline.inputs):
        msg = (
            f"{paths[0]}: has none of the inputs of the baseline of {baseline.model_name} {baseline.model_version} "
            f"({_some([feature.name for feature in baseline.inputs])}), but {_some(everything.columns)}; "
            "check that data and --baseline belong together"
        )
        raise BaselineError(msg)
    known = {*features, *baseline.ignored_columns}
    unexpected = tuple(name for name in everything.columns if name not in known)
    counter = _Counter(baseline, frozenset(features) & present, missing)
    for path in paths:
        exclude = [name for name in everything.columns if name not in features]
        file = _File(path, exclude, [features[name] for name in everything.columns if name in features])
        while True:
            advance = on_file(path) if on_file is not None else None
            part = counter.begin()
            try:
                for table in file.chunks(advance):
                    part.add(table, text_is_all_there_is=file.is_csv)
            except _TypeWidenedError:
                continue
            counter.accept(part)
            break
    if not counter.rows:
        msg = f"{paths[0]}: the data has no rows; pass a batch with at least some hundreds"
        raise BaselineError(msg)
    return Batch(counter.rows, counter.tallies, missing, unexpected)


def similar_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name most like another, None where none is."""
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


class _File(DataFiles):
    """One file, its CSV columns read in the types that the baseline has them in."""

    def __init__(self, path: Path, exclude: Sequence[str], features: Sequence[Feature]) -> None:
        # A column of times is not text to its feature, so it may not become text.
        may_be_text = [feature.name for feature in features if feature.type in _KNOWN_TYPES]
        super().__init__([path], exclude=exclude, categorical=may_be_text)
        self.is_csv = not path.name.lower().endswith(".parquet")
        # A batch may hold digits alone where the reference held other text too, and 007 is not 7.
        self._types.update({feature.name: pa.string() for feature in features if feature.type in {"string", "text"}})


class _Counter:
    """Counts of all files so far, or of one file until it is read to its end."""

    def __init__(self, baseline: Baseline, columns: frozenset[str], missing: Sequence[str]) -> None:
        self._arguments = baseline, columns, missing
        self._features = [
            feature for feature in baseline.features if feature.name in columns or feature.name in missing
        ]
        self._missing = frozenset(missing)
        self._derived = baseline.derived
        self._components = baseline.principal_components
        self.rows = 0
        self.tallies = {
            feature.name: Tally(
                np.zeros(len(feature.bins.labels), dtype=np.int64),
                np.zeros(len(semconv.VIOLATION_KIND.values), dtype=np.int64),
            )
            for feature in (*self._features, *((self._derived,) if self._derived else ()))
        }
        self._sample = _Sample()

    def begin(self) -> _Counter:
        """Return a counter for one more file, whose sample goes on where this one's is."""
        part = _Counter(*self._arguments)
        part._sample = self._sample.copy()
        return part

    def accept(self, part: _Counter) -> None:
        """Add what was counted of a file."""
        self.rows += part.rows
        self._sample = part._sample
        for name, tally in self.tallies.items():
            tally.counts += part.tallies[name].counts
            tally.violations += part.tallies[name].violations
            if name in self._sample.values:
                kept = self._sample.values[name]
                tally.sample = kept[np.isfinite(kept)]

    def add(self, table: pa.Table, *, text_is_all_there_is: bool) -> None:
        """Count a part of a file.

        Args:
            table: the part.
            text_is_all_there_is: whether the file's format has no numbers but only their text.
        """
        size = table.num_rows
        self.rows += size
        self._sample.offer(size)
        inputs = self._components.inputs if self._components else ()
        kept: dict[str, NDArray[np.float64]] = {}
        for feature in self._features:
            name = feature.name
            values: Any
            if name in self._missing:
                values = np.full(size, np.nan)
            else:
                column = table.column(name)
                values = column.to_numpy()
                if isinstance(feature.bins, NumericBins) and text_is_all_there_is and pa.types.is_string(column.type):
                    values = [_number_of(text) for text in values]
            if isinstance(feature.bins, NumericBins):
                numbers, wrong_type = numbers_of(values)
                self._sample.add(name, numbers)
                if not wrong_type:
                    values = numbers  # so that a column is converted once
                if name in inputs:
                    kept[name] = numbers
            self._count(feature, values)
        if self._components and self._derived:
            self._count(self._derived, self._components.errors([kept[name] for name in inputs]))

    def _count(self, feature: Feature, values: Any) -> None:  # noqa: ANN401 - a column of any type
        counts, violations = feature.bins.count(values)
        tally = self.tallies[feature.name]
        tally.counts += counts
        tally.violations += violations


class _Sample:
    """A uniform sample of rows, the same for the same data: those that drew the least numbers."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._drawn = np.empty(0)
        self._new: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._keep: NDArray[np.intp] | None = None
        self.values: dict[str, NDArray[np.float64]] = {}

    def copy(self) -> _Sample:
        """Return a sample that goes on from here by itself."""
        other = _Sample()
        other._random.bit_generator.state = self._random.bit_generator.state
        other._drawn = self._drawn
        other.values = dict(self.values)
        return other

    def offer(self, rows: int) -> None:
        """Choose among the next rows."""
        drawn = self._random.random(rows)
        limit = self._drawn.max() if self._drawn.size >= _SAMPLE_ROWS else np.inf
        self._new = np.flatnonzero(drawn < limit)
        self._drawn = np.concatenate([self._drawn, drawn[self._new]])
        self._keep = None
        if self._drawn.size > _SAMPLE_ROWS:
            self._keep = np.argpartition(self._drawn, _SAMPLE_ROWS)[:_SAMPLE_ROWS]
            self._drawn = self._drawn[self._keep]

    def add(self, name: str, values: NDArray[np.float64]) -> None:
        """Keep the chosen rows' values of a feature."""
        joined = np.concatenate([self.values.get(name, np.empty(0)), values[self._new]])
        self.values[name] = joined if self._keep is None else joined[self._keep]


def _number_of(text: str | None) -> float | str | None:
    """Read a number of a CSV file as the reader does, or leave the text that it is not."""
    if text is None or "_" in text:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN_NAMES]))
    return f"{shown} and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else shown
