"""Every kind of callable is watched, stays what it is, and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mypy import api as mypy
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import windvane
from windvane import semconv

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan
    from tests.instrumentation.conftest import Host

ROW = {"x": 1.0}
CANCELLED = "cancelled"


@pytest.fixture
def model(host: Host, model_name: str) -> windvane.Model:
    """A model whose baseline has one input and one output."""
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=200), "y": rng.uniform(size=200)}
    baseline = windvane.Baseline.from_frame(frame, model=model_name, version="1", output="y")
    return windvane.Model(model_name, version="1", baseline=baseline)


def counted(host: Host, model_name: str, feature: str) -> float:
    """Values of a feature that were exported."""
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_NAME.name: feature}
    return sum(value for _, value in host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted))


def error_types(host: Host, model_name: str) -> dict[str | None, int]:
    """Calls by the type of error that ended them."""
    points = host.measured(semconv.PREDICTION_DURATION.name, **{semconv.MODEL_NAME.name: model_name})
    return {point.attributes.get(semconv.ERROR_TYPE.name): point.count for point in points if point.count}


def only_span(host: Host) -> ReadableSpan:
    (span,) = host.spans()
    return span


def in_span(host: Host) -> bool:
    """Whether a span of windvane's is the current one."""
    return trace.get_current_span().get_span_context().is_valid


def test_a_generator_is_one_call_that_lasts_as_long_as_its_stream(
    host: Host, model: windvane.Model, model_name: str
) -> None:
    """Each item is an output; the span ends with the stream; what is sent, thrown and returned goes through."""
    heard: list[object] = []

    @model.predict
    def predict(rows: object) -> Generator[float, str, str]:
        """Answer bit by bit."""
        heard.append((yield 0.25))
        try:
            yield 0.5
        except KeyError as error:
            heard.append(error)
        yield 0.75
        return "end"

    stream = predict(ROW)
    assert inspect.isgeneratorfunction(predict)
    assert next(stream) == 0.25
    assert host.spans() == []
    assert stream.send("hello") == 0.5
    error = KeyError("thrown")
    assert stream.throw(error) == 0.75
    with pytest.raises(StopIteration) as stop:
        next(stream)
    assert stop.value.value == "end"
    assert heard == ["hello", error]
    assert only_span(host).status.status_code is StatusCode.UNSET
    assert counted(host, model_name, "x") == 1
    assert counted(host, model_name, "y") == 3
    assert error_types(host, model_name) == {None: 1}


def test_an_async_generator_is_one_call_that_lasts_as_long_as_its_stream(
    host: Host, model: windvane.Model, model_name: str
) -> None:
    """As with a generator."""
    heard: list[object] = []

    @model.predict
    async def predict(rows: object) -> AsyncGenerator[float, str]:
        await asyncio.sleep(0)
        heard.append((yield 0.25))
        try:
            yield 0.5
        except KeyError as error:
            heard.append(error)
        yield 0.75

    error = KeyError("thrown")

    async def read() -> None:
        stream = predict(ROW)
        assert await anext(stream) == 0.25
        assert await stream.asend("hello") == 0.5
        assert await stream.athrow(error) == 0.75
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    assert inspect.isasyncgenfunction(predict)
    asyncio.run(read())
    assert heard == ["hello", error]
    assert only_span(host).status.status_code is StatusCode.UNSET
    assert counted(host, model_name, "y") == 3


def test_the_span_is_current_within_the_stream_and_not_between_its_items(host: Host, model: windvane.Model) -> None:
    """What the reader of a stream does is not the prediction's work."""
    within: list[bool] = []

    @model.predict
    def predict(rows: object) -> Iterator[int]:
        for item in range(3):
            within.append(in_span(host))
            yield item

    @model.predict
    async def predict_later(rows: object) -> AsyncGenerator[int, None]:
        for item in range(3):
            await asyncio.sleep(0)
            within.append(in_span(host))
            yield item

    between = [in_span(host) for _ in predict(ROW)]

    async def read() -> None:
        between.extend([in_span(host) async for _ in predict_later(ROW)])

    asyncio.run(read())
    assert within == [True] * 6
    assert between == [False] * 6


def test_streams_read_in_turn_do_not_mix_their_spans(host: Host, model: windvane.Model) -> None:
    """Two streams in one thread have spans beside each other, not within each other."""

    @model.predict
    def predict(rows: object) -> Iterator[int]:
        yield from range(3)

    assert list(zip(predict(ROW), predict(ROW), strict=True)) == [(0, 0), (1, 1), (2, 2)]
    first, second = host.spans()
    assert first.parent is None
    assert second.parent is None


def close_early(predict: Callable[[object], Generator[float, None, None]]) -> None:
    stream = predict(ROW)
    next(stream)
    stream.close()


def forget(predict: Callable[[object], Generator[float, None, None]]) -> None:
    next(predict(ROW))
    gc.collect()


@pytest.mark.parametrize("leave", [close_early, forget])
def test_a_stream_that_is_left_early_is_cancelled_and_no_error(
    host: Host, model: windvane.Model, model_name: str, leave: Callable[[Any], None]
) -> None:
    """Closed or forgotten: the function cleans up, the span ends, and what was given out is counted."""
    cleaned: list[bool] = []

    @model.predict
    def predict(rows: object) -> Generator[float, None, None]:
        try:
            yield 0.5
            yield 0.75
        finally:
            cleaned.append(True)

    leave(predict)
    assert cleaned == [True]
    span = only_span(host)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {})[semconv.ERROR_TYPE.name] == CANCELLED
    assert error_types(host, model_name) == {CANCELLED: 1}
    assert counted(host, model_name, "y") == 1


def test_an_async_stream_that_is_left_early_is_cancelled(host: Host, model: windvane.Model, model_name: str) -> None:
    """Closed early, the function cleans up where it stands, awaiting what it has to."""
    cleaned: list[bool] = []

    @model.predict
    async def predict(rows: object) -> AsyncGenerator[float, None]:
        try:
            yield 0.5
            yield 0.75
        finally:
            await asyncio.sleep(0)
            cleaned.append(in_span(host))

    async def read() -> None:
        async with contextlib.aclosing(predict(ROW)) as stream:
            await anext(stream)

    asyncio.run(read())
    assert cleaned == [True]
    assert error_types(host, model_name) == {CANCELLED: 1}


def test_a_cancelled_task_is_no_error_of_the_model(host: Host, model: windvane.Model, model_name: str) -> None:
    """A client that goes away cancels the task; the cancellation goes through."""

    @model.predict
    async def predict(rows: object) -> None:
        await asyncio.sleep(60)

    @model.predict
    async def stream(rows: object) -> AsyncGenerator[None, None]:
        await asyncio.sleep(60)
        yield

    async def read() -> list[None]:
        return [item async for item in stream(ROW)]

    async def cancel() -> None:
        for work in (predict(ROW), read()):
            task = asyncio.create_task(work)
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel())
    assert [span.status.status_code for span in host.spans()] == [StatusCode.UNSET] * 2
    assert error_types(host, model_name) == {CANCELLED: 2}


def test_a_stream_that_raises_is_an_error(host: Host, model: windvane.Model, model_name: str) -> None:
    """The same exception comes out, and what was given out before it is counted."""
    error = ValueError("secret")

    @model.predict
    def predict(rows: object) -> Iterator[float]:
        yield 0.5
        raise error

    with pytest.raises(ValueError, match="secret") as caught:
        list(predict(ROW))
    assert caught.value is error
    assert only_span(host).status.status_code is StatusCode.ERROR
    assert error_types(host, model_name) == {"ValueError": 1}
    assert counted(host, model_name, "y") == 1


def test_a_stream_without_end_is_bounded(host: Host, model: windvane.Model, model_name: str) -> None:
    """Ten thousand outputs of a stream are kept; the rest is counted as lost."""

    @model.predict
    def predict(rows: object) -> Iterator[float]:
        yield from (0.5 for _ in range(10_050))

    assert len(list(predict(ROW))) == 10_050
    assert counted(host, model_name, "y") == 10_000
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.DROP_REASON.name: "queue_full"}
    assert [value for _, value in host.otlp.points(semconv.RECORDS_DROPPED.name, **wanted)] == [50]


def test_methods_of_every_kind_are_watched(host: Host, model: windvane.Model, model_name: str) -> None:
    """Static and class methods with the decorator above or below theirs, methods, and bound ones."""

    class Service:
        """A service."""

        scale = 2

        @model.predict
        @staticmethod
        def above_static(rows: object) -> float:
            """Predict."""
            return 0.5

        @staticmethod
        @model.predict
        def below_static(rows: object) -> float:
            return 0.5

        @model.predict
        @classmethod
        def above_class(cls, rows: object) -> float:
            return 0.25 * cls.scale

        @classmethod
        @model.predict
        def below_class(cls, rows: object) -> float:
            return 0.25 * cls.scale

        @model.predict
        def method(self, rows: object) -> float:
            return 0.25 * self.scale

        def bound(self, rows: object) -> float:
            return 0.25 * self.scale

    service = Service()
    functions = [
        Service.above_static,
        service.above_static,
        Service.below_static,
        Service.above_class,
        service.above_class,
        Service.below_class,
        service.method,
        model.predict(service.bound),
    ]
    assert [function(ROW) for function in functions] == [0.5] * len(functions)
    assert Service.above_static.__doc__ == "Predict."
    assert counted(host, model_name, "x") == len(functions)


class Pipeline:
    """An object that is called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: object) -> float:
        """Predict."""
        self.calls += 1
        return 0.5


class AsyncPipeline:
    """An object that is called and awaited."""

    async def __call__(self, rows: object) -> float:
        """Predict."""
        await asyncio.sleep(0)
        return 0.5


def test_objects_and_partials_are_watched(host: Host, model: windvane.Model, model_name: str) -> None:
    """What a call does decides, also where it is awaited; the object's own attributes stay its own."""

    def predict(scale: float, rows: object) -> float:
        return scale

    async def predict_later(scale: float, rows: object) -> float:
        await asyncio.sleep(0)
        return scale

    pipeline = Pipeline()
    watched = model.predict(pipeline)
    assert [watched(ROW), pipeline.calls, "calls" in vars(watched)] == [0.5, 1, False]
    assert model.predict(functools.partial(predict, 0.5))(ROW) == 0.5
    later = [model.predict(AsyncPipeline()), model.predict(functools.partial(predict_later, 0.5))]
    for function in later:
        assert inspect.iscoroutinefunction(function)
        assert asyncio.run(function(ROW)) == 0.5
    assert counted(host, model_name, "x") == 4
    assert counted(host, model_name, "y") == 4


def spread(x: float, scale: float = 1.0) -> float:
    return 0.5


def gathered(**fields: float) -> float:
    return 0.5


def passed_on(*args: object, **kwargs: object) -> float:
    return 0.5


def preset(rows: object = ROW) -> float:
    return 0.5


def test_rows_are_found_wherever_the_arguments_hold_them(host: Host, model: windvane.Model, model_name: str) -> None:
    """By a function of the arguments, among keywords, behind *args, or as a parameter's default."""
    model.predict(features=lambda x, scale=1.0: {"x": x * scale})(spread)(1.0, scale=2.0)
    model.predict(gathered)(x=1.0)
    model.predict(passed_on)(ROW, 1, more=2)
    model.predict(preset)()
    model.predict(features="rows")(preset)(rows=ROW)
    assert counted(host, model_name, "x") == 5
    assert host.otlp.points(semconv.RECORDS_DROPPED.name, **{semconv.MODEL_NAME.name: model_name})
    assert error_types(host, model_name) == {None: 5}


def test_a_selection_that_raises_loses_the_rows_and_no_more(host: Host, model: windvane.Model, model_name: str) -> None:
    """The function that selects the rows is the user's; its failure is counted."""

    def select(rows: object) -> object:
        raise RuntimeError(rows)

    assert model.predict(features=select)(preset)() == 0.5
    assert error_types(host, model_name) == {None: 1}
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.DROP_REASON.name: "capture_failed"}
    assert [value for _, value in host.otlp.points(semconv.RECORDS_DROPPED.name, **wanted)] == [1]


def test_a_model_within_a_model_has_its_span_within(host: Host, model: windvane.Model, model_name: str) -> None:
    """Nested models count each for itself."""
    inner = windvane.Model(f"{model_name}.inner", version="1")

    @inner.predict
    def embed(rows: object) -> float:
        return 0.5

    @model.predict
    def predict(rows: object) -> float:
        return embed(rows)

    assert predict(ROW) == 0.5
    within, around = host.spans()
    assert within.parent is not None
    assert around.context is not None
    assert within.parent.span_id == around.context.span_id
    assert error_types(host, f"{model_name}.inner") == {None: 1}


def test_many_threads_and_tasks_at_once_lose_nothing(host: Host, model: windvane.Model, model_name: str) -> None:
    """Calls, coroutines and streams at once: each is counted once, and each span has its own parent."""

    @model.predict
    def predict(rows: object) -> float:
        return 0.5

    @model.predict
    async def predict_later(rows: object) -> float:
        await asyncio.sleep(0)
        return 0.5

    @model.predict
    async def stream(rows: object) -> AsyncGenerator[float, None]:
        for _ in range(2):
            await asyncio.sleep(0)
            yield 0.5

    async def request(number: int) -> None:
        with host.tracer.start_as_current_span(f"request {number}"):
            await predict_later(ROW)
            assert [item async for item in stream(ROW)] == [0.5, 0.5]

    async def tasks() -> None:
        await asyncio.gather(*(request(number) for number in range(100)))

    threads = [threading.Thread(target=lambda: [predict(ROW) for _ in range(500)]) for _ in range(4)]
    threads.append(threading.Thread(target=lambda: asyncio.run(tasks())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(host, model_name, "x") == 4 * 500 + 200
    assert counted(host, model_name, "y") == 4 * 500 + 100 + 200
    requests = {span.context.span_id for span in host.spans() if span.name.startswith("request") and span.context}
    parents = [span.parent.span_id for span in host.spans() if span.parent is not None]
    assert sorted(parents) == sorted([*requests, *requests])


TYPED = """
from collections.abc import AsyncIterator, Iterator
from typing import reveal_type
import windvane

model = windvane.Model("typed", version="1")

@model.predict
def plain(rows: list[float], *, scale: int = 1) -> str: ...
@model.predict
async def later(rows: list[float]) -> str: ...
@model.predict
def stream(rows: list[float]) -> Iterator[str]: ...
@model.predict
async def stream_later(rows: list[float]) -> AsyncIterator[str]:
    yield ""
@model.predict(features="rows")
def named(session: int, rows: list[float]) -> str: ...
@model.predict(features=lambda session, rows: rows)
def selected(session: int, rows: list[float]) -> str: ...

class Service:
    @model.predict
    def method(self, rows: list[float]) -> str: ...
    @model.predict
    @staticmethod
    def static(rows: list[float]) -> str: ...
    @model.predict
    @classmethod
    def made(cls, rows: list[float]) -> str: ...

reveal_type(plain)
reveal_type(later)
reveal_type(stream)
reveal_type(stream_later)
reveal_type(named)
reveal_type(selected)
reveal_type(Service().method([1.0]))
reveal_type(Service.static([1.0]))
reveal_type(Service.made([1.0]))
plain("no list")
"""

REVEALED = [
    "def (rows: list[float], *, scale: int =) -> str",
    "def (rows: list[float]) -> Coroutine[Any, Any, str]",
    "def (rows: list[float]) -> Iterator[str]",
    "def (rows: list[float]) -> AsyncIterator[str]",
    "def (session: int, rows: list[float]) -> str",
    "def (session: int, rows: list[float]) -> str",
    "str",
    "str",
    "str",
]


def test_type_checkers_see_the_function_as_it_was_written(tmp_path: Path) -> None:
    """Parameters and result survive the decorator, for functions and methods of every kind."""
    program = tmp_path / "service.py"
    program.write_text(TYPED)
    report, _, status = mypy.run(
        ["--strict", "--disable-error-code=empty-body", "--config-file=", f"--cache-dir={tmp_path}", str(program)]
    )
    revealed = [
        line.split('"', 1)[1].rsplit('"', 1)[0].replace("typing.", "").replace("builtins.", "")
        for line in report.splitlines()
        if "Revealed type" in line
    ]
    assert revealed == REVEALED
    assert status == 1
    (error,) = [line for line in report.splitlines() if ": error:" in line]
    assert 'incompatible type "str"' in error
