"""Calibrations: how right the reference says that predictions will be, before any label arrives.

A baseline that was made with the actual outcomes of its rows holds one. The worker passes every prediction through it
and adds up, in fractions, the outcomes that are to be expected: a score of 0.7 that came true in 60 % of the reference
adds 0.6 to one counter and 0.4 to another. The sums merge over processes as all counters do, and the rules that judge
what came true read them as well. `docs/estimated-quality.md` says what that can see and what it cannot.

Each calibration has `cells`, the series that it adds to; `expected`, which computes what a column of outputs adds to
each; and `reference`, what its own rows hold of the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from windvane import semconv
from windvane.bins import numbers_of, tally_categories
from windvane.errors import BaselineError, DeclarationError
from windvane.outcomes import MAX_CLASSES, SCORE_BINS, Outcomes, class_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = [
    "MAX_KNOTS",
    "Calibration",
    "Cell",
    "ClassCalibration",
    "Knots",
    "NumberCalibration",
    "ScoreCalibration",
    "check_agreement",
    "single",
]

MAX_KNOTS: Final = 101

_RIGHT, _WRONG, _UNJUDGED = semconv.OUTCOME_RESULT.values
_BINARY: Final = (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE)
_MAX_COUNT: Final = 2**53  # beyond it a double, which carries the count as a metric, is no longer exact
_TABLE_DIMENSIONS: Final = 2


class Cell(NamedTuple):
    """A series of what is expected, or of what was in the reference.

    Attributes:
        metric: the metric.
        attributes: those beside the model, its version and its variant.
    """

    metric: semconv.Metric
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Knots:
    """A function that is linear between its knots, and level beyond the first and the last.

    Attributes:
        at: where the knots are, 1 to 101, strictly increasing.
        values: the function's value at each, at least 0.

    Raises:
        BaselineError: they are not.
    """

    at: tuple[float, ...]
    values: tuple[float, ...]
    _at: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _values: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        if not 1 <= len(self.at) <= MAX_KNOTS or len(self.at) != len(self.values):
            msg = f"knots: must be 1 to {MAX_KNOTS} numbers, with one value for each"
            raise BaselineError(msg)
        if not all(map(math.isfinite, self.at)) or any(a >= b for a, b in pairwise(self.at)):
            msg = "knots: must be finite and strictly increasing"
            raise BaselineError(msg)
        if not all(0 <= value < math.inf for value in self.values):
            msg = "knots: the values must be finite and at least 0"
            raise BaselineError(msg)
        object.__setattr__(self, "_at", np.array(self.at))
        object.__setattr__(self, "_values", np.array(self.values))

    def __call__(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the function's values, shape (n,), at numbers of shape (n,)."""
        return np.interp(numbers, self._at, self._values)


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """What comes true of scores of a positive class.

    Attributes:
        threshold: score from which a prediction is positive.
        share: the share of the reference's rows that came true, by score; never falls.
        classified: rows by predicted and actual class, shape (2, 2).
        scored: rows by actual class and score bin, shape (2, 20).

    Raises:
        BaselineError: a field does not fit; the message names it.
    """

    threshold: float
    share: Knots
    classified: tuple[tuple[int, ...], ...]
    scored: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        _declared("binary", threshold=self.threshold)
        _check_shares("knots", self.share, rising=True)
        _check_table("classified", self.classified, (len(_BINARY), len(_BINARY)))
        _check_table("scored", self.scored, (len(_BINARY), SCORE_BINS))
        if [sum(column) for column in zip(*self.classified, strict=True)] != [sum(row) for row in self.scored]:
            msg = "scored: must hold as many rows of each class as classified"
            raise BaselineError(msg)

    @property
    def outcomes(self) -> Outcomes:
        """What it was made with."""
        return Outcomes("binary", threshold=self.threshold)

    @property
    def rows(self) -> int:
        """Rows of the reference that it was made of."""
        return sum(map(sum, self.classified))

    @property
    def cells(self) -> list[Cell]:
        """What it adds to."""
        return _score_cells(semconv.OUTCOME_EXPECTED_COUNT, semconv.OUTCOME_EXPECTED, semconv.OUTCOME_EXPECTED_SCORED)

    @property
    def reference(self) -> list[tuple[Cell, float]]:
        """What the reference holds."""
        cells = _score_cells(
            semconv.OUTCOME_REFERENCE_COUNT, semconv.OUTCOME_REFERENCE, semconv.OUTCOME_REFERENCE_SCORED
        )
        (true_negatives, false_negatives), (false_positives, true_positives) = self.classified
        results = (true_negatives + true_positives, false_negatives + false_positives)
        counts = (*results, *(n for row in self.classified for n in row), *(n for row in self.scored for n in row))
        return list(zip(cells, map(float, counts), strict=True))

    def expected(self, outputs: NDArray[Any] | Sequence[object]) -> NDArray[np.float64]:
        """Compute what scores add to each cell; those outside 0 to 1 add nothing.

        Args:
            outputs: shape (n,), of any type.
        """
        numbers, _ = numbers_of(outputs)
        numbers = numbers[(numbers >= 0) & (numbers <= 1)]
        scores = single(numbers)
        positive = scores >= self.threshold
        shares = self.share(scores)
        bins = np.minimum((scores * SCORE_BINS).astype(np.intp), SCORE_BINS - 1) + SCORE_BINS * positive
        by_bin = np.array(
            [np.bincount(bins, weights, 2 * SCORE_BINS) for weights in (1 - shares, shares)]  # by actual class
        ).reshape(2, 2, SCORE_BINS)
        classified = by_bin.sum(axis=2).T
        results = (np.trace(classified), classified[0, 1] + classified[1, 0])
        return np.concatenate([results, classified.ravel(), by_bin.sum(axis=1).ravel()])


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """What comes true of predicted classes.

    Where the reference has the probabilities of all classes, each probability is passed through the calibration of its
    class, one against the rest, and those of a row are scaled to sum to 1. Where it has the predicted class alone, what
    came true of that class in the reference is expected of it again.

    Attributes:
        classes: names of the classes, at most 30, and at last that of all others where there are others. Those of
            probabilities are `0`, `1` ... in their order.
        classified: rows by predicted and actual class.
        right: rows by predicted class that came true. Other than in `classified`, not all of two other classes are.
        shares: for each class the share of the reference's rows in which it came true, by its probability; none where
            the reference had no probabilities.

    Raises:
        BaselineError: a field does not fit; the message names it.
    """

    classes: tuple[str, ...]
    classified: tuple[tuple[int, ...], ...]
    right: tuple[int, ...]
    shares: tuple[Knots, ...] = ()

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        number = len(self.classes)
        named = [name for name in self.classes if name != semconv.OTHER_CLASS]
        if not 1 <= len(named) <= MAX_CLASSES or len(set(self.classes)) != number:
            msg = f"classes: must be 1 to {MAX_CLASSES}, each with a name of its own"
            raise BaselineError(msg)
        if any(class_of(name) != name for name in self.classes):
            msg = "classes: each must be a text of at most 32 bytes in one line"
            raise BaselineError(msg)
        _check_table("classified", self.classified, (number, number))
        _check_table("right", (self.right,), (1, number))
        for i, name in enumerate(self.classes):
            hits = self.classified[i][i]
            if self.right[i] > hits or (self.right[i] < hits and name != semconv.OTHER_CLASS):
                msg = "right: must be what classified holds of classes that came true"
                raise BaselineError(msg)
        if self.shares:
            if self.classes != tuple(map(str, range(number))) or len(self.shares) != number:
                msg = "knots: there must be one list for each of the classes 0, 1 ..."
                raise BaselineError(msg)
            for i, share in enumerate(self.shares):
                _check_shares(f"knots[{i}]", share, rising=True)

    @property
    def outcomes(self) -> Outcomes:
        """What it was made with."""
        return Outcomes("multiclass")

    @property
    def rows(self) -> int:
        """Rows of the reference that it was made of."""
        return sum(map(sum, self.classified))

    @property
    def cells(self) -> list[Cell]:
        """What it adds to."""
        return _class_cells(semconv.OUTCOME_EXPECTED_COUNT, semconv.OUTCOME_EXPECTED, self.classes)

    @property
    def reference(self) -> list[tuple[Cell, float]]:
        """What the reference holds."""
        cells = _class_cells(semconv.OUTCOME_REFERENCE_COUNT, semconv.OUTCOME_REFERENCE, self.classes)
        right = sum(self.right)
        counts = (right, self.rows - right, *(n for row in self.classified for n in row))
        return list(zip(cells, map(float, counts), strict=True))

    def expected(self, outputs: NDArray[Any] | Sequence[object]) -> NDArray[np.float64]:
        """Compute what outputs add to each cell.

        Args:
            outputs: predicted classes, shape (n,), of any type, where the reference had no probabilities; a class that
                it never predicted adds nothing. Else probabilities, shape (n, classes); rows that hold NaN add nothing.
        """
        expected = np.zeros((len(self.classes), len(self.classes)))
        if self.shares:
            right = self._add_probabilities(np.asarray(outputs), expected)
        else:
            right = self._add_classes(outputs, expected)
        return np.concatenate([(right, max(float(expected.sum()) - right, 0.0)), expected.ravel()])

    def _add_classes(self, outputs: NDArray[Any] | Sequence[object], expected: NDArray[np.float64]) -> float:
        """Add the fractions by predicted and actual class; return the fraction that is expected to be right."""
        places = {name: i for i, name in enumerate(self.classes)}
        others = places.get(semconv.OTHER_CLASS)
        right = 0.0
        for category, number in tally_categories(outputs).items():
            place = places.get(class_of(category) or "", others)
            known = 0 if place is None else sum(self.classified[place])
            if place is not None and known:
                expected[place] += number * np.array(self.classified[place]) / known
                right += number * self.right[place] / known
        return right

    def _add_probabilities(self, table: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
        """Add the fractions by predicted and actual class; return the fraction that is expected to be right."""
        if table.ndim != _TABLE_DIMENSIONS or table.shape[1] != len(self.classes):
            return 0.0
        table = single(table[np.isfinite(table).all(axis=1)])
        shares = np.array([share(table[:, i]) for i, share in enumerate(self.shares)]).T
        sums = shares.sum(axis=1, keepdims=True)
        # Where every class is said never to come true, the model's own word stands.
        shares = np.where(sums > 0, shares, table)
        shares /= shares.sum(axis=1, keepdims=True)
        np.add.at(expected, table.argmax(axis=1), shares)
        return float(np.trace(expected))


@dataclass(frozen=True, slots=True)
class NumberCalibration:
    """By how much numbers miss.

    Attributes:
        tolerance: by how much a number may miss and still be right; None where none is judged.
        absolute_error: the mean absolute error of the reference's rows, by the number predicted.
        right: the share of them within the tolerance, by the number predicted; None without one.
        rows: rows of the reference that it was made of.
        total_error: sum of their absolute errors.
        total_right: how many of them were within the tolerance; 0 without one.
        scale: standard deviation of the actual numbers.

    Raises:
        BaselineError: a field does not fit; the message names it.
    """

    tolerance: float | None
    absolute_error: Knots
    right: Knots | None
    rows: int
    total_error: float
    total_right: int
    scale: float

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        _declared("regression", tolerance=self.tolerance)
        if (self.tolerance is None) != (self.right is None):
            msg = "knots.right: must be there with a tolerance, and only then"
            raise BaselineError(msg)
        if self.right is not None:
            _check_shares("knots", self.right, rising=False)
        _check_table("rows", ((self.rows, self.total_right),), (1, 2))
        if not 0 < self.rows >= self.total_right or (self.tolerance is None and self.total_right):
            msg = "rows: must be at least 1, and as many as are right"
            raise BaselineError(msg)
        for name, number in (("total_error", self.total_error), ("scale", self.scale)):
            if not 0 <= number < math.inf:
                msg = f"{name}: must be finite and at least 0"
                raise BaselineError(msg)

    @property
    def outcomes(self) -> Outcomes:
        """What it was made with."""
        return Outcomes("regression", tolerance=self.tolerance)

    @property
    def cells(self) -> list[Cell]:
        """What it adds to."""
        counts = [_result_cell(semconv.OUTCOME_EXPECTED_COUNT, result) for result in self._results]
        return [*counts, Cell(semconv.OUTCOME_EXPECTED_ABSOLUTE_ERROR, {})]

    @property
    def reference(self) -> list[tuple[Cell, float]]:
        """What the reference holds."""
        cells = [_result_cell(semconv.OUTCOME_REFERENCE_COUNT, result) for result in self._results]
        counts = [self.rows] if self.right is None else [self.total_right, self.rows - self.total_right]
        return [
            *zip(cells, map(float, counts), strict=True),
            (Cell(semconv.OUTCOME_REFERENCE_ABSOLUTE_ERROR, {}), self.total_error),
            (Cell(semconv.OUTCOME_SCALE, {}), self.scale),
        ]

    @property
    def _results(self) -> tuple[str, ...]:
        return (_UNJUDGED,) if self.right is None else (_RIGHT, _WRONG)

    def expected(self, outputs: NDArray[Any] | Sequence[object]) -> NDArray[np.float64]:
        """Compute what numbers add to each cell; those that are not finite add nothing.

        Args:
            outputs: shape (n,), of any type.
        """
        numbers, _ = numbers_of(outputs)
        numbers = numbers[np.isfinite(numbers)]
        errors = self.absolute_error(numbers).sum()
        if self.right is None:
            return np.array([len(numbers), errors])
        right = self.right(numbers)
        return np.array([right.sum(), (1 - right).sum(), errors])


Calibration: TypeAlias = ScoreCalibration | ClassCalibration | NumberCalibration


def single(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to single precision, as scores are before they are counted, everywhere."""
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32).astype(np.float64)


def check_agreement(outcomes: Outcomes, calibration: Calibration) -> None:
    """Check that a model declares what the calibration of its baseline was made with.

    Raises:
        DeclarationError: it declares something else.
    """
    made_with = calibration.outcomes
    for name in ("kind", "threshold", "tolerance"):
        ours, theirs = getattr(outcomes, name), getattr(made_with, name)
        if ours != theirs:
            msg = (
                f"Outcomes.{name}: {ours!r} is declared, but the calibration of the baseline was made with {theirs!r}; "
                "declare the same, or make the baseline anew"
            )
            raise DeclarationError(msg)


def _score_cells(count: semconv.Metric, classified: semconv.Metric, scored: semconv.Metric) -> list[Cell]:
    bins = [f"{i:02d}" for i in range(SCORE_BINS)]
    return [
        *_class_cells(count, classified, _BINARY),
        *(
            Cell(scored, {semconv.OUTCOME_SCORE_BIN.name: label, semconv.OUTCOME_ACTUAL.name: actual})
            for actual in _BINARY
            for label in bins
        ),
    ]


def _class_cells(count: semconv.Metric, classified: semconv.Metric, classes: Sequence[str]) -> list[Cell]:
    return [
        *(_result_cell(count, result) for result in (_RIGHT, _WRONG)),
        *(
            Cell(classified, {semconv.OUTCOME_PREDICTED.name: predicted, semconv.OUTCOME_ACTUAL.name: actual})
            for predicted in classes
            for actual in classes
        ),
    ]


def _result_cell(metric: semconv.Metric, result: str) -> Cell:
    return Cell(metric, {semconv.OUTCOME_RESULT.name: result})


def _declared(kind: Any, **fields: float | None) -> None:  # noqa: ANN401 - a Kind
    try:
        Outcomes(kind, **fields)  # type: ignore[arg-type] # it checks them
    except DeclarationError as error:
        raise BaselineError(str(error).removeprefix("Outcomes.")) from error


def _check_shares(name: str, share: Knots, *, rising: bool) -> None:
    if max(share.values) > 1 or (rising and any(a > b for a, b in pairwise(share.values))):
        msg = f"{name}: the values must be shares{' that never fall' if rising else ''}"
        raise BaselineError(msg)


def _check_table(name: str, table: Sequence[Sequence[int]], shape: tuple[int, int]) -> None:
    if len(table) != shape[0] or any(len(row) != shape[1] for row in table) or not all(map(_is_count, _flat(table))):
        msg = f"{name}: must be {shape[0]} x {shape[1]} whole numbers, at least 0"
        raise BaselineError(msg)


def _flat(table: Sequence[Sequence[int]]) -> Iterator[int]:
    return (number for row in table for number in row)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
