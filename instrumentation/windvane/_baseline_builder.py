"""Makes a baseline of data that is read twice, chunk by chunk, in bounded memory.

The first pass finds each column's type, range, quantiles and categories, and fixes its bins; a sample of
its rows gives the principal components. The second counts every row with the very `bins.count` that live
traffic is counted with. The result does not depend on where the chunks begin: the sample that quantiles and
components are taken from is chosen by the rows' numbers, and tallies are exact up to `_TALLY_LIMIT`
different categories.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np

from windvane import _calibration_builder, semconv
from windvane._derived import MAX_ERROR, MAX_INPUTS, RECONSTRUCTION_ERROR, PrincipalComponents, standardize
from windvane._statistics import psi
from windvane.baseline import (
    ABOUT,
    MAX_NAME_LENGTH,
    WHOLE,
    Baseline,
    Feature,
    FeatureType,
    Role,
    check_model_name,
    check_model_version,
    is_name,
)
from windvane.bins import (
    MAX_DIMENSIONS,
    Bins,
    CategoryBins,
    Counts,
    DistanceBins,
    LengthBins,
    NumericBins,
    TimeBins,
    is_category,
    lengths_of,
    numbers_of,
    tally_categories,
    vector_of,
    vectors_of,
)
from windvane.errors import BaselineError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from windvane.outcomes import Outcomes

__all__ = ["Chunks", "Options", "build", "column_names", "dispersion", "quantile_edges"]

Chunks: TypeAlias = "Callable[[], Iterable[Any]]"
"""Called once for each pass; yields frames with the same columns, in the rows' own order."""

SAMPLE_LIMIT: Final = 100_000
"""Rows that quantiles are taken from; up to as many, all rows are."""

_TALLY_LIMIT: Final = 100_000
_VOCABULARY_LIMIT: Final = 1000
_LABELLED_CATEGORIES: Final = 20
_SAMPLED_VECTORS: Final = 2000
_LARGEST_COORDINATE: Final = 1e100
"""Vectors that hold a larger number make no centroid: squares of distances would overflow."""
_FREE_TEXT_SHARE: Final = 0.05
"""Text of which a smaller share is in listed categories is free text."""

# 50 blocks keep the error of the mean small (7 % for ten bins); blocks below 200 rows leave bins empty by chance.
_MAX_BLOCKS: Final = 50
_MIN_BLOCK_ROWS: Final = 200

_MIN_FITTED_ROWS: Final = 100
_EXPLAINED_SHARE: Final = 0.9
_DIGITS: Final = 6
_SMALLEST_SCALE: Final = 1e-300
_SLICE_ROWS: Final = 65_536  # rows that are looked at together

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?\Z")
_INTEGER_TYPE: Final = re.compile(r"u?int\d+\b")

Whole: TypeAlias = Literal["boolean", "integer"]
Kind: TypeAlias = Literal["boolean", "integer", "float", "string", "time", "vector", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `Baseline.from_frame` takes beside the data."""

    model: str
    version: str
    output: str | None = None
    actual: str | None = None
    outcomes: Outcomes | None = None
    probabilities: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    importances: Mapping[str, float] | None = None
    about: Mapping[str, Mapping[str, str]] | None = None
    bins: int = 10
    min_category_count: int = 5

    @property
    def unwatched(self) -> tuple[str, ...]:
        """Columns that are no features."""
        return (*self.exclude, *((self.actual,) if self.actual is not None else ()), *self.probabilities)

    def is_categorical(self, column: str) -> bool:
        """Tell whether the numbers of a column are names of categories."""
        classes = self.outcomes is not None and self.outcomes.kind == "multiclass"
        return column in self.categorical or (classes and column == self.output)


def build(columns: Sequence[str], chunks: Chunks, options: Options) -> tuple[Baseline, tuple[str, ...]]:
    """Make a baseline.

    Args:
        columns: names of all columns of the data, in their order.
        chunks: yields the data; columns that the options exclude may be absent.
        options: what to make of them.

    Returns:
        The baseline, and notes for people on columns that cannot be watched or not well.

    Raises:
        BaselineError: no baseline can be made; the message says why and what to do.
    """
    _check(columns, options)
    watched = [name for name in columns if name not in set(options.unwatched)]
    if not watched:
        msg = "no column can be watched: all are excluded"
        raise BaselineError(msg)
    surveys, sample = _survey(watched, chunks, options)
    rows = sample.rows
    if not rows:
        msg = "the data has no rows; a baseline needs some hundreds at least"
        raise BaselineError(msg)
    notes: list[str] = []
    ignored = set(options.unwatched)
    bins: dict[str, Bins] = {}
    types: dict[str, FeatureType] = {}
    for name, survey in surveys.items():
        feature_type = survey.feature_type()
        if feature_type is None:
            notes.append(f"column {name!r} {survey.why_not()}; it is left out")
            ignored.add(name)
            continue
        types[name] = feature_type
        bins[name] = survey.bins(feature_type)
        notes.extend(f"column {name!r} {note}" for note in survey.notes(feature_type))
    if options.output is not None and options.output not in bins:
        msg = f"output {options.output!r}: {surveys[options.output].why_not()}; name a column that can be counted"
        raise BaselineError(msg)
    if not bins:
        msg = f"no column can be watched: {'; '.join(notes)}"
        raise BaselineError(msg)
    outcomes = _outcome_tally(options, surveys)
    about = _about(columns, options.about)
    importances = _importances([name for name in bins if name != options.output], columns, options.importances)
    order = np.argsort(sample.numbers)
    numeric = {
        name: surveys[name].numbers.sample[order]
        for name, of in bins.items()
        if name != options.output and isinstance(of, NumericBins)
    }
    bounds = _block_bounds(rows)
    held_out = _is_held_out(sample.numbers[order], bounds)
    components, note = _derive({name: values[~held_out] for name, values in numeric.items()}, columns)
    notes.extend(note)
    if components is not None:
        errors = components.errors([numeric[name][held_out] for name in components.inputs])
        bins[RECONSTRUCTION_ERROR] = _error_bins(errors, options.bins)
        types[RECONSTRUCTION_ERROR] = "float"
    tallies = _count(bins, components, chunks, bounds, outcomes)
    features = []
    for name, tally in tallies.items():
        feature = Feature(
            name=name,
            role=_role(name, options.output, components),
            type=types[name],
            bins=bins[name],
            counts=tuple(tally.blocks.sum(axis=0).tolist()),
            violations=tuple(tally.violations.tolist()),
            dispersion=dispersion(tally.blocks),
            importance=importances.get(name),
            **about.get(name, {}),
        )
        features.append(feature)
        notes.extend(f"column {name!r} {note}" for note in _notes(feature))
    calibration = None if outcomes is None else outcomes.tally.calibration()
    notes.extend(_calibration_builder.notes(calibration))
    baseline = Baseline(
        model_name=options.model,
        model_version=options.version,
        rows=rows,
        features=tuple(features),
        principal_components=components,
        calibration=calibration,
        ignored_columns=tuple(name for name in columns if name in ignored),
    )
    return baseline, tuple(notes)


def _role(name: str, output: str | None, components: PrincipalComponents | None) -> Role:
    if name == output:
        return "output"
    # Where there are components, no column of the data has the derived feature's name.
    return "derived" if name == RECONSTRUCTION_ERROR and components is not None else "input"


def dispersion(blocks: Counts) -> float:
    """Return how many times more blocks of rows differ than blocks of independent rows would; at least 1.

    Between two independent samples of n and m rows over B bins PSI is about (1/n + 1/m) times chi-square
    with B - 1 degrees of freedom (B. Yurdakul, "Statistical Properties of Population Stability Index",
    Western Michigan University, 2018), so its mean is (1/n + 1/m)(B - 1). Each block is compared with all
    other rows, and the mean over the blocks of PSI over that mean is returned. A mean that chance alone would
    explain (within two of its standard deviations) is returned as 1.

    Rows that come in clusters of k equal ones give about k, the design effect of survey sampling: within
    10 % where a block holds a hundred clusters and no bin is rare. With ten clusters per block it is up to
    twice k; where a bin holds less than one row of a block, less than k.

    Args:
        blocks: shape (blocks, bins), observations of consecutive blocks of rows in each bin.
    """
    total = blocks.sum(axis=0)
    rows = int(total.sum())
    degrees = int(np.count_nonzero(total)) - 1
    if len(blocks) < 2 or not degrees:  # noqa: PLR2004 - nothing to compare
        return 1.0
    ratios = []
    for block in blocks:
        size = int(block.sum())
        by_chance = (1 / size + 1 / (rows - size)) * degrees
        ratios.append(psi(block, total - block) / by_chance)
    mean = float(np.mean(ratios))
    if mean <= 1 + 2 * math.sqrt(2 / ((len(blocks) - 1) * degrees)):
        return 1.0
    # Rounded so that the last bits of a platform's logarithm do not change a baseline's identity.
    return round(mean, 3)


# --- Frames ----------------------------------------------------------------------------------------


def column_names(frame: Any) -> tuple[str, ...]:  # noqa: ANN401 - a frame of any library
    """Return a frame's column names in their order.

    Raises:
        BaselineError: it is no frame, or its names are no text or not unique.
    """
    if isinstance(frame, Mapping):
        names = list(frame)
    elif hasattr(frame, "column_names"):
        names = list(frame.column_names)
    elif hasattr(frame, "columns") and hasattr(frame, "__getitem__"):
        names = list(frame.columns)
    else:
        msg = (
            f"a {type(frame).__name__} is no frame; pass a pandas or polars DataFrame, a pyarrow Table, "
            "or a dict of columns"
        )
        raise BaselineError(msg)
    for number, name in enumerate(names, 1):
        if not isinstance(name, str):
            msg = f"column {name!r}: its name is no text; rename it to what the model's inputs are called"
            raise BaselineError(msg)
        if not name:
            msg = f"column number {number} has no name (an index that pandas wrote?); name it or remove it"
            raise BaselineError(msg)
        if not is_name(name):
            msg = f"column {name[:40]!r}...: its name is longer than {MAX_NAME_LENGTH} characters or no valid Unicode"
            raise BaselineError(msg)
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        msg = f"column {twice[0]!r} stands twice; rename or remove one of the two"
        raise BaselineError(msg)
    return tuple(names)


def _column(frame: Any, name: str) -> tuple[NDArray[Any], Whole | None]:  # noqa: ANN401 - a frame of any library
    """Return a column's values, shape (n,), and its type where the frame knows more than the values show."""
    try:
        values = frame.column(name) if hasattr(frame, "column_names") else frame[name]
        array = _array(values)
    except Exception as error:
        msg = f"column {name!r}: cannot be read ({type(error).__name__}: {str(error)[:200]}); exclude it"
        raise BaselineError(msg) from error
    if array.ndim == 2 and array.dtype.kind in "fiu":  # noqa: PLR2004 - embeddings, as some libraries give them
        rows = np.empty(len(array), dtype=object)
        rows[:] = list(array)
        array = rows
    if array.ndim != 1:
        msg = f"column {name!r}: has the shape {array.shape}; a column must have one value per row"
        raise BaselineError(msg)
    text = str(getattr(values, "dtype", getattr(values, "type", ""))).lower()
    # Integers and booleans with missing values among them become floats or objects in numpy.
    declared: Whole | None = None
    if _INTEGER_TYPE.match(text):
        declared = "integer"
    elif text.startswith("bool"):
        declared = "boolean"
    return array, declared


def _array(values: Any) -> NDArray[Any]:  # noqa: ANN401 - a column of any library
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "type") and hasattr(values, "null_count"):  # pyarrow, which refuses to copy unless it is told to
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy())
    items = list(values)
    # numpy would make text of numbers beside text, and floats of integers beside None.
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


# --- First pass ------------------------------------------------------------------------------------


class _RowSample:
    """Chooses a uniform sample of at most `SAMPLE_LIMIT` rows by their numbers alone.

    Every row has a pseudo-random priority, made from its number; the rows of least priority are the sample
    ("bottom-k"). So it does not depend on how the rows came, and is always the same.

    Attributes:
        rows: how many rows were offered.
        numbers: numbers of the rows in the sample, from 0, in the order in which the sample holds them.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.numbers = np.empty(0, dtype=np.uint64)
        self._priorities = np.empty(0, dtype=np.uint64)

    def offer(self, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
        """Take the next rows.

        Returns:
            Which of the new rows to append to the sample, and then which of the sample to keep (None: all).
        """
        numbers = np.arange(self.rows, self.rows + size, dtype=np.uint64)
        self.rows += size
        priorities = _mixed(numbers)
        if len(self._priorities) >= SAMPLE_LIMIT:
            chosen = np.flatnonzero(priorities < self._priorities.max())
        else:
            chosen = np.arange(size)
        self._priorities = np.concatenate([self._priorities, priorities[chosen]])
        self.numbers = np.concatenate([self.numbers, numbers[chosen]])
        keep = None
        if len(self._priorities) > SAMPLE_LIMIT:
            keep = np.argpartition(self._priorities, SAMPLE_LIMIT - 1)[:SAMPLE_LIMIT]
            self._priorities = self._priorities[keep]
            self.numbers = self.numbers[keep]
        return chosen, keep


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Map each number to a pseudo-random one, no two to the same (the finalizer of SplitMix64)."""
    with np.errstate(over="ignore"):
        mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(slots=True)
class _Range:
    """The range of a column of numbers, and its values in the sampled rows, NaN where there is none."""

    minimum: float = math.inf
    maximum: float = -math.inf
    sample: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def add(self, numbers: NDArray[np.float64], chosen: NDArray[np.intp], keep: NDArray[np.intp] | None) -> None:
        """Take the values in the next rows."""
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            self.minimum = min(self.minimum, float(finite.min()))
            self.maximum = max(self.maximum, float(finite.max()))
        self.sample = np.concatenate([self.sample, numbers[chosen]])
        if keep is not None:
            self.sample = self.sample[keep]


class _Vectors:
    """The mean of a column of embeddings, and a sample of them.

    Attributes:
        dimensions: of the first one; 0 before.
        fitting: how many have as many, all of them finite and none of them huge.
    """

    def __init__(self) -> None:
        self.dimensions = 0
        self.fitting = 0
        self._sum = np.empty(0)
        self._sample = np.empty((0, 0))
        self._priorities = np.empty(0, dtype=np.uint64)

    def add(self, values: NDArray[Any], rows: range) -> None:
        """Take the values of the next rows."""
        if not self.dimensions:
            first = next(vector for vector in map(vector_of, values) if vector is not None)
            self.dimensions = len(first)
            if self.dimensions > MAX_DIMENSIONS:
                return
            self._sum = np.zeros(self.dimensions)
            self._sample = np.empty((0, self.dimensions))
        if self.dimensions > MAX_DIMENSIONS:
            return
        vectors, _ = vectors_of(values, self.dimensions)
        fitting = (np.abs(vectors) <= _LARGEST_COORDINATE).all(axis=1)
        self.fitting += int(np.count_nonzero(fitting))
        self._sum += vectors[fitting].sum(axis=0)
        priorities = _mixed(np.arange(rows.start, rows.stop, dtype=np.uint64)[fitting])
        self._priorities = np.concatenate([self._priorities, priorities])
        self._sample = np.concatenate([self._sample, vectors[fitting]])
        if len(self._priorities) > _SAMPLED_VECTORS:
            keep = np.argsort(self._priorities)[:_SAMPLED_VECTORS]
            self._priorities, self._sample = self._priorities[keep], self._sample[keep]

    def bins(self, number: int) -> DistanceBins:
        """Fix the bins: the range is that of the sample, with as much again on either side."""
        mean = self._sum / self.fitting
        # Rounded, so that the order in which the chunks are summed does not change a baseline's identity.
        scale = float(np.abs(mean).max()) or 1.0
        centroid = tuple((mean.round(_DIGITS - math.floor(math.log10(scale))) + 0.0).tolist())
        of = DistanceBins(centroid, (), 0.0, 0.0)
        distances = of.distances(self._sample)[0].round(_DIGITS)
        edges = quantile_edges(distances, number, whole=False)
        largest = float(distances.max())
        return DistanceBins(centroid, tuple(edge for edge in edges if edge < largest), 0.0, 2 * largest)


@dataclass(slots=True)
class _Survey:
    """What the first pass finds out about one column."""

    options: Options
    categorical: bool
    kinds: Counter[Kind] = field(default_factory=Counter)
    numbers: _Range = field(default_factory=_Range)
    lengths: _Range = field(default_factory=_Range)
    tally: Counter[str] = field(default_factory=Counter)
    times_as_text: int = 0
    vectors: _Vectors = field(default_factory=_Vectors)

    def add(
        self,
        values: NDArray[Any],
        declared: Whole | None,
        rows: range,
        chosen: NDArray[np.intp],
        keep: NDArray[np.intp] | None,
    ) -> None:
        """Take the column's values in the next rows."""
        numbers = self._note_kinds(values, declared)
        if numbers is None:
            numbers = np.full(len(values), np.nan)
        self.numbers.add(numbers, chosen, keep)
        if self.kinds["vector"]:
            self.vectors.add(values, rows)
        texts = values.dtype.kind not in "fiubmM" and declared is None
        if texts or self.categorical:
            categories = tally_categories(values)
            self.times_as_text += sum(number for category, number in categories.items() if _is_time(category))
            self._add_categories(categories)
        self.lengths.add(lengths_of(values)[0] if texts else np.full(len(values), np.nan), chosen, keep)

    def _note_kinds(self, values: NDArray[Any], declared: Whole | None) -> NDArray[np.float64] | None:
        """Count the values that are not missing by kind; return them as numbers where any could be one."""
        code = values.dtype.kind
        if code in "mM":
            self.kinds["time" if code == "M" else "other"] += int(np.count_nonzero(~np.isnat(values)))
            return None
        if code in "SV":
            self.kinds["other"] += len(values)
            return None
        if code in "fiub" or declared is not None:
            numbers, wrong_type = numbers_of(values)
            by_code: dict[str, Kind] = {"b": "boolean", "i": "integer", "u": "integer"}
            kind: Kind = declared or by_code.get(code, "float")
            self.kinds[kind] += len(numbers) - int(np.count_nonzero(np.isnan(numbers)))
            self.kinds["other"] += wrong_type
            return numbers
        column = values.tolist()
        types = Counter(map(type, column))
        types.pop(type(None), None)
        if set(types) <= {str}:
            self.kinds["string"] += types[str]
            return None
        for value in column:
            kind_of = _kind_of(value)
            if kind_of is not None:
                self.kinds[kind_of] += 1
        return numbers_of(values)[0]

    def _add_categories(self, categories: Counter[str]) -> None:
        """Add to the tally, which stays bounded by the algorithm of Misra and Gries.

        Once there are more than `_TALLY_LIMIT` categories, all counts are lowered until some reach zero. A
        category's count is then too small by at most the rows over `_TALLY_LIMIT` (P. K. Agarwal et al.,
        "Mergeable summaries", ACM TODS 38, 2013).
        """
        for category, number in categories.items():
            if is_category(category):
                self.tally[category] += number
        if len(self.tally) > _TALLY_LIMIT:
            cut = sorted(self.tally.values(), reverse=True)[_TALLY_LIMIT]
            self.tally = Counter({category: n - cut for category, n in self.tally.items() if n > cut})

    def feature_type(self) -> FeatureType | None:
        """The type of most values; None where the column cannot be watched."""
        kinds = self.kinds
        numbers = kinds["boolean"] + kinds["integer"] + kinds["float"]
        most = max(numbers, kinds["string"], kinds["time"], kinds["vector"], kinds["other"])
        if not most:
            return None
        if numbers == most:
            watchable = self.categorical or math.isfinite(self.numbers.minimum)
            number: FeatureType = "float" if kinds["float"] else "integer" if kinds["integer"] else "boolean"
            return number if watchable else None
        if kinds["string"] == most:
            return self._text_type()
        if kinds["vector"] == most:
            return "embedding" if self.vectors.fitting else None
        return "time" if kinds["time"] == most else None

    def _text_type(self) -> FeatureType:
        if self.categorical:
            return "string"
        if self.times_as_text > self.kinds["string"] / 2:  # as a column that a reader of CSV files takes for text
            return "time"
        return "text" if self._is_free_text() else "string"

    def _is_free_text(self) -> bool:
        """Tell whether hardly a value is in a category that is frequent enough to be listed, as in ids and comments.

        The longest texts are in no tally at all.
        """
        return sum(number for _, number in self._listed()) < self.kinds["string"] * _FREE_TEXT_SHARE

    def _listed(self) -> list[tuple[str, int]]:
        """The categories that are written into the baseline, most frequent first, with their counts."""
        least = self.options.min_category_count
        frequent = [(category, number) for category, number in self.tally.items() if number >= least]
        frequent.sort(key=lambda item: (-item[1], item[0]))
        return frequent[:_VOCABULARY_LIMIT]

    def why_not(self) -> str:
        """Say why the column cannot be watched."""
        if not self.kinds.total():
            return "has no values"
        if self.kinds["vector"]:
            return f"holds embeddings of more than {MAX_DIMENSIONS} dimensions, or of none that is finite"
        if self.kinds["other"]:
            return "holds neither numbers nor text nor times nor embeddings"
        return "has no finite numbers"

    def notes(self, feature_type: FeatureType) -> Iterator[str]:
        """Say what is odd about a column that can be watched."""
        kinds = self.kinds
        if feature_type in {"string", "text"}:
            # Numbers without a fraction name categories; they are no free text.
            fitting = kinds["string"] + (kinds["boolean"] + kinds["integer"] if feature_type == "string" else 0)
            what = "text"
        elif feature_type == "embedding":
            fitting, what = self.vectors.fitting, f"embeddings of {self.vectors.dimensions} dimensions"
        elif feature_type == "time":
            fitting = kinds["time"] + self.times_as_text + kinds["integer"] + kinds["float"]
            what = "times"
        else:
            fitting, what = kinds["boolean"] + kinds["integer"] + kinds["float"], "numbers"
        if strange := kinds.total() - fitting:
            yield f"holds {what}, but {strange} of its values are not; they count as violations of the type"

    def bins(self, feature_type: FeatureType) -> Bins:
        """Fix the column's bins."""
        if feature_type == "time":
            return TimeBins()
        if feature_type == "embedding":
            return self.vectors.bins(self.options.bins)
        if feature_type == "string" or self.categorical:
            return self._category_bins()
        if feature_type == "boolean":
            return NumericBins(edges=(0.0,), minimum=0.0, maximum=1.0, whole=True)
        found = self.lengths if feature_type == "text" else self.numbers
        values = found.sample[np.isfinite(found.sample)]
        edges = quantile_edges(values, self.options.bins, whole=feature_type in {"integer", "text"})
        edges = tuple(edge for edge in edges if edge < found.maximum)
        minimum, maximum = found.minimum + 0.0, found.maximum + 0.0
        if feature_type == "text":
            return LengthBins(edges, minimum, maximum)
        return NumericBins(edges, minimum, maximum, whole=feature_type in WHOLE)

    def _category_bins(self) -> CategoryBins:
        vocabulary = tuple(category for category, _ in self._listed())
        return CategoryBins(vocabulary=vocabulary, size=min(len(vocabulary), _LABELLED_CATEGORIES))


def _kind_of(value: object) -> Kind | None:
    """Return the kind of one value of a column of objects; None where it is missing."""
    kind = type(value)
    if kind is str:
        return "string"
    if kind is bool or kind is np.bool_:
        return "boolean"
    if kind is int or (issubclass(kind, np.integer) and not issubclass(kind, np.timedelta64)):
        return "integer"
    # A missing time is an instance of datetime, too; as a number it is NaN.
    numbers, wrong_type = numbers_of([value])
    if not wrong_type:
        return None if np.isnan(numbers[0]) else "float"
    if issubclass(kind, str | date | np.datetime64):
        return "string" if issubclass(kind, str) else "time"
    return "other" if vector_of(value) is None else "vector"


def _is_time(text: str) -> bool:
    """Tell whether a text is an ISO 8601 date, or date and time."""
    if not _DATE.match(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def quantile_edges(sample: NDArray[np.float64], bins: int, *, whole: bool) -> tuple[float, ...]:
    """Choose inner edges so that the bins hold equal shares of the sample, as far as equal values allow.

    The edges are the 1/bins, ... (bins-1)/bins quantiles. A value on which two or more of them fall, or
    which is the largest, has so large a share that it gets a bin to itself: the next smaller value is an
    edge, too.

    Args:
        sample: shape (n,), finite.
        bins: how many bins there are at most.
        whole: the values are whole numbers, and so are the edges.
    """
    if not sample.size:
        return ()
    ordered = np.sort(sample)
    # The smallest value that at least that share of the sample does not exceed: always a value that occurs.
    positions = -(-np.arange(1, bins) * len(ordered) // bins) - 1
    quantiles, repeats = np.unique(ordered[positions], return_counts=True)
    largest = ordered[-1]
    chosen: set[float] = set()
    for value, repeat in zip(quantiles.tolist(), repeats.tolist(), strict=True):
        if value < largest:
            chosen.add(value)
        below = int(np.searchsorted(ordered, value, side="left"))
        if below and (repeat > 1 or value == largest):
            chosen.add(float(ordered[below - 1]))
    edges = []
    for value in sorted(chosen):
        following = float(ordered[np.searchsorted(ordered, value, side="right")])
        edges.append(value + 0.0 if whole else _short_number_between(value, following))
    return tuple(edges)


def _short_number_between(low: float, high: float) -> float:
    """Return a number of few digits in [low, high), near their middle.

    An edge that is itself a value of the data would tell apart 0.1 and the same 0.1 in single precision.
    """
    middle = low / 2 + high / 2
    for digits in range(1, 17):
        number = float(f"{middle:.{digits}g}")
        if low < number < high:
            return number + 0.0
    return low + 0.0


def _survey(names: Sequence[str], chunks: Chunks, options: Options) -> tuple[dict[str, _Survey], _RowSample]:
    surveys = {name: _Survey(options, categorical=options.is_categorical(name)) for name in names}
    sample = _RowSample()
    for frame in chunks():
        size = -1
        chosen, keep = np.empty(0, dtype=np.intp), None
        for name, survey in surveys.items():
            values, declared = _column(frame, name)
            if size < 0:
                size = len(values)
                chosen, keep = sample.offer(size)
            elif len(values) != size:
                msg = f"column {name!r}: has {len(values)} values, other columns have {size}"
                raise BaselineError(msg)
            survey.add(values, declared, range(sample.rows - size, sample.rows), chosen, keep)
    return surveys, sample


def _derive(
    samples: Mapping[str, NDArray[np.float64]], columns: Sequence[str]
) -> tuple[PrincipalComponents | None, tuple[str, ...]]:
    """Find the principal components that explain most of the variance of the numeric inputs.

    At least one direction is left out, since otherwise nothing would ever be left of a row.

    Args:
        samples: the inputs' values in the rows to fit, shape (n,) each, in the same order of rows.
        columns: names of all columns of the data.

    Returns:
        The components, None where there is too little data for them, and notes for people.
    """
    spreads: dict[str, tuple[float, float]] = {}
    for name, sample in samples.items():
        spread = _spread(sample[np.isfinite(sample)])
        if spread is not None:
            spreads[name] = spread
    rows = min(map(len, samples.values()), default=0)
    if len(spreads) < 2 or rows < _MIN_FITTED_ROWS:  # noqa: PLR2004 - one input has no correlation
        return None, ()
    if RECONSTRUCTION_ERROR in columns:
        note = (
            f"column {RECONSTRUCTION_ERROR!r} has the name of the feature that windvane derives from the numeric "
            "inputs to see drift of their correlations, which is left out; rename the column to have it"
        )
        return None, (note,)
    names = tuple(spreads)[:MAX_INPUTS]
    notes: tuple[str, ...] = ()
    if len(names) < len(spreads):
        notes = (f"feature {RECONSTRUCTION_ERROR!r} covers the first {len(names)} of {len(spreads)} numeric inputs",)
    moments = np.zeros((len(names), len(names)))
    for start in range(0, rows, _SLICE_ROWS):
        block = np.array([standardize(samples[name][start : start + _SLICE_ROWS], *spreads[name]) for name in names])
        moments += block @ block.T
    variances, directions = np.linalg.eigh(moments / rows)
    explained = np.cumsum(variances[::-1]) / variances.sum()
    kept = min(int(np.searchsorted(explained, _EXPLAINED_SHARE - 1e-9)) + 1, len(names) - 1)
    # Rounded, so that the last bits of a platform's linear algebra do not change a baseline's identity; their
    # sign means nothing, and is that which makes the largest coordinate positive.
    rounded = directions[:, ::-1].T[:kept].round(_DIGITS)
    signs = np.sign(np.take_along_axis(rounded, np.abs(rounded).argmax(axis=1, keepdims=True), axis=1))
    return (
        PrincipalComponents(
            inputs=names,
            means=tuple(spreads[name][0] for name in names),
            scales=tuple(spreads[name][1] for name in names),
            components=tuple(tuple(component) for component in (rounded * signs + 0.0).tolist()),
        ),
        notes,
    )


def _spread(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return mean and standard deviation, rounded; None where the values do not vary, or too far to be told."""
    if not values.size:
        return None
    with np.errstate(all="ignore"):
        mean, scale = float(values.mean()), float(values.std())
    # Below, a double has hardly a digit that varies.
    if not (math.isfinite(mean) and _SMALLEST_SCALE < scale < math.inf and scale > abs(mean) * 1e-12):
        return None
    return round(mean, _DIGITS - math.floor(math.log10(scale))) + 0.0, float(f"{scale:.{_DIGITS}g}")


def _error_bins(errors: NDArray[np.float64], bins: int) -> NumericBins:
    """Fix the bins of the derived feature; its range is all that it can be, since the inputs' ranges are watched."""
    # Inputs of which one determines the others have no error at all, until they cease to.
    edges = quantile_edges(errors, bins, whole=False) or (float(errors.max()),)
    return NumericBins(edges=edges, minimum=0.0, maximum=MAX_ERROR)


# --- Second pass -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Tally:
    """Counts of one feature by block of rows, shape (blocks, bins), and its violations, shape (kinds,)."""

    blocks: Counts
    violations: Counts


def _block_bounds(rows: int) -> NDArray[np.intp]:
    """Cut the rows into blocks of equal size; return where each begins, and at last where the rows end."""
    number = max(1, min(_MAX_BLOCKS, rows // _MIN_BLOCK_ROWS))
    return np.arange(number + 1) * rows // number


def _is_held_out(numbers: NDArray[Any], bounds: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Tell which rows the principal components are not fitted to: the second half of each block.

    Components leave less of the rows that they were fitted to than of any others, such as those of live
    traffic. So the reconstruction errors of the other rows alone are counted. Halves of blocks, and not rows
    at random, since neighbours may have much in common.
    """
    block = np.searchsorted(bounds, numbers, side="right") - 1
    return np.asarray(numbers >= ((bounds[:-1] + bounds[1:]) // 2)[block])


class _Outcomes(NamedTuple):
    """What adds outcomes up, and the columns that it takes."""

    tally: _calibration_builder.Tally
    columns: _calibration_builder.Columns

    def add(self, frame: Any) -> None:  # noqa: ANN401 - a frame of any library
        output, actual, probabilities = self.columns
        self.tally.add(
            _column(frame, output)[0], _column(frame, actual)[0], [_column(frame, name)[0] for name in probabilities]
        )


def _outcome_tally(options: Options, surveys: Mapping[str, _Survey]) -> _Outcomes | None:
    if options.output is None or options.actual is None or options.outcomes is None:
        return None
    columns = _calibration_builder.Columns(options.output, options.actual, options.probabilities)
    sample = surveys[options.output].numbers.sample
    return _Outcomes(_calibration_builder.tally(options.outcomes, columns, sample, options.min_category_count), columns)


def _count(
    bins: Mapping[str, Bins],
    components: PrincipalComponents | None,
    chunks: Chunks,
    bounds: NDArray[np.intp],
    outcomes: _Outcomes | None,
) -> dict[str, _Tally]:
    rows = int(bounds[-1])
    tallies = {
        name: _Tally(
            np.zeros((len(bounds) - 1, len(feature.labels)), dtype=np.int64),
            np.zeros(len(semconv.VIOLATION_KIND.values), dtype=np.int64),
        )
        for name, feature in bins.items()
    }
    inputs = components.inputs if components is not None else ()
    start = 0
    for frame in chunks():
        size = 0
        kept: dict[str, NDArray[Any]] = {}
        for name, feature in bins.items():
            if components is not None and name == RECONSTRUCTION_ERROR:
                continue
            values, _ = _column(frame, name)
            size = len(values)
            if start + size > rows:
                _changed()
            if name in inputs:
                kept[name] = values
            _count_blocks(tallies[name], feature, values, np.arange(start, start + size), bounds)
        if components is not None:
            for low in range(0, size, _SLICE_ROWS):
                numbers = np.arange(start + low, start + min(low + _SLICE_ROWS, size))
                held_out = _is_held_out(numbers, bounds)
                columns = [numbers_of(kept[name][low : low + _SLICE_ROWS])[0][held_out] for name in inputs]
                tally, of = tallies[RECONSTRUCTION_ERROR], bins[RECONSTRUCTION_ERROR]
                _count_blocks(tally, of, components.errors(columns), numbers[held_out], bounds)
        if outcomes is not None:
            outcomes.add(frame)
        start += size
    if start != rows:
        _changed()
    return tallies


def _count_blocks(
    tally: _Tally, feature: Bins, values: NDArray[Any], numbers: NDArray[np.intp], bounds: NDArray[np.intp]
) -> None:
    """Count values of rows by the blocks that the rows are in.

    Args:
        tally: what is counted so far.
        feature: how to count.
        values: shape (n,).
        numbers: shape (n,), ascending numbers of the rows.
        bounds: where the blocks begin.
    """
    cuts = np.searchsorted(numbers, bounds)
    for block, (low, high) in enumerate(pairwise(cuts.tolist())):
        if high > low:
            counts, violations = feature.count(values[low:high])
            tally.blocks[block] += counts
            tally.violations += violations


def _changed() -> NoReturn:
    msg = "the data changed while it was read; copy it first"
    raise BaselineError(msg)


def _notes(feature: Feature) -> Iterator[str]:
    """Say which features can hardly be watched."""
    if isinstance(feature.bins, LengthBins):
        yield (
            "holds free text or identifiers, of which only the lengths are watched. Unless that will do, leave it out "
            f"with --exclude {feature.name} (exclude=[{feature.name!r}])"
        )
    if not isinstance(feature.bins, CategoryBins):
        return
    present = feature.rows - feature.counts[feature.bins.labels.index(semconv.BIN_NULL)]
    unlisted = feature.violations[semconv.VIOLATION_KIND.values.index("category")]
    if unlisted > present / 2:
        yield (
            f"has {unlisted / present:.0%} of its values outside its {len(feature.bins.vocabulary)} listed "
            "categories, so it is watched only coarsely. Unless that will do, leave it out with "
            f"--exclude {feature.name} (exclude=[{feature.name!r}])"
        )


# --- Options ---------------------------------------------------------------------------------------


def _check(columns: Sequence[str], options: Options) -> None:
    try:
        check_model_name(options.model)
        check_model_version(options.version)
    except DeclarationError as error:
        raise BaselineError(str(error)) from error
    for option, names in (("exclude", options.exclude), ("categorical", options.categorical)):
        for name in names:
            _check_column(option, name, columns)
    if options.output is not None:
        _check_column("output", options.output, columns)
        if options.output in options.exclude:
            msg = f"output {options.output!r}: is excluded; leave it out of one of the two"
            raise BaselineError(msg)
    _check_outcomes(columns, options)
    if not 2 <= options.bins <= 100:  # noqa: PLR2004 - two digits label the bins
        msg = f"bins: {options.bins!r}; take 2 to 100"
        raise BaselineError(msg)
    if options.min_category_count < 1:
        msg = f"min_category_count: {options.min_category_count!r}; take 1 or more"
        raise BaselineError(msg)


def _check_outcomes(columns: Sequence[str], options: Options) -> None:
    if options.actual is None:
        if options.outcomes is not None or options.probabilities:
            msg = "outcomes: they need the column of what came true; name it as `actual`"
            raise BaselineError(msg)
        return
    if options.outcomes is None or options.output is None:
        msg = (
            f"actual {options.actual!r}: what came true is compared with what was predicted; name the column of that "
            "as `output`, and say what it predicts, such as outcomes=windvane.Outcomes('binary')"
        )
        raise BaselineError(msg)
    if options.probabilities and options.outcomes.kind != "multiclass":
        msg = f"probabilities: are for the kind 'multiclass', not {options.outcomes.kind!r}; leave them out"
        raise BaselineError(msg)
    of_outcomes = (options.output, options.actual, *options.probabilities)
    for name in of_outcomes[1:]:
        _check_column("actual" if name == options.actual else "probabilities", name, columns)
        if name in options.exclude:
            msg = f"exclude {name!r}: its outcomes are wanted, and it is not watched anyway; do not exclude it"
            raise BaselineError(msg)
    twice = next((name for name, number in Counter(of_outcomes).items() if number > 1), None)
    if twice is not None:
        msg = f"column {twice!r}: must be one of output, actual and probabilities only; name another column"
        raise BaselineError(msg)


def _check_column(option: str, name: str, columns: Sequence[str]) -> None:
    if name in columns:
        return
    close = difflib.get_close_matches(name, columns, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(columns[:20])}"
    msg = f"{option} {name!r}: the data has no such column; {hint}"
    raise BaselineError(msg)


def _is_object(fields: object) -> bool:
    return isinstance(fields, Mapping)  # they may come from a JSON file


def _about(columns: Sequence[str], about: Mapping[str, Mapping[str, str]] | None) -> dict[str, dict[str, str]]:
    """Check what is told about the columns; the features check the texts."""
    told: dict[str, dict[str, str]] = {}
    for name, fields in (about or {}).items():
        _check_column("about", name, columns)
        if not _is_object(fields) or not set(fields) <= set(ABOUT):
            msg = f"about {name!r}: must have any of {', '.join(ABOUT)}, such as {{'unit': 'km'}}"
            raise BaselineError(msg)
        told[name] = dict(fields)
    return told


def _importances(
    inputs: Sequence[str], columns: Sequence[str], importances: Mapping[str, float] | None
) -> dict[str, float]:
    """Scale the importances of the inputs to sum to 1."""
    if not importances:
        return {}
    for name, value in importances.items():
        _check_column("importances", name, columns)
        number = numbers_of([value])[0][0]  # they may come from a JSON file
        if not 0 <= number < math.inf:
            msg = f"importances {name!r}: {value!r} is no finite number of at least 0"
            raise BaselineError(msg)
    absent = [name for name in inputs if name not in importances]
    if absent:
        msg = f"importances: {', '.join(map(repr, absent[:5]))} have none; give all inputs one (0 is allowed) or none"
        raise BaselineError(msg)
    total = math.fsum(float(importances[name]) for name in inputs)
    if total <= 0 or not math.isfinite(total):
        msg = "importances: their sum is 0 or not finite; give at least one input a share"
        raise BaselineError(msg)
    return {name: float(importances[name]) / total for name in inputs}
