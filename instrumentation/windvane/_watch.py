"""The wrappers around functions that predict, one for each kind of callable.

A wrapper holds nothing that could raise beside the function itself: what windvane does stands in the
methods of `Prediction` and `StreamPrediction`, which let no exception out.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from windvane.declaration import did_you_mean
from windvane.errors import DeclarationError
from windvane.prediction import Prediction, RowsOf, StreamPrediction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Mapping

    from windvane._capture import Capture
    from windvane._counters import ModelCounters

__all__ = ["argument", "watch"]

_Begin: TypeAlias = "tuple[ModelCounters, Capture, RowsOf]"

_Features: TypeAlias = "str | Callable[..., object] | None"

_BY_POSITION: Final = frozenset(
    {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,  # its first, since wrappers pass everything on as *args
    }
)


def watch(function: Any, features: _Features, counters: ModelCounters, capture: Capture) -> Any:  # noqa: ANN401 - any callable
    """Wrap what is called to predict.

    Args:
        function: a function of any kind, a static or class method, a partial, or an object that is called.
        features: name of the parameter that holds the rows, or a function of the call's arguments that
            returns them; by default the first parameter that is neither `self` nor `cls`.
        counters: where its calls are counted.
        capture: what takes the snapshots.

    Raises:
        DeclarationError: it cannot be called, or has no such parameter.
    """
    if isinstance(function, staticmethod | classmethod):
        return type(function)(watch(function.__func__, features, counters, capture))
    if inspect.isclass(function) or not callable(function):
        msg = (
            f"predict: {function!r} is no function; write @model.predict or @model.predict(features='name') "
            "above the function or method that predicts"
        )
        raise DeclarationError(msg)
    body = _body(function)
    wrap = next((wrap for is_kind, wrap in _WRAPPERS if is_kind(body)), _function)
    wrapper = wrap(function, (counters, capture, _rows_of(function, features)))
    # The attributes of an object that is called belong to it; those of a function are marks of other decorators.
    return functools.update_wrapper(wrapper, function, updated=("__dict__",) if inspect.isfunction(function) else ())


def _function(function: Any, begin: _Begin) -> Any:  # noqa: ANN401 - any callable
    def watched(*args: object, **kwargs: object) -> object:
        with Prediction(*begin, args, kwargs) as prediction:
            result = prediction.output = function(*args, **kwargs)
        return result

    return watched


def _coroutine_function(function: Any, begin: _Begin) -> Any:  # noqa: ANN401 - any callable
    async def watched(*args: object, **kwargs: object) -> object:
        with Prediction(*begin, args, kwargs) as prediction:
            result = prediction.output = await function(*args, **kwargs)
        return result

    return watched


def _generator_function(function: Any, begin: _Begin) -> Any:  # noqa: ANN401 - any callable
    def watched(*args: object, **kwargs: object) -> Generator[object, object, object]:
        with StreamPrediction(*begin, args, kwargs) as prediction:
            stream = function(*args, **kwargs)
            step, value = stream.send, None
            while True:
                try:
                    with prediction.step:
                        item = prediction.output = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    step, value = stream.send, (yield item)
                except GeneratorExit:
                    with prediction.step:
                        stream.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - it belongs to the stream
                    step, value = stream.throw, error

    return watched


def _async_generator_function(function: Any, begin: _Begin) -> Any:  # noqa: ANN401 - any callable
    async def watched(*args: object, **kwargs: object) -> AsyncGenerator[object, object]:
        with StreamPrediction(*begin, args, kwargs) as prediction:
            stream = function(*args, **kwargs)
            step = stream.asend(None)
            while True:
                try:
                    with prediction.step:
                        item = prediction.output = await step
                except StopAsyncIteration:
                    return
                try:
                    step = stream.asend((yield item))
                except GeneratorExit:
                    with prediction.step:
                        await stream.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it belongs to the stream
                    step = stream.athrow(error)

    return watched


_WRAPPERS: Final = (
    (inspect.iscoroutinefunction, _coroutine_function),
    (inspect.isgeneratorfunction, _generator_function),
    (inspect.isasyncgenfunction, _async_generator_function),
)


def argument(position: int, name: str, default: object = None) -> RowsOf:
    """Return what takes the argument out of a call that passes it by position or by name."""

    def rows_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
        return args[position] if len(args) > position else kwargs.get(name, default)

    return rows_of


def _body(function: Any) -> Any:  # noqa: ANN401 - any callable
    """Return the function whose code runs, which tells whether it is awaited or iterated over."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) else type(function).__call__


def _rows_of(function: Callable[..., object], features: _Features) -> RowsOf:
    """Find where the rows are."""
    if features is not None and not isinstance(features, str):
        if not callable(features):
            msg = (
                f"predict(features={features!r}): must be the name of a parameter, or a function that returns the rows"
            )
            raise DeclarationError(msg)
        return lambda args, kwargs: features(*args, **kwargs)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # built-in functions may have none
        return argument(0, features or "")
    if features is None:
        position = 1 if parameters and parameters[0].name in {"self", "cls"} else 0
        if len(parameters) == position:
            msg = f"predict: {_name(function)} takes no argument that could hold the rows"
            raise DeclarationError(msg)
        return _parameter(parameters, position)
    names = [parameter.name for parameter in parameters]
    if features not in names:
        msg = f"predict(features={features!r}): the function has no such parameter{did_you_mean(features, names)}"
        raise DeclarationError(msg)
    return _parameter(parameters, names.index(features))


def _parameter(parameters: list[inspect.Parameter], position: int) -> RowsOf:
    parameter = parameters[position]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        named = {other.name for other in parameters}
        return lambda _args, kwargs: {name: value for name, value in kwargs.items() if name not in named}
    default = None if parameter.default is inspect.Parameter.empty else parameter.default
    return argument(position if parameter.kind in _BY_POSITION else len(parameters), parameter.name, default)


def _name(function: object) -> object:
    return getattr(function, "__qualname__", function)
