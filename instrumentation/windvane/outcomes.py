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

import contextlib
import math
from bisect import bisect_left
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from windvane import semconv
from windvane.bins import CategoryBins, NumericBins, _as_list, _is_null, _number, _plain, category_of
from windvane.declaration import check_one_of, check_text, did_you_mean
from windvane.errors import DeclarationError, TokenError
from windvane.tokens import (
    MAX_CLASS_BYTES,
    MAX_RANKED,
    MAX_VARIANT_BYTES,
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

    from windvane.baseline import Baseline, Feature
    from windvane.tokens import Predicted, Token

__all__ = [
    "KINDS",
    "LAG_BOUNDS",
    "MAX_AHEAD",
    "MAX_CLASSES",
    "MAX_FEEDBACK_KINDS",
    "MAX_TOKEN_AGE",
    "SCORE_BINS",
    "Caps",
    "Key",
    "Kind",
    "Outcomes",
    "Series",
    "check_fit",
    "class_of",
    "feedback_key",
    "increments",
    "judge",
    "lag_of",
    "log_loss",
    "predictions_of",
    "score_bin",
    "series_of",
]

Kind: TypeAlias = Literal["binary", "multiclass", "regression", "ranking"]

KINDS: Final[tuple[Kind, ...]] = ("binary", "multiclass", "regression", "ranking")

SCORE_BINS: Final = 20
"""Bins of scores, of equal width."""

MAX_CLASSES: Final = 30
"""Classes of one deployment that are counted by name; further ones count as `_OTHER`."""

MAX_FEEDBACK_KINDS: Final = 30
"""Kinds of feedback on one deployment that are counted by name; further ones count as `_OTHER`."""

_MAX_FEEDBACK_KIND: Final = 64
_MAX_SEGMENTS: Final = 110
"""More than any feature has bins."""
_MAX_DEPLOYMENTS: Final = 1000

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
        threshold: score from which a binary prediction is positive; 0.5 by default. In single precision, as scores
            are: a score of 0.7 reaches a threshold of 0.7 in a service of either precision.
        tolerance: by how much a number may miss and still be right, in the target's unit. Rounded up to single
            precision.
        k: how many items of a ranking are looked at, at most 20; 10 by default.
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
        check_one_of("Outcomes.kind", self.kind, KINDS)
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
    if not _is_real(number) or not 0 < single_precision(number) < 1:
        msg = f"Outcomes.threshold: {threshold!r} must lie between 0 and 1"
        raise DeclarationError(msg)
    return single_precision(number)


def _checked_tolerance(tolerance: object) -> float | None:
    if tolerance is None:
        return None
    if not _is_real(tolerance) or not 0 <= single_precision(tolerance) < math.inf:
        msg = f"Outcomes.tolerance: {tolerance!r} must be a number of at least 0, in the target's unit"
        raise DeclarationError(msg)
    rounded = np.float32(single_precision(tolerance))
    # Up, so that a number that misses by just the tolerance is right.
    return float(rounded) if float(rounded) >= tolerance else float(np.nextafter(rounded, np.float32(math.inf)))


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


def check_fit(declared: Outcomes, baseline: Baseline | None, variant: str | None) -> None:
    """Check that outcomes fit the rest of a model's declaration.

    Raises:
        DeclarationError: they do not.
    """
    if variant is not None and (not variant.isprintable() or len(variant.encode("utf-8")) > MAX_VARIANT_BYTES):
        msg = (
            f"Model.variant: {variant!r:.200} does not fit into a token; take at most {MAX_VARIANT_BYTES} bytes of "
            "printable characters"
        )
        raise DeclarationError(msg)
    inputs = [feature.name for feature in baseline.inputs] if baseline else []
    if declared.segment is not None and declared.segment not in inputs:
        why = did_you_mean(declared.segment, inputs) if baseline else "; segments are its bins, so build a baseline"
        msg = f"Outcomes.segment: the baseline has no input {declared.segment!r}{why}"
        raise DeclarationError(msg)
    output = baseline.output if baseline else None
    if output is not None and not _FITTING[declared.kind](output):
        msg = f"Outcomes.kind: {declared.kind!r} does not fit the baseline's output {output.name!r}, {_ADVICE}"
        raise DeclarationError(msg)


def _is_score(output: Feature) -> bool:
    return isinstance(output.bins, NumericBins) and output.bins.minimum >= 0 and output.bins.maximum <= 1


_FITTING: Final[dict[str, Callable[[Feature], bool]]] = {
    "binary": _is_score,
    "multiclass": lambda output: isinstance(output.bins, CategoryBins) or output.type in {"integer", "boolean"},
    "regression": lambda output: isinstance(output.bins, NumericBins),
    "ranking": lambda _output: False,
}
_ADVICE: Final = (
    "which is not what such a model answers: binary goes with scores from 0 to 1, multiclass with classes, regression "
    "with numbers, ranking with a baseline that has no output"
)


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
    """Holds the numbers of deployments, and of the classes, segments and kinds of feedback of each.

    What comes on top counts as `_OTHER`; a deployment that comes on top is refused.
    """

    __slots__ = ("_names",)

    def __init__(self) -> None:
        """Begin without a name."""
        self._names: dict[tuple[object, ...], set[str]] = {}

    def learn(self, series: Series) -> None:
        """Take over the names of a series that is counted already."""
        deployment = series.values[:3]
        self.admit(deployment)
        if series.metric == semconv.OUTCOME_CLASSIFIED.name:
            for label in series.values[3:]:
                self.label(deployment, str(label))
        elif series.metric == semconv.OUTCOME_COUNT.name and series.values[4] is not None:
            self.segment(deployment, series.values[4])
        elif series.metric == semconv.FEEDBACK_RECEIVED.name:
            self.feedback(deployment, str(series.values[3]))

    def admit(self, deployment: tuple[str | None, ...]) -> None:
        """Take in a deployment: model, version and variant.

        Raises:
            TokenError: there are too many; whoever can sign tokens has made names up.
        """
        name = "\n".join(part or "" for part in deployment)
        if self._capped(("deployment",), name, _MAX_DEPLOYMENTS) != name:
            msg = f"outcomes of {_MAX_DEPLOYMENTS:,} versions and variants are counted here already"
            raise TokenError(msg, "model")

    def label(self, deployment: tuple[str | None, ...], label: str) -> str:
        """Return a class's name, or that of all others."""
        return self._capped((*deployment, "class"), label, MAX_CLASSES)

    def segment(self, deployment: tuple[str | None, ...], segment: str) -> str:
        """Return a segment's name, or that of all others."""
        return self._capped((*deployment, "segment"), segment, _MAX_SEGMENTS)

    def feedback(self, deployment: tuple[str | None, ...], kind: str) -> str:
        """Return a kind of feedback, or that of all others."""
        return self._capped((*deployment, "feedback"), kind, MAX_FEEDBACK_KINDS)

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
    score = single_precision(number)
    return PredictedScore(score, score >= declared.threshold)


def _class(_declared: Outcomes, value: object) -> PredictedClass | None:
    label = class_of(value)
    return None if label is None else PredictedClass(label)


def _regression(declared: Outcomes, value: object) -> PredictedNumber | None:
    number = _real(value)
    return None if number is None else PredictedNumber(number, declared.tolerance)


def _ranking(declared: Outcomes, value: object) -> PredictedRanking | None:
    names = _item_names(value)
    while names and names[-1] is None:  # fewer than there is room for
        names.pop()
    if not names or None in names:
        return None
    return PredictedRanking(tuple(item_digest(name) for name in names[: declared.k] if name is not None))


_PREDICTIONS: Final[dict[str, Callable[[Outcomes, object], Predicted | None]]] = {
    "binary": _score,
    "multiclass": _class,
    "regression": _regression,
    "ranking": _ranking,
}


def class_of(value: object) -> str | None:
    """Return the name of a class; None where a value names none.

    Integers and booleans count as their text: 1 and "1" are one class, and so are True and "True". Names that a token
    cannot carry (longer than 32 bytes, or with a line break) are `_OTHER`, and so is an empty one, which would be no
    label at all.
    """
    label = value if type(value) is str else category_of(value)
    if label is None:
        return None
    # `isascii` costs nothing, and in ASCII each character is a byte.
    if not label or len(label) > MAX_CLASS_BYTES or "\n" in label:
        return semconv.OTHER_CLASS
    if label.isascii():
        return label
    encoded = label.encode("utf-8", "replace")
    return semconv.OTHER_CLASS if len(encoded) > MAX_CLASS_BYTES else encoded.decode()


def score_bin(score: float) -> str:
    """Return the label of a score's bin."""
    return _BIN_LABELS[min(int(score * SCORE_BINS), SCORE_BINS - 1)]


_BIN_LABELS: Final = [f"{i:02d}" for i in range(SCORE_BINS)]


def log_loss(score: float, *, positive: bool) -> float:
    """Return the log loss of one score in nats: minus the logarithm of what it gave to what came true."""
    likelihood = score if positive else 1.0 - score
    return -math.log(min(max(likelihood, _LEAST_PROBABILITY), 1.0 - _LEAST_PROBABILITY))


# --- What came true. ---------------------------------------------------------------------------------------------

Key: TypeAlias = tuple[Any, ...]
"""Which series something adds to: `series_of` says which. Equal keys, equal series."""

_Names: TypeAlias = tuple[str, str, str | None, str | None]
"""Model, version, variant and segment."""

_Judged: TypeAlias = tuple[Key, tuple[float, ...]]
"""A key, and what is added to each of its series."""


def increments(token: Token, actual: object, now: float, caps: Caps) -> Iterator[tuple[Series, float]]:
    """Compute what an outcome adds to which series.

    Args:
        token: the prediction's.
        actual: what came true. Binary: a boolean, 0 or 1, or one of these as a text. Multiclass: a class. Regression: a
            number. Ranking: the relevant item, or several of them.
        now: when it was reported, in seconds since 1970.
        caps: of whoever counts.

    Returns:
        Pairs of a series and what is added to it; the first is of `ml.outcome.count`.

    Raises:
        TokenError: the actual cannot be (`actual`), the prediction is too old (`expired`) or lies in the future
            (`future`), or too many deployments are counted (`model`).
    """
    caps.admit(token[:3])
    for key, amounts in judge(token, actual, now, caps):
        yield from zip(series_of(key), amounts, strict=True)


def judge(token: Token, actual: object, now: float, caps: Caps) -> tuple[_Judged, _Judged]:
    """Judge a prediction: what `increments` are, for those who keep what `series_of` says.

    Args:
        token: as of `increments`, and so the others.
        actual: what came true.
        now: when it was reported.
        caps: of whoever counts.

    Returns:
        The key and amounts of the outcome, and those of its lag.

    Raises:
        TokenError: as `increments`, but for `model`.
    """
    lag = lag_of(token, now)
    names: _Names = token[:4]
    deployment = names[:3]
    if names[3] is not None:
        names = (*deployment, caps.segment(deployment, names[3]))
    judged = _JUDGES[type(token.predicted)](token.predicted, actual, names, caps)
    return judged, ((_lag_series, deployment, bisect_left(LAG_BOUNDS, lag)), (1, lag))


def lag_of(token: Token, now: float) -> float:
    """Return the seconds from a prediction to now, at least 0.

    Raises:
        TokenError: the prediction is too old (`expired`) or lies in the future (`future`).
    """
    lag = now - token.time
    if lag > MAX_TOKEN_AGE:
        msg = f"the prediction is more than {MAX_TOKEN_AGE / _DAY:.0f} days old"
        raise TokenError(msg, "expired")
    if lag < -MAX_AHEAD:
        msg = "the prediction lies more than a day ahead of its outcome: a clock is wrong"
        raise TokenError(msg, "future")
    return max(lag, 0.0)


def feedback_key(token: Token, kind: object, caps: Caps) -> Key:
    """Return the key of the one series that feedback adds 1 to.

    Args:
        token: the prediction's.
        kind: a text; one of more than 64 characters counts as `_OTHER`.
        caps: of whoever counts.

    Raises:
        TokenError: the kind is no text, or empty (`actual`).
    """
    text = str.__str__(kind) if issubclass(type(kind), str) else ""  # a plain copy, of an enumeration's member too
    if not text.strip():
        msg = "the kind of feedback must be a text"
        raise TokenError(msg, "actual")
    deployment = token[:3]
    if len(text) > _MAX_FEEDBACK_KIND:
        return _feedback_series, deployment, semconv.OTHER_CLASS
    return _feedback_series, deployment, caps.feedback(deployment, text.encode("utf-8", "replace").decode())


def series_of(key: Key) -> tuple[Series, ...]:
    """Return the series that a key stands for; of an outcome the first is of `ml.outcome.count`."""
    return _series_of(key)


@lru_cache(maxsize=4096)
def _series_of(key: Key) -> tuple[Series, ...]:
    return tuple(key[0](*key[1:]))


_RIGHT, _WRONG, _UNJUDGED = semconv.OUTCOME_RESULT.values
_OVER, _UNDER = semconv.OUTCOME_DIRECTION.values
_LABELS: Final = (semconv.OUTCOME_NEGATIVE, semconv.OUTCOME_POSITIVE)


def _counted(names: _Names, result: str) -> Series:
    return Series(semconv.OUTCOME_COUNT.name, (*names[:3], result, names[3]))


def _judge_class(predicted: PredictedClass, actual: object, names: _Names, caps: Caps) -> _Judged:
    found = class_of(actual)
    if found is None:
        msg = "the actual names no class"
        raise TokenError(msg, "actual")
    # Two names that are both too long are not the same for that.
    right = predicted.label == found != semconv.OTHER_CLASS
    deployment = names[:3]
    label = caps.label(deployment, predicted.label)
    return (_class_series, names, right, label, label if right else caps.label(deployment, found)), (1, 1)


def _class_series(names: _Names, right: bool, predicted: str, actual: str) -> Iterator[Series]:  # noqa: FBT001 - of a key
    yield _counted(names, _RIGHT if right else _WRONG)
    yield Series(semconv.OUTCOME_CLASSIFIED.name, (*names[:3], predicted, actual))


def _judge_score(predicted: PredictedScore, actual: object, names: _Names, _caps: Caps) -> _Judged:
    score = predicted.score
    positive = _came_true(actual)
    miss = score - positive
    key = (_score_series, names, min(int(score * SCORE_BINS), SCORE_BINS - 1), predicted.positive, positive)
    return key, (1, 1, 1, score, miss * miss, log_loss(score, positive=positive))


def _score_series(names: _Names, in_bin: int, predicted: bool, actual: bool) -> Iterator[Series]:  # noqa: FBT001 - of a key
    deployment, label = names[:3], _BIN_LABELS[in_bin]
    yield _counted(names, _RIGHT if predicted == actual else _WRONG)
    yield Series(semconv.OUTCOME_CLASSIFIED.name, (*deployment, _LABELS[predicted], _LABELS[actual]))
    yield Series(semconv.OUTCOME_SCORED.name, (*deployment, label, _LABELS[actual]))
    yield Series(semconv.OUTCOME_SCORE.name, (*deployment, label))
    yield Series(semconv.OUTCOME_SQUARED_ERROR.name, deployment)
    yield Series(semconv.OUTCOME_LOG_LOSS.name, deployment)


def _judge_number(predicted: PredictedNumber, actual: object, names: _Names, _caps: Caps) -> _Judged:
    number = _real(_number_in(actual))
    error = math.nan if number is None else predicted.number - number
    squared = error * error
    if not math.isfinite(squared):
        msg = "the actual is no finite number, or beyond what can be squared"
        raise TokenError(msg, "actual")
    result = _UNJUDGED
    if predicted.tolerance is not None:
        result = _RIGHT if abs(error) <= predicted.tolerance else _WRONG
    return (_number_series, names, result), (1, max(error, 0.0), max(-error, 0.0), squared)


def _number_series(names: _Names, result: str) -> Iterator[Series]:
    yield _counted(names, result)
    yield Series(semconv.OUTCOME_ABSOLUTE_ERROR.name, (*names[:3], _OVER))
    yield Series(semconv.OUTCOME_ABSOLUTE_ERROR.name, (*names[:3], _UNDER))
    yield Series(semconv.OUTCOME_SQUARED_ERROR.name, names[:3])


def _judge_ranking(predicted: PredictedRanking, actual: object, names: _Names, _caps: Caps) -> _Judged:
    wanted = {item_digest(name) for name in _item_names(actual) if name is not None}
    if not wanted:
        msg = "the actual names no item"
        raise TokenError(msg, "actual")
    rank = next((place for place, item in enumerate(predicted.items, 1) if item in wanted), 0)
    return (_ranking_series, names, rank), (1, 1)


def _ranking_series(names: _Names, rank: int) -> Iterator[Series]:
    yield _counted(names, _RIGHT if rank else _WRONG)
    yield Series(semconv.OUTCOME_RANKED.name, (*names[:3], str(rank) if rank else "none"))


def _lag_series(deployment: tuple[str | None, ...], bucket: int) -> Iterator[Series]:
    yield Series(semconv.OUTCOME_LAG.name, deployment, bucket)
    yield Series(semconv.OUTCOME_LAG.name, deployment)


def _feedback_series(deployment: tuple[str | None, ...], kind: str) -> Iterator[Series]:
    yield Series(semconv.FEEDBACK_RECEIVED.name, (*deployment, kind))


_JUDGES: Final[dict[type, Callable[[Any, object, _Names, Caps], _Judged]]] = {
    PredictedClass: _judge_class,
    PredictedScore: _judge_score,
    PredictedNumber: _judge_number,
    PredictedRanking: _judge_ranking,
}

_TRUTHS: Final = {"0": False, "1": True, "false": False, "true": True}


def _came_true(actual: object) -> bool:
    if type(actual) is bool:
        return actual
    if type(actual) is int and 0 <= actual <= 1:
        return actual == 1
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


def _number_in(value: object) -> object:
    """Return the number that a text holds, as in a CSV file; any other value as it is."""
    if issubclass(type(value), str):  # isinstance also believes a value's own __class__
        text = str.__str__(value)
        with contextlib.suppress(ValueError):
            return value if "_" in text else float(text)
    return value


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _item_names(value: Any) -> list[str | None]:  # noqa: ANN401 - any object
    """Return the names of the items of a list, or of one item; None for what names none."""
    # By type(), since isinstance also believes a value's own __class__.
    many = issubclass(type(value), list | tuple | set | frozenset) or (type(value) is np.ndarray and value.ndim)
    return [category_of(item) for item in (value if many else [value])]
