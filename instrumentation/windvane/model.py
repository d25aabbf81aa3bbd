"""The model: one object that is declared once and watches every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, overload

from windvane import _reports, _runtime, semconv
from windvane._capture import Capture
from windvane._counters import Declaration, ModelCounters
from windvane._probe_mark import load_key
from windvane._watch import argument, watch
from windvane.baseline import Baseline, check_model_name, check_model_version
from windvane.calibration import check_agreement
from windvane.declaration import Objectives, Owner, check_text, did_you_mean
from windvane.errors import DeclarationError
from windvane.events import PredictionEvents, ProfileEvents
from windvane.outcomes import Outcomes, check_fit
from windvane.prediction import NO_OUTCOMES, Prediction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from windvane._issuer import Issuer
    from windvane.snapshot import DriftSnapshot

__all__ = ["Model"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_ROWS: Final = argument(0, "rows")


class Model:
    """A model in production: declare it once, put `predict` on the function that predicts.

    From then on each call has a span under the caller's span, a duration with an exemplar, and, where
    there is a baseline or features are named, the values of every feature and of the output are counted into
    bins. Counting happens on one thread beside the calls. Whatever fails inside windvane, the call returns the
    same object or raises the same exception; what is lost is counted in `windvane.records.dropped`.

    Args:
        name: name of the model: letters, digits and `._/-`.
        version: version of the model.
        baseline: the reference that live values are compared with, or the path of its file.
        owner: who is called; its fields become the labels of the model's alerts.
        objectives: what the model must hold to.
        features: with a baseline, names of the columns of data without names, in order; by default its inputs.
            Without one, the inputs that are counted, into bins that are the same for every model; so is the output.
        variant: role of this deployment, such as `canary`.
        event_time: the column that holds the time of the event a row tells of, whose age at the call is measured;
            where features come from several feeds, a feature of each feed with its column.
        events: of how many calls an event leaves, and which values it carries; by default of none.
        exception_messages: whether messages and stack traces of exceptions leave, on spans and in events. They may
            hold values; by default only the type leaves.
        profiles: how profiles of inputs and output are made, which carry values; by default none leave.
        outcomes: what the model predicts, so that what comes true can be reported by token. The environment's
            `WINDVANE_TOKEN_KEYS` holds the secret that signs tokens.

    Raises:
        DeclarationError: a field, or the environment's `WINDVANE_SERIES_LIMIT`, `WINDVANE_TOKEN_KEYS` or
            `WINDVANE_PROBE_KEY`, cannot be used; the message names it and the mend.
        BaselineError: the baseline cannot be read.

    Example:
        >>> import windvane
        >>> doubler = windvane.Model("doubler", version="1")
        >>> @doubler.predict
        ... def predict(rows):
        ...     return [2 * row["x"] for row in rows]
        >>> predict([{"x": 21}])
        [42]
        >>> with doubler.prediction([{"x": 4}]) as prediction:
        ...     prediction.output = [8]
    """

    def __init__(
        self,
        name: str,
        *,
        version: str,
        baseline: Baseline | str | os.PathLike[str] | None = None,
        owner: Owner | None = None,
        objectives: Objectives | None = None,
        features: Sequence[str] | None = None,
        variant: str | None = None,
        event_time: str | Mapping[str, str] | None = None,
        events: PredictionEvents | None = None,
        exception_messages: bool = False,
        profiles: ProfileEvents | None = None,
        outcomes: Outcomes | None = None,
    ) -> None:
        """Check the declaration and begin to export it."""
        check_model_name(name)
        check_model_version(version)
        load_key()
        _check_type("owner", owner, Owner)
        _check_type("objectives", objectives, Objectives)
        _check_type("events", events, PredictionEvents)
        _check_type("profiles", profiles, ProfileEvents)
        _check_type("outcomes", outcomes, Outcomes)
        _check_type("exception_messages", exception_messages, bool)
        if variant is not None:
            check_text("Model.variant", variant)
        loaded = _load_baseline(name, baseline)
        if outcomes is not None:
            check_fit(outcomes, loaded, variant)
            if loaded is not None and loaded.calibration is not None:
                check_agreement(outcomes, loaded.calibration)
        inputs = [feature.name for feature in loaded.inputs] if loaded else []
        columns = inputs if features is None else _check_features(features, inputs, loaded)
        event_times = _check_event_times(event_time, [*inputs, *columns])
        self._capture = Capture(
            inputs if loaded else columns,
            columns,
            loaded.output if loaded else None,
            event_times=list(dict.fromkeys(event_times.values())),
            known=_known_names(loaded, columns) if loaded else None,
            vectors=[feature.name for feature in loaded.inputs if feature.type == "embedding"] if loaded else [],
            outcomes=outcomes,
        )
        counters = ModelCounters(
            Declaration(
                name,
                version,
                variant,
                loaded,
                owner,
                objectives,
                () if loaded else tuple(columns),
                event_times,
                events,
                exception_messages,
                profiles,
                outcomes,
            )
        )
        self._counters = _runtime.register(counters)
        if self._counters is counters:  # the same declaration may be made twice
            counters.budget.warn(name, version)

    @overload
    def predict(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def predict(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def predict(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def predict(self, /, *, features: str | Callable[..., object]) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def predict(self, function: Any = None, /, *, features: str | Callable[..., object] | None = None) -> Any:
        """Watch a function that predicts, of any kind: also async, a generator, a method, a partial, an object.

        The span of a generator lasts as long as its stream. Where the reader closes it early, or a task is
        cancelled, `error.type` is `cancelled`, which no alert takes for a failure.

        Args:
            function: the function; its rows are a mapping or object per row, an array, a frame or a table.
            features: name of the parameter that holds the rows, or a function that is called with the same
                arguments and returns the rows; by default the first parameter that is neither `self` nor
                `cls`.

        Returns:
            The function with the same signature, or a decorator where only `features` is given.

        Raises:
            DeclarationError: what is decorated is no function, or has no such parameter.
        """
        if function is None:
            return lambda decorated: watch(decorated, features, self._counters, self._capture)
        return watch(function, features, self._counters, self._capture)

    def prediction(self, rows: object) -> Prediction:
        """Watch a block of code as one call: `with model.prediction(rows) as prediction: ...`.

        Args:
            rows: as for a function under `predict`.

        Returns:
            A context manager; set its `output` to what the model answered.
        """
        return Prediction(self._counters, self._capture, _ROWS, (rows,), {})

    def tokens(self) -> list[str | None]:
        """Return the tokens of the last call of `predict` that ended in this thread or task, one for each row.

        Ask right after the call, in the function that made it: a call in another thread or task has its tokens there,
        and a generator has them when it has ended. `prediction.tokens` of the context manager is free of that.

        Returns:
            None where an output cannot be a prediction; none at all after an exception, or without a call.

        Raises:
            DeclarationError: the model declares no outcomes.

        Example:
            >>> import os, windvane
            >>> os.environ.setdefault("WINDVANE_TOKEN_KEYS", "an example of a secret of 32 characters")[:10]
            'an example'
            >>> churn = windvane.Model("churn", version="1", outcomes=windvane.Outcomes("binary"))
            >>> predict = churn.predict(lambda rows: [0.9 for row in rows])
            >>> answers = predict([{"age": 40}, {"age": 50}])
            >>> tokens = churn.tokens()  # keep them beside what was done about the answers
            >>> churn.outcome(tokens, [True, False])  # months later, in any process
            2
        """
        last = self._issuer.last
        return [] if last is None else last.texts()

    def outcome(self, token: object, actual: object) -> int:
        """Report what came true, of one prediction or of many; in a process that lives long enough to export it.

        Nothing that is wrong with the data raises: it is counted by its reason in `windvane.outcomes.refused`, and the
        first of each reason is logged. Reported twice, an outcome counts twice; the service of `windvane process` with
        a store knows the second.

        Args:
            token: a token; or many, as a list, an array, or a column of pandas, polars or Arrow.
            actual: what came true; for many tokens as many, in the same order. Binary: a boolean, 0 or 1, or one of
                these as a text. Multiclass: a class. Regression: a number. Ranking: the relevant item, or a list of
                several. A missing value is refused.

        Returns:
            How many were counted: under the version and variant that predicted, of this model.

        Raises:
            DeclarationError: the model declares no outcomes.
        """
        return _reports.outcomes(self._counters, self._issuer.keys, token, actual)

    def feedback(self, token: object, kind: object) -> int:
        """Report feedback on predictions, such as `accepted` or `overridden`; as `outcome` in everything else.

        Args:
            token: as of `outcome`.
            kind: a text of at most 64 characters, of at most 30 different ones for a version (others count as
                `_OTHER`); for many tokens one for all, or as many. It leaves the process, so it must be no person's
                words.

        Returns:
            How many were counted.

        Raises:
            DeclarationError: the model declares no outcomes.
        """
        return _reports.feedback(self._counters, self._issuer.keys, token, kind)

    @property
    def _issuer(self) -> Issuer:
        if self._counters.issuer is None:
            raise DeclarationError(NO_OUTCOMES)
        return self._counters.issuer

    def snapshot(self) -> DriftSnapshot:
        """Compare what this process has seen so far with the baseline; a notebook shows it as a table.

        Returns:
            Each feature's PSI, noise floor, missing share and violations, the most shifted first. Calls that
            the worker has not counted within a second are not in it.
        """
        from windvane.snapshot import take_snapshot  # noqa: PLC0415 - serving does not need it

        return take_snapshot(self._counters)


def _load_baseline(name: str, baseline: Baseline | str | os.PathLike[str] | None) -> Baseline | None:
    if baseline is None:
        return None
    loaded = baseline if isinstance(baseline, Baseline) else Baseline.load(baseline)
    if loaded.model_name != name:
        msg = (
            f"Model.baseline: it was built for model {loaded.model_name!r}, not {name!r}; "
            f"build one with `windvane baseline build ... --model {name}`"
        )
        raise DeclarationError(msg)
    return loaded


def _known_names(baseline: Baseline, columns: list[str]) -> list[str]:
    """Return the names that rows may have, without being unexpected."""
    return [*columns, *(feature.name for feature in baseline.features), *baseline.ignored_columns]


def _check_features(features: Sequence[str], inputs: list[str], baseline: Baseline | None) -> list[str]:
    if isinstance(features, str):
        msg = f"Model.features: must be a list of column names, not the text {features!r}"
        raise DeclarationError(msg)
    columns = list(features)
    for column in columns:
        check_text("Model.features", column)
    for position, column in enumerate(columns):
        if column in columns[:position]:
            msg = f"Model.features: {column!r} stands twice; each column needs a name of its own"
            raise DeclarationError(msg)
    for feature in inputs:
        if feature not in columns:
            close = did_you_mean(feature, columns)
            msg = f"Model.features: the baseline's feature {feature!r} is not among them{close}"
            raise DeclarationError(msg)
    if baseline is None and semconv.UNIVERSAL_OUTPUT in columns:
        msg = (
            f"Model.features: {semconv.UNIVERSAL_OUTPUT!r} is what the model's output is counted as where there is no "
            "baseline; leave it out, or give the input another name"
        )
        raise DeclarationError(msg)
    return columns


def _check_event_times(event_time: str | Mapping[str, str] | None, features: list[str]) -> dict[str, str]:
    """Return the features whose age is measured, with the column of the time of their event."""
    if event_time is None:
        return {}
    if isinstance(event_time, str):
        check_text("Model.event_time", event_time)
        return {event_time: event_time}
    if not isinstance(event_time, Mapping):
        msg = (
            "Model.event_time: must be the name of a column, or a mapping from features to such names, not "
            f"{type(event_time).__name__}"
        )
        raise DeclarationError(msg)
    for feature, column in event_time.items():
        check_text("Model.event_time", feature)
        check_text("Model.event_time", column)
        if feature not in features and feature != column:
            msg = f"Model.event_time: the model has no feature {feature!r}{did_you_mean(feature, features)}"
            raise DeclarationError(msg)
    return dict(event_time)


def _check_type(field: str, value: object, expected: type) -> None:
    if value is not None and not isinstance(value, expected):
        msg = f"Model.{field}: must be a windvane.{expected.__name__}, not {type(value).__name__}"
        raise DeclarationError(msg)
