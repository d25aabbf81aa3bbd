"""Makes a calibration of outputs and what came true of them, chunk by chunk, in bounded memory.

Rows are added up in cells of neighbouring predictions, so that nothing is sorted and no row is kept; the knots are
made of the cells. Scores have the same cells everywhere, numbers those of the quantiles of a sample.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np

from windvane import semconv
from windvane.bins import _as_list, category_of, numbers_of
from windvane.calibration import (
    MAX_KNOTS,
    Calibration,
    ClassCalibration,
    Knots,
    NumberCalibration,
    ScoreCalibration,
    single,
)
from windvane.errors import BaselineError
from windvane.outcomes import MAX_CLASSES, SCORE_BINS, class_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from windvane.outcomes import Outcomes

__all__ = ["Columns", "Tally", "isotonic", "notes", "tally"]

_MIN_ROWS: Final = 100
_FEW_ROWS: Final = 1000
_MIN_ERROR_ROWS: Final = 50
"""Rows that an expected error is at least the mean of: with so many it is off by about a tenth."""
_MAX_CLASS_PAIRS: Final = 100_000
_DIGITS: Final = 6
_SUM_DIGITS: Final = 12

_TAIL: Final = np.geomspace(1e-5, 1e-3, 100, endpoint=False)
_SCORE_EDGES: Final = np.unique(np.concatenate([_TAIL, np.linspace(0.001, 0.999, 999), 1 - _TAIL]))
"""Edges between the cells of scores: thousandths, finer towards 0 and 1, where the scores of rare events are."""

_TRUTHS: Final = {"0": 0.0, "false": 0.0, "1": 1.0, "true": 1.0}


class Columns(NamedTuple):
    """Which columns of the data a calibration is made of."""

    output: str
    actual: str
    probabilities: tuple[str, ...] = ()


class Tally(Protocol):
    """Adds rows up to a calibration."""

    def add(self, outputs: NDArray[Any], actuals: NDArray[Any], probabilities: Sequence[NDArray[Any]]) -> None:
        """Add rows, each column of shape (n,); those whose output or actual is missing are left out."""
        ...

    def calibration(self) -> Calibration:
        """Make the calibration.

        Raises:
            BaselineError: there are too few rows, or none that could be an outcome.
        """
        ...


def tally(outcomes: Outcomes, columns: Columns, sample: NDArray[np.float64], min_count: int) -> Tally:
    """Return what adds rows up.

    Args:
        outcomes: what the output predicts.
        columns: which columns are added.
        sample: the output in a sample of all rows, NaN where it is no number.
        min_count: rows that must have a class, or a knot, at least.

    Raises:
        BaselineError: there is no calibration of that kind.
    """
    if outcomes.kind == "binary" and outcomes.threshold is not None:
        return _ScoreTally(outcomes.threshold, columns, min_count)
    if outcomes.kind == "multiclass":
        return _ClassTally(columns, min_count)
    if outcomes.kind == "regression":
        return _NumberTally(outcomes.tolerance, columns, sample)
    msg = f"outcomes: there is no calibration of the kind {outcomes.kind!r}; leave `actual` out"
    raise BaselineError(msg)


def notes(calibration: Calibration | None) -> list[str]:
    """Say what people should know of a calibration, where there is one."""
    if calibration is None:
        return []
    found = []
    if calibration.rows < _FEW_ROWS:
        found.append(f"the calibration is made of {calibration.rows} rows only; estimates of quality will be rough")
    if isinstance(calibration, ScoreCalibration) and not all(map(sum, calibration.scored)):
        found.append("the actual is the same in every row, so the same is expected of every score")
    return found


class _Cells:
    """Sums over rows, by cells of neighbouring predictions.

    Args:
        edges: between the cells, increasing.
        sums: how many further numbers are added up.
    """

    def __init__(self, edges: NDArray[np.float64], sums: int) -> None:
        self._edges = edges
        self._sums = np.zeros((2 + sums, len(edges) + 1))  # rows, predictions, and the further numbers

    def add(self, at: NDArray[np.float64], *numbers: NDArray[Any]) -> None:
        """Add rows: their predictions, shape (n,), and further numbers of each."""
        cells = np.searchsorted(self._edges, at)
        weights = (np.ones(len(at)), at, *numbers)
        self._sums += [np.bincount(cells, of_rows, self._sums.shape[1]) for of_rows in weights]

    def means(self, least: int) -> NDArray[np.float64]:
        """Return rows, mean prediction and mean of each further number, of cells of as many rows as asked at least.

        Cells with fewer are joined with those above them, the last with the one below.
        """
        starts, rows = [0], 0.0
        for cell, count in enumerate(self._sums[0].tolist()):
            if rows >= least:
                starts.append(cell)
                rows = 0.0
            rows += count
        if len(starts) > 1 and rows < least:
            starts.pop()
        joined = np.add.reduceat(self._sums, starts, axis=1)
        joined[1:] /= joined[0]
        return joined


class _ScoreTally:
    def __init__(self, threshold: float, columns: Columns, min_count: int) -> None:
        self._threshold = threshold
        self._columns = columns
        self._min_count = min_count
        self._cells = _Cells(_SCORE_EDGES, 1)
        self._classified = np.zeros((2, 2), dtype=np.int64)
        self._scored = np.zeros((2, SCORE_BINS), dtype=np.int64)

    def add(self, outputs: NDArray[Any], actuals: NDArray[Any], _probabilities: Sequence[NDArray[Any]]) -> None:
        numbers, truths = numbers_of(outputs)[0], _truths(actuals, self._columns.actual)
        usable = (numbers >= 0) & (numbers <= 1) & ~np.isnan(truths)
        scores, came_true = single(numbers[usable]), truths[usable].astype(np.intp)
        bins = np.minimum((scores * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
        np.add.at(self._classified, ((scores >= self._threshold).astype(np.intp), came_true), 1)
        np.add.at(self._scored, (came_true, bins), 1)
        self._cells.add(scores, came_true)

    def calibration(self) -> Calibration:
        _check_rows(int(self._scored.sum()), self._columns, "a score from 0 to 1")
        return ScoreCalibration(
            threshold=self._threshold,
            share=_isotonic_knots(self._cells.means(self._min_count)),
            classified=_table(self._classified),
            scored=_table(self._scored),
        )


class _ClassTally:
    def __init__(self, columns: Columns, min_count: int) -> None:
        if len(columns.probabilities) > MAX_CLASSES:
            msg = (
                f"probabilities: {len(columns.probabilities)} columns, at most {MAX_CLASSES} can be taken; leave them "
                "out, and the predicted class alone says what is to be expected"
            )
            raise BaselineError(msg)
        self._columns = columns
        self._min_count = min_count
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._cells = [_Cells(_SCORE_EDGES, 1) for _ in columns.probabilities]

    def add(self, outputs: NDArray[Any], actuals: NDArray[Any], probabilities: Sequence[NDArray[Any]]) -> None:
        predicted, actual = ([class_of(value) for value in _as_list(column)] for column in (outputs, actuals))
        usable = np.array([None not in pair for pair in zip(predicted, actual, strict=True)], dtype=bool)
        self._pairs.update(
            (ours, theirs)
            for ours, theirs in zip(predicted, actual, strict=True)
            if ours is not None and theirs is not None
        )
        if len(self._pairs) > _MAX_CLASS_PAIRS:
            names = f"{self._columns.output!r} and {self._columns.actual!r}"
            msg = f"outcomes: the columns {names} hold too many different values to be classes; name others"
            raise BaselineError(msg)
        tables = [numbers_of(column)[0] for column in probabilities]
        for table in tables:
            usable &= (table >= 0) & (table <= 1)
        labels = np.array(actual, dtype=object)
        for i, (table, cells) in enumerate(zip(tables, self._cells, strict=True)):
            cells.add(single(table[usable]), labels[usable] == str(i))

    def calibration(self) -> Calibration:
        _check_rows(self._pairs.total(), self._columns, "a class")
        classes = self._numbered() if self._cells else self._common()
        places = {name: i for i, name in enumerate(classes)}
        others = len(classes) - 1
        classified = np.zeros((len(classes), len(classes)), dtype=np.int64)
        right = [0] * len(classes)
        for (predicted, actual), number in self._pairs.items():
            place = places.get(predicted, others)
            classified[place, places.get(actual, others)] += number
            right[place] += number if predicted == actual != semconv.OTHER_CLASS else 0
        return ClassCalibration(
            classes=classes,
            classified=_table(classified),
            right=tuple(right),
            shares=tuple(self._knots(cells, i) for i, cells in enumerate(self._cells)),
        )

    def _knots(self, cells: _Cells, number: int) -> Knots:
        means = cells.means(self._min_count)
        if not means[0].sum() >= _MIN_ROWS:
            name = self._columns.probabilities[number]
            msg = f"probabilities {name!r}: fewer than {_MIN_ROWS} rows have numbers from 0 to 1; name other columns"
            raise BaselineError(msg)
        return _isotonic_knots(means)

    def _numbered(self) -> tuple[str, ...]:
        """Return the classes of probabilities."""
        names = tuple(map(str, range(len(self._cells))))
        strange = sum(number for pair, number in self._pairs.items() if not set(pair) <= set(names))
        if strange:
            msg = (
                f"probabilities: {strange} rows have another class than 0 to {len(names) - 1}, by the place of their "
                "columns; number the classes, or leave the probabilities out"
            )
            raise BaselineError(msg)
        return names

    def _common(self) -> tuple[str, ...]:
        """Return the classes that are frequent enough to be named, most frequent first, and that of all others."""
        predicted: Counter[str] = Counter()
        actual: Counter[str] = Counter()
        for (ours, theirs), number in self._pairs.items():
            predicted[ours] += number
            actual[theirs] += number
        frequent = [
            (-predicted[name] - actual[name], name)
            for name in predicted.keys() | actual.keys()
            if max(predicted[name], actual[name]) >= self._min_count and name != semconv.OTHER_CLASS
        ]
        named = [name for _, name in sorted(frequent)[:MAX_CLASSES]]
        if not named:
            msg = f"outcomes: no class occurs {self._min_count} times; name other columns, or add rows"
            raise BaselineError(msg)
        rest = (predicted.keys() | actual.keys()).difference(named)
        return (*named, semconv.OTHER_CLASS) if rest else tuple(named)


class _NumberTally:
    def __init__(self, tolerance: float | None, columns: Columns, sample: NDArray[np.float64]) -> None:
        self._tolerance = tolerance
        self._columns = columns
        finite = sample[np.isfinite(sample)]
        shares = np.linspace(0, 1, MAX_KNOTS + 1)[1:-1]
        edges = np.unique(np.quantile(finite, shares, method="inverted_cdf")) if finite.size else np.empty(0)
        self._cells = _Cells(edges, 2)
        self._rows = self._right = 0
        self._error = self._mean = self._squares = 0.0

    def add(self, outputs: NDArray[Any], actuals: NDArray[Any], _probabilities: Sequence[NDArray[Any]]) -> None:
        predicted, actual = numbers_of(outputs)[0], numbers_of(actuals)[0]
        with np.errstate(all="ignore"):
            usable = np.isfinite((predicted - actual) ** 2)
        predicted, actual = predicted[usable], actual[usable]
        if not predicted.size:
            return
        errors = np.abs(predicted - actual)
        right = errors <= self._tolerance if self._tolerance is not None else np.zeros(len(errors), dtype=bool)
        self._cells.add(predicted, errors, right)
        self._right += int(np.count_nonzero(right))
        self._error += float(errors.sum())
        # Sums of squares about the mean are joined by the formula of T. F. Chan, G. H. Golub and R. J. LeVeque,
        # "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
        rows, mean = len(actual), float(actual.mean())
        step = mean - self._mean
        total = self._rows + rows
        self._squares += float(((actual - mean) ** 2).sum()) + step * step * self._rows * rows / total
        self._mean += step * rows / total
        self._rows = total

    def calibration(self) -> Calibration:
        _check_rows(self._rows, self._columns, "a finite number")
        _, at, errors, right = self._cells.means(_MIN_ERROR_ROWS)
        # Rounded, so that the order in which the chunks are summed does not change a baseline's identity.
        places, kept = np.unique(_rounded(at), return_index=True)
        within = Knots(tuple(places.tolist()), _rounded(right[kept])) if self._tolerance is not None else None
        return NumberCalibration(
            tolerance=self._tolerance,
            absolute_error=Knots(tuple(places.tolist()), _rounded(errors[kept])),
            right=within,
            rows=self._rows,
            total_error=float(f"{self._error:.{_SUM_DIGITS}g}"),
            total_right=self._right,
            scale=float(f"{math.sqrt(self._squares / self._rows):.{_SUM_DIGITS}g}"),
        )


def isotonic(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sequence that never falls and is nearest to the values, by weighted least squares.

    By pooling adjacent violators (M. Ayer et al., "An empirical distribution function for sampling with incomplete
    information", Annals of Mathematical Statistics 26, 1955).

    Args:
        values: shape (n,).
        weights: shape (n,), above 0.

    Example:
        >>> isotonic(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist()
        [1.0, 2.5, 2.5]
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight and length
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            below, lighter, further = blocks.pop()
            mean = (below * lighter + mean * total) / (lighter + total)
            total, length = lighter + total, length + further
        blocks.append((mean, total, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])


def _isotonic_knots(means: NDArray[np.float64]) -> Knots:
    """Return the isotonic regression of what came true on the score, as at most 101 knots.

    Where it has more corners than that, the knots lie evenly along its rise and the rows. So between two of them it
    rises by 2 % of its whole rise at most, and nowhere are the knots further from it.

    Args:
        means: shape (3, cells): rows, mean score and share that came true.
    """
    rows, at, shares = means
    fitted = isotonic(shares, rows)
    level = np.flatnonzero(np.diff(fitted) == 0)
    corners = np.setdiff1d(np.arange(len(at)), np.intersect1d(level, level + 1))  # not those amid a level stretch
    at_corners, values = at[corners], fitted[corners]
    if len(corners) > MAX_KNOTS:
        rise = values[-1] - values[0]
        along = np.cumsum(rows)[corners] / rows.sum() + (values - values[0]) / rise
        at_corners = np.interp(np.linspace(along[0], along[-1], MAX_KNOTS), along, at_corners)
        values = np.interp(at_corners, at[corners], values)
    # Rounded, so that the order in which the chunks are summed does not change a baseline's identity.
    places, kept = np.unique(_rounded(at_corners), return_index=True)
    return Knots(tuple(places.tolist()), tuple(np.round(values[kept], _DIGITS).tolist()))


def _rounded(numbers: NDArray[np.float64] | Sequence[float]) -> tuple[float, ...]:
    return tuple(float(f"{number:.{_DIGITS}g}") for number in numbers)


def _truths(values: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Return 1 for what came true, 0 for what did not, NaN for what is missing."""
    truths, wrong_type = numbers_of(values)
    if wrong_type:
        categories = map(category_of, _as_list(values))
        truths = np.array([math.nan if text is None else _TRUTHS.get(text.lower(), 2.0) for text in categories])
    strange = int(np.count_nonzero(~np.isnan(truths) & (truths != 0) & (truths != 1)))
    if strange:
        msg = f"actual {name!r}: holds values that are neither true or false nor 1 or 0; name another column"
        raise BaselineError(msg)
    return truths


def _check_rows(rows: int, columns: Columns, what: str) -> None:
    if rows < _MIN_ROWS:
        msg = (
            f"actual {columns.actual!r}: {rows} rows have both {what} in {columns.output!r} and an actual; a "
            f"calibration needs {_MIN_ROWS} at least, and some thousands to be good"
        )
        raise BaselineError(msg)


def _table(counts: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts.tolist())
