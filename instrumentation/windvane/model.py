"""The model: one object that is declared once and watches every call."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast, overload

from windvane import _runtime
from windvane._capture import Capture
from windvane._counters import ModelCounters
from windvane.baseline import Baseline, check_model_name, check_model_version
from windvane.declaration import Objectives, Owner, check_text, did_you_mean
from windvane.errors import DeclarationError
from windvane.prediction import Prediction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from windvane.snapshot import DriftSnapshot

__all__ = ["Model"]

P = ParamSpec("P")
R = TypeVar("R")

_PARAMETERS_BY_POSITION: Final = frozenset(
    {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    }
)


class Model:
    """A model in production: declare it once, put `predict` on the function that predicts.

    From then on each call has a span under the caller's span, a duration with an exemplar, and, where
    there is a baseline, the values of every feature and of the output are counted into bins. Counting
    happens on one thread beside the calls. Whatever fails inside windvane, the call returns the same
    object or raises the same exception; what is lost is counted in `windvane.records.dropped`.

    Args:
        name: name of the model: letters, digits and `._/-`.
        version: version of the model.
        baseline: the reference that live values are compared with, or the path of its file.
        owner: who is called; its fields become the labels of the model's alerts.
        objectives: what the model must hold to.
        features: names of the columns of data without names, in order; by default the baseline's inputs.
        variant: role of this deployment, such as `canary`.

    Raises:
        DeclarationError: a field, or the environment's `WINDVANE_SERIES_LIMIT`, cannot be used; the message
            names it and the mend.
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
    ) -> None:
        """Check the declaration and begin to export it."""
        check_model_name(name)
        check_model_version(version)
        _check_type("owner", owner, Owner)
        _check_type("objectives", objectives, Objectives)
        if variant is not None:
            check_text("Model.variant", variant)
        loaded = _load_baseline(name, baseline)
        inputs = [feature.name for feature in loaded.inputs] if loaded else []
        columns = inputs if features is None else _check_features(features, inputs)
        self._capture = Capture(inputs, columns, loaded.output if loaded else None)
        counters = ModelCounters(name, version, variant=variant, baseline=loaded, owner=owner, objectives=objectives)
        self._counters = _runtime.register(counters)
        if self._counters is counters:  # the same declaration may be made twice
            counters.budget.warn(name, version)

    @overload
    def predict(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def predict(self, /, *, features: str) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def predict(
        self, function: Callable[P, R] | None = None, /, *, features: str | None = None
    ) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
        """Watch a function or method that predicts.

        Args:
            function: the function; its rows are a mapping or object per row, an array, a frame or a table.
            features: name of the parameter that holds the rows; by default the first one that is
                neither `self` nor `cls`.

        Returns:
            The function with the same signature, or a decorator where only `features` is given.

        Raises:
            DeclarationError: what is decorated is no function, or has no such parameter.
        """
        if function is None:
            return lambda decorated: self._watch(decorated, features)
        return self._watch(function, features)

    def prediction(self, rows: object) -> Prediction:
        """Watch a block of code as one call: `with model.prediction(rows) as prediction: ...`.

        Args:
            rows: as for a function under `predict`.

        Returns:
            A context manager; set its `output` to what the model answered.
        """
        return Prediction(self._counters, self._capture, rows)

    def snapshot(self) -> DriftSnapshot:
        """Compare what this process has seen so far with the baseline; a notebook shows it as a table.

        Returns:
            Each feature's PSI, noise floor, missing share and violations, the most shifted first. Calls that
            the worker has not counted within a second are not in it.
        """
        from windvane.snapshot import take_snapshot  # noqa: PLC0415 - serving does not need it

        return take_snapshot(self._counters)

    def _watch(self, function: Callable[P, R], features: str | None) -> Callable[P, R]:
        position, name = _rows_parameter(function, features)
        counters, capture = self._counters, self._capture
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            msg = (
                f"predict: {function.__qualname__} is a generator; "
                "put `with model.prediction(rows)` around the part of it that predicts"
            )
            raise DeclarationError(msg)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def watch_async(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401 - the coroutine's result
                rows = args[position] if len(args) > position else kwargs.get(name)
                with Prediction(counters, capture, rows) as prediction:
                    result = prediction.output = await function(*args, **kwargs)
                return result

            return cast("Callable[P, R]", watch_async)

        @functools.wraps(function)
        def watch(*args: P.args, **kwargs: P.kwargs) -> R:
            rows = args[position] if len(args) > position else kwargs.get(name)
            with Prediction(counters, capture, rows) as prediction:
                result = prediction.output = function(*args, **kwargs)
            return result

        return watch


def _rows_parameter(function: object, features: str | None) -> tuple[int, str]:
    """Find where the rows are: the position and name of the parameter."""
    if not callable(function):
        msg = f"predict: {function!r} is no function; write @model.predict or @model.predict(features='name')"
        raise DeclarationError(msg)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built-in functions may have none
        return 0, features or ""
    if features is not None:
        for position, parameter in enumerate(parameters):
            if parameter.name == features:
                by_position = parameter.kind in _PARAMETERS_BY_POSITION
                return position if by_position else len(parameters), features
        close = did_you_mean(features, [parameter.name for parameter in parameters])
        msg = f"predict(features={features!r}): the function has no such parameter{close}"
        raise DeclarationError(msg)
    for position, parameter in enumerate(parameters):
        if position == 0 and parameter.name in {"self", "cls"}:
            continue
        if parameter.kind in _PARAMETERS_BY_POSITION:
            return position, parameter.name
        return len(parameters), parameter.name
    msg = f"predict: {getattr(function, '__qualname__', function)} takes no argument that could hold the rows"
    raise DeclarationError(msg)


def _load_baseline(name: str, baseline: Baseline | str | os.PathLike[str] | None) -> Baseline | None:
    if baseline is None:
        return None
    loaded = baseline if isinstance(baseline, Baseline) else Baseline.load(Path(baseline))
    if loaded.model_name != name:
        msg = (
            f"Model.baseline: it was built for model {loaded.model_name!r}, not {name!r}; "
            f"build one with `windvane baseline build ... --model {name}`"
        )
        raise DeclarationError(msg)
    return loaded


def _check_features(features: Sequence[str], inputs: list[str]) -> list[str]:
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
    return columns


def _check_type(field: str, value: object, expected: type) -> None:
    if value is not None and not isinstance(value, expected):
        msg = f"Model.{field}: must be a windvane.{expected.__name__}, not {type(value).__name__}"
        raise DeclarationError(msg)
