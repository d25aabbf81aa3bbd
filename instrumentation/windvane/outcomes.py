"""Outcomes: what became of a prediction, and what is counted of it.

`Outcomes` declares what a model predicts. Whoever counts (a service by `Model.outcome`, or the service of
`windvane process`) turns a token and what came true into increments of counters, so that all of them count alike, and
every statistic of quality follows from sums over processes.

| kind | predicted | right where |
|---|---|---|
| `binary` | the score of the positive class, 0 to 1 | the class by the threshold came true |
| `multiclass` | a class | that class came true |
| `regression` | a number | it missed by the tolerance at most |
| `ranking` | items, best first | a relevant item is among the first k |
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from windvane import semconv
from windvane.bins import _as_list, _is_null, _number, _plain, category_of
from windvane.declaration import check_one_of, check_text
from windvane.errors import DeclarationError, TokenError
from windvane.tokens import (
    MAX_CLASS_BYTES,
    MAX_RANKED,
    PredictedClass,
    PredictedNumber,
    PredictedRanking,
    PredictedScore,
    item_digest,
    single_precision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from windvane.tokens import Predicted, Token

__all__ = [
    "LAG_BOUNDS",
    "MAX_AHEAD",
    "MAX_CLASSES",
    "MAX_TOKEN_AGE",
    "SCORE_BINS",
    "Caps",
    "Kind",
    "Outcomes",
    "Series",
    "class_of",
    "increments",
    "log_loss",
    "predictions_of",
    "score_bin",
]

Kind: TypeAlias = Literal["binary", "multiclass", "regression", "ranking"]

_KINDS: Final = ("binary", "multiclass", "regression", "ranking")

SCORE_BINS: Final = 20
"""Bins of scores, of equal width."""

MAX_CLASSES: Final = 30
"""Classes of one deployment that are counted by name; further ones count as `_OTHER`."""

_MAX_SEGMENTS: Final = 100

_DAY: Final = 86_400.0

LAG_BOUNDS: Final = (
    60.0, 300.0, 900.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, _DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 28 * _DAY,
    60 * _DAY, 90 * _DAY, 180 * _DAY, 365 * _DAY,
)  # fmt: skip
"""Bucket bounds of the lag histogram in seconds, the same for every model, from a click to a credit's year."""

MAX_TOKEN_AGE: Final = 400 * _DAY
"""Seconds after which a prediction's outcome is refused: longer than a year, and a bound for what is replayed."""

MAX_AHEAD: Final = _DAY
"""Seconds that an outcome may come before its prediction, and count as at once: clocks are never further apart."""

_LEAST_PROBABILITY: Final = float(np.finfo(np.float64).eps)
"""Scores are kept so far from 0 and 1 in the log loss, as scikit-learn's `log_loss` does."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Declares what a model predicts, so that outcomes can be reported by token.

    Args:
        kind: `binary` for the score of a positive class (of two probabilities the second), `multiclass` for classes (of
            probabilities the most probable), `regression` for numbers, `ranking` for lists of items.
        threshold: score from which a binary prediction is positive.
        tolerance: by how much a number may miss and still be right, in the target's unit.
        k: how many items of a ranking are looked at, at most 20.
        segment: a feature of the baseline by whose bins the share of right predictions is told apart.
        key: name of the column that holds the caller's own key of a prediction, for those who cannot keep tokens.
            Only a keyed digest of it leaves the process.

    Raises:
        DeclarationError: a field cannot be used, or belongs to another kind.

    Example:
        >>> Outcomes("binary", threshold=0.4).kind
        'binary'
    """

    kind: Kind
    _: KW_ONLY
    threshold: float | None = None
    tolerance: float | None = None
    k: int | None = None
    segment: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        """Check the fields, and set those of the kind that are left to it."""
        check_one_of("Outcomes.kind", self.kind, _KINDS)
        for field, kind, check in _OF_A_KIND:
            value = getattr(self, field)
            if self.kind == kind:
                object.__setattr__(self, field, check(value))
            elif value is not None:
                msg = f"Outcomes.{field}: is for the kind {kind!r}, not {self.kind!r}; leave it out"
                raise DeclarationError(msg)
        for field in ("segment", "key"):
            if getattr(self, field) is not None:
                check_text(f"Outcomes.{field}", getattr(self, field))


def _checked_threshold(threshold: object) -> float:
    number = 0.5 if threshold is None else threshold
    if not _is_real(number) or not 0 < number < 1:
        msg = f"Outcomes.threshold: {threshold!r} must lie between 0 and 1"
        raise DeclarationError(msg)
    return float(number)


def _checked_tolerance(tolerance: object) -> float | None:
    if tolerance is None:
        return None
    if not _is_real(tolerance) or not 0 <= single_precision(tolerance) < math.inf:
        msg = f"Outcomes.tolerance: {tolerance!r} must be a number of at least 0, in the target's unit"
        raise DeclarationError(msg)
    return single_precision(tolerance)


def _checked_k(k: object) -> int:
    number = 10 if k is None else k
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_RANKED:
        msg = f"Outcomes.k: {k!r} must be a whole number from 1 to {MAX_RANKED}"
        raise DeclarationError(msg)
    return number


_OF_A_KIND: Final[tuple[tuple[str, Kind, Callable[[object], object]], ...]] = (
    ("threshold", "binary", _checked_threshold),
    ("tolerance", "regression", _checked_tolerance),
    ("k", "ranking", _checked_k),
)
"""Fields that belong to one kind, and what checks them or sets what they are by default."""


class Series(NamedTuple):
    """One number that is counted.

    Attributes:
        metric: name of the metric.
        values: of the metric's attributes, in their order; None where one is absent.
        bucket: of a histogram, the bucket that is counted; None for its sum, and for counters.
    """

    metric: str
    values: tuple[str | None, ...]
    bucket: int | None = None


class Caps:
    """Holds the number of classes and segments of each deployment: what comes on top counts as `_OTHER`."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        """Begin without a name."""
        self._names: dict[tuple[object, ...], set[str]] = {}

    def learn(self, series: Series) -> None:
        """Take over the names of a series that is counted already."""
        deployment = series.values[:3]
        if series.metric == semconv.OUTCOME_CLASSIFIED.name:
            for label in series.values[3:]:
                self.label(deployment, str(label))
        elif series.metric == semconv.OUTCOME_COUNT.name and series.values[4] is not None:
            self.segment(deployment, series.values[4])

    def label(self, deployment: tuple[str | None, ...], label: str) -> str:
        """Return a class's name, or that of all others."""
        return self._capped((*deployment, "class"), label, MAX_CLASSES)

    def segment(self, deployment: tuple[str | None, ...], segment: str) -> str:
        """Return a segment's name, or that of all others."""
        return self._capped((*deployment, "segment"), segment, _MAX_SEGMENTS)

    def _capped(self, key: tuple[object, ...], name: str, most: int) -> str:
        names = self._names.setdefault(key, set())
        if name in names:
            return name
        if len(names) >= most:
            return semconv.OTHER_CLASS
        names.add(name)
        return name


# --- What a call predicted. --------------------------------------------------------------------------------------


def predictions_of(declared: Outcomes, output: NDArray[Any] | Sequence[object]) -> list[Predicted | None]:
    """Turn the outputs of a call into what tokens carry.

    Args:
        declared: the model's outcomes.
        output: one for each row, shape (n,).

    Returns:
        One for each row; None where an output cannot be a prediction of that kind.
    """
    make = _PREDICTIONS[declared.kind]
    return [make(declared, value) for value in _as_list(output)]


def _score(declared: Outcomes, value: object) -> PredictedScore | None:
    number = _real(value)
    if number is None or not 0 <= number <= 1 or declared.threshold is None:
        return None
    return PredictedScore(single_precision(number), number >= declared.threshold)


def _class(_declared: Outcomes, value: object) -> PredictedClass | None:
    label = class_of(value)
    return None if label is None else PredictedClass(label)


def _regression(declared: Outcomes, value: object) -> PredictedNumber | None:
    number = _real(value)
    return None if number is None else PredictedNumber(number, declared.tolerance)


def _ranking(declared: Outcomes, value: object) -> PredictedRanking | None:
    items = _items(value)
    return PredictedRanking(tuple(items[: declared.k])) if items else None


_PREDICTIONS: Final[dict[str, Callable[[Outcomes, object], Predicted | None]]] = {
    "binary": _score,
    "multiclass": _class,
    "regression": _regression,
    "ranking": _ranking,
}


def class_of(value: object) -> str | None:
    """Return the name of a class; None where a value names none. Names that a token cannot carry are `_OTHER`."""
    label = category_of(value)
    if label is None:
        return None
    if len(label) > MAX_CLASS_BYTES or "\n" in label or len(label.encode("utf-8", "replace")) > MAX_CLASS_BYTES:
        return semconv.OTHER_CLASS
    return label.encode("utf-8", "replace").decode()


def score_bin(score: float) -> str:
    """Return the label of a score's bin."""
    return _BIN_LABELS[min(int(score * SCORE_BINS), SCORE_BINS - 1)]


_BIN_LABELS: Final = [f"{i:02d}" for i in range(SCORE_BINS)]


def log_loss(score: float, *, positive: bool) -> float:
    """Return the log loss of one score in nats: minus the logarithm of what it gave to what came true."""
    likelihood = score if positive else 1.0 - score
    return -math.log(min(max(likelihood, _LEAST_PROBABILITY), 1.0 - _LEAST_PROBABILITY))


# --- What came true. ---------------------------------------------------------------------------------------------


def increments(token: Token, actual: object, now: float, caps: Caps) -> Iterator[tuple[Series, float]]:
    """Compute what an outcome adds to which series.

    Args:
        token: the prediction's.
        actual: what came true. Binary: a boolean, 0 or 1, or one of these as a text. Multiclass: a class. Regression: a
            number. Ranking: the relevant item, or several of them.
        now: when it was reported, in seconds since 1970.
        caps: of whoever counts.

    Raises:
        TokenError: the actual cannot be (`actual`), or the prediction is too old (`expired`) or lies in the future
            (`future`).
    """
    lag = now - token.time
    if lag > MAX_TOKEN_AGE:
        msg = f"the prediction is more than {MAX_TOKEN_AGE / _DAY:.0f} days old"
        raise TokenError(msg, "expired")
    if lag < -MAX_AHEAD:
        msg = "the prediction lies more than a day ahead of its outcome: a clock is wrong"
        raise TokenError(msg, "future")
    deployment = (token.model, token.version, token.variant)
    segment = None if token.segment is None else caps.segment(deployment, token.segment)
    lag = max(lag, 0.0)
    found = list(_JUDGES[type(token.predicted)](token.predicted, actual, (*deployment, segment), caps))
    found.append((Series(_LAG, deployment, _bucket(lag)), 1.0))
    found.append((Series(_LAG, deployment), lag))
    yield from found


_COUNT: Final = semconv.OUTCOME_COUNT.name
_CLASSIFIED: Final = semconv.OUTCOME_CLASSIFIED.name
_SCORED: Final = semconv.OUTCOME_SCORED.name
_SCORE: Final = semconv.OUTCOME_SCORE.name
_LOG_LOSS: Final = semconv.OUTCOME_LOG_LOSS.name
_ABSOLUTE: Final = semconv.OUTCOME_ABSOLUTE_ERROR.name
_SQUARED: Final = semconv.OUTCOME_SQUARED_ERROR.name
_RANKED: Final = semconv.OUTCOME_RANKED.name
_LAG: Final = semconv.OUTCOME_LAG.name

_RIGHT, _WRONG, _UNJUDGED = semconv.OUTCOME_RESULT.values
_OVER, _UNDER = semconv.OUTCOME_DIRECTION.values

_Names: TypeAlias = tuple[str, str, str | None, str | None]
"""Model, version, variant and segment."""


def _bucket(lag: float) -> int:
    return int(np.searchsorted(LAG_BOUNDS, lag, side="left")) if lag > LAG_BOUNDS[0] else 0


@lru_cache(maxsize=4096)
def _series(metric: str, names: _Names, *values: str) -> Series:
    return Series(metric, (*names[:3], *values))


@lru_cache(maxsize=4096)
def _counted(names: _Names, result: str) -> Series:
    return Series(_COUNT, (*names[:3], result, names[3]))


def _judge_class(
    predicted: PredictedClass, actual: object, names: _Names, caps: Caps
) -> Iterator[tuple[Series, float]]:
    found = class_of(actual)
    if found is None:
        msg = "the actual names no class"
        raise TokenError(msg, "actual")
    label = caps.label(names[:3], predicted.label)
    # Two names that are both too many are not the same for that.
    right = predicted.label == found != semconv.OTHER_CLASS
    yield _counted(names, _RIGHT if right else _WRONG), 1.0
    yield _series(_CLASSIFIED, names, label, caps.label(names[:3], found)), 1.0


def _judge_score(
    predicted: PredictedScore, actual: object, names: _Names, _caps: Caps
) -> Iterator[tuple[Series, float]]:
    positive = _came_true(actual)
    score = predicted.score
    label = semconv.OUTCOME_POSITIVE if positive else semconv.OUTCOME_NEGATIVE
    in_bin = score_bin(score)
    yield _counted(names, _RIGHT if predicted.positive == positive else _WRONG), 1.0
    predicted_label = semconv.OUTCOME_POSITIVE if predicted.positive else semconv.OUTCOME_NEGATIVE
    yield _series(_CLASSIFIED, names, predicted_label, label), 1.0
    yield _series(_SCORED, names, in_bin, label), 1.0
    yield _series(_SCORE, names, in_bin), score
    yield _series(_SQUARED, names), (score - positive) ** 2
    yield _series(_LOG_LOSS, names), log_loss(score, positive=positive)


def _judge_number(
    predicted: PredictedNumber, actual: object, names: _Names, _caps: Caps
) -> Iterator[tuple[Series, float]]:
    number = _real(actual)
    error = math.nan if number is None else predicted.number - number
    if not math.isfinite(error * error):
        msg = "the actual is no finite number"
        raise TokenError(msg, "actual")
    result = _UNJUDGED
    if predicted.tolerance is not None:
        result = _RIGHT if abs(error) <= predicted.tolerance else _WRONG
    yield _counted(names, result), 1.0
    yield _series(_ABSOLUTE, names, _OVER), max(error, 0.0)
    yield _series(_ABSOLUTE, names, _UNDER), max(-error, 0.0)
    yield _series(_SQUARED, names), error * error


def _judge_ranking(
    predicted: PredictedRanking, actual: object, names: _Names, _caps: Caps
) -> Iterator[tuple[Series, float]]:
    relevant = _items(actual)
    if not relevant:
        msg = "the actual names no item"
        raise TokenError(msg, "actual")
    wanted = set(relevant)
    rank = next((place for place, item in enumerate(predicted.items, 1) if item in wanted), None)
    yield _counted(names, _WRONG if rank is None else _RIGHT), 1.0
    yield _series(_RANKED, names, "none" if rank is None else str(rank)), 1.0


_JUDGES: Final[dict[type, Callable[..., Iterator[tuple[Series, float]]]]] = {
    PredictedClass: _judge_class,
    PredictedScore: _judge_score,
    PredictedNumber: _judge_number,
    PredictedRanking: _judge_ranking,
}

_TRUTHS: Final = {"0": False, "1": True, "false": False, "true": True}


def _came_true(actual: object) -> bool:
    found = _TRUTHS.get((category_of(actual) or "").lower())
    if found is None:
        msg = "the actual of a binary outcome must be true or false, or 1 or 0"
        raise TokenError(msg, "actual")
    return found


# --- Values of any type. -----------------------------------------------------------------------------------------


def _real(value: object) -> float | None:
    """Return a finite number, None where a value is none."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    try:
        plain = _plain(value)
        number = math.nan if _is_null(plain) else _number(plain)
    except Exception:  # noqa: BLE001 - a value's own methods may raise anything
        return None
    return number if math.isfinite(number) else None


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _items(value: object) -> list[int]:
    """Return what stands for the items of a list, or for one item; nothing where one names none."""
    listed: list[object] = list(value) if isinstance(value, list | tuple | set | np.ndarray) else [value]
    names = [category_of(item) for item in listed]
    return [] if None in names else [item_digest(name) for name in names if name is not None]
