"""Whatever breaks inside windvane, a call answers as ever and the loss is counted.

Every function of the package that runs in a call, in the worker or in an export is found by introspection and
made to raise in turn, so that a new one is covered without being listed.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import inspect
import pkgutil
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider

import windvane
from windvane import _events, _runtime, semconv
from windvane.profiles import DatasetProfile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.instrumentation.conftest import Host

GUARDS = {
    # They catch what all others raise, and call nothing outside of that.
    "Model.prediction",
    "Model.tokens",
    "Model.outcome",
    "Model.feedback",
    "Model._issuer",
    "Prediction.tokens",
    "CallTokens.texts",
    "Issuer.last",
    "windvane._reports.outcomes",
    "windvane._reports.feedback",
    "windvane._reports._report",
    "Prediction.__init__",
    "Prediction.__enter__",
    "Prediction.__exit__",
    "StreamPrediction.__enter__",
    "_Step.__init__",
    "_Step.__enter__",
    "_Step.__exit__",
}
ROWS = 9
"""Rows that one round of calls passes in a form that can be read."""
OUTPUTS = 10
"""Outputs of a round that can be read."""
UNREADABLE = 2
"""Objects of a round, passed or returned, that cannot be read."""


class Place(NamedTuple):
    """Where a function stands: a module or class, and the attribute's name."""

    owner: Any
    name: str

    @property
    def label(self) -> str:
        owner = self.owner.__name__ if inspect.ismodule(self.owner) else self.owner.__qualname__
        return f"{owner}.{self.name}"


def places() -> Iterator[Place]:
    for info in pkgutil.walk_packages(windvane.__path__, "windvane."):
        if info.name == "windvane.__main__":  # importing it runs it
            continue
        module = importlib.import_module(info.name)
        for name, member in vars(module).items():
            if getattr(member, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(member):
                yield Place(module, name)
            elif inspect.isclass(member):
                for attribute, value in vars(member).items():
                    if inspect.isfunction(value) or isinstance(value, property | staticmethod | classmethod):
                        yield Place(member, attribute)


class InjectedError(RuntimeError):
    """What every function raises in turn."""


def replace(monkeypatch: pytest.MonkeyPatch, place: Place, stand_in: Callable[[Any], Any]) -> None:
    """Put another function in this place, and wherever else the package refers to the one that was there."""
    original = inspect.getattr_static(place.owner, place.name)
    if isinstance(original, property):
        monkeypatch.setattr(place.owner, place.name, property(stand_in(original.fget)))
    elif isinstance(original, staticmethod | classmethod):
        monkeypatch.setattr(place.owner, place.name, type(original)(stand_in(original.__func__)))
    else:
        new = stand_in(original)
        monkeypatch.setattr(place.owner, place.name, new)
        for module in [module for name, module in sys.modules.items() if name.startswith("windvane.")]:
            for name, value in list(vars(module).items()):
                if value is original:
                    monkeypatch.setattr(module, name, new)


def calls_of(model: windvane.Model) -> list[Callable[[], None]]:  # noqa: C901 - one small function for each kind
    """Calls of every kind, each of which fails unless it gets just what the function gives."""
    answer, error = object(), KeyError("mine")
    rows = [{"x": 1.0, "c": "a", "seen_at": 0}, {"x": None, "c": 3, "odd": 1}]
    scores, score = np.array([0.5, 0.5]), np.array([0.5])

    @model.predict
    def give(_batch: Any, result: object) -> object:
        return result

    @model.predict
    def fail(_batch: Any) -> object:
        raise error

    @model.predict
    async def give_later(_batch: Any) -> object:
        await asyncio.sleep(0)
        return score

    @model.predict
    def stream(_batch: Any) -> Iterator[float]:
        yield from scores

    @model.predict
    async def stream_later(_batch: Any) -> AsyncIterator[float]:
        for score in scores:
            yield score

    def returns(batch: object, result: object) -> None:
        assert give(batch, result) is result

    def raises() -> None:
        with pytest.raises(KeyError) as caught:
            fail(rows[0])
        assert caught.value is error

    async def read() -> list[float]:
        assert await give_later(rows[0]) is score
        return [score async for score in stream_later(rows[0])]

    def streams() -> None:
        assert list(stream(rows[0])) == list(scores)
        assert asyncio.run(read()) == list(scores)

    def block() -> None:
        with model.prediction(rows[0]) as prediction:
            prediction.output = 0.5
        assert len(prediction.tokens) <= 1

    def reports() -> None:
        tokens = model.tokens()
        assert len(tokens) <= len(rows)
        assert 0 <= model.outcome(tokens, [1] * len(tokens)) <= len(tokens)
        assert 0 <= model.feedback(tokens, "accepted") <= len(tokens)

    return [
        lambda: returns(rows, scores),
        lambda: returns(np.array([[1.0, 2.0], [np.inf, np.nan]]), scores),
        lambda: returns(object(), answer),
        raises,
        streams,
        block,
        reports,
        lambda: returns(pd.DataFrame(rows)[:0], []),
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of the thread of a flush
def test_a_fault_inside_windvane_changes_no_call_and_is_counted(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call returns its own object or raises its own exception, and the loss is counted."""
    rng = np.random.default_rng(0)
    frame = {"x": rng.normal(size=1000), "c": rng.choice(["a", "b"], 1000), "y": rng.uniform(size=1000)}
    baseline = windvane.Baseline.from_frame(
        {**frame, "late": rng.random(1000) < frame["y"]},
        model=model_name,
        version="1",
        output="y",
        actual="late",
        outcomes=windvane.Outcomes("binary"),
    )
    monkeypatch.setenv("WINDVANE_HASH_KEY", "k" * 32)
    monkeypatch.setenv("WINDVANE_TOKEN_KEYS", "k" * 32)
    model = windvane.Model(
        model_name,
        version="1",
        baseline=baseline,
        event_time="seen_at",
        events=windvane.PredictionEvents(ratio=1, values=["x"], hashed=["y"]),
        exception_messages=True,
        profiles=windvane.ProfileEvents(),
        outcomes=windvane.Outcomes("binary", segment="x"),
    )
    calls = calls_of(model)
    events = LoggerProvider()
    monkeypatch.setattr(_events, "_get_logger", lambda: events.get_logger("faults"))
    everywhere = [place for place in places() if place.label not in GUARDS]

    make_calls_and_wait(calls)
    reached: set[str] = set()
    with monkeypatch.context() as patched:
        for place in everywhere:
            replace(patched, place, functools.partial(noting, reached, place.label))
        make_calls_and_wait(calls)
    at_call = [place for place in everywhere if place.label in reached]
    assert len(at_call) > 40, "the introspection must find what runs"

    before = counted(host, model_name)
    wrong = []
    for place in at_call:
        with monkeypatch.context() as patched:
            replace(patched, place, raising)
            try:
                make_calls_and_wait(calls)
            except Exception as error:  # noqa: BLE001 - all places are to be tried
                wrong.append(f"{place.label}: the call was harmed: {error!r}")
        with_fault = counted(host, model_name, before)
        make_calls(calls)
        after = counted(host, model_name, with_fault)
        wrong += [f"{place.label}: {what}" for what in losses(with_fault - before, after - with_fault)]
        before = after
    assert not wrong, "\n".join(wrong)
    assert {"windvane-worker", "windvane-export", "windvane-profiles"} <= {
        thread.name for thread in threading.enumerate()
    }


class Counts(NamedTuple):
    """Values of a feature that were counted and that were profiled, outcomes expected, and records that were lost."""

    observed: float
    profiled: float
    expected: float
    lost: float

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


def counted(host: Host, model: str, before: Counts | None = None) -> Counts:
    """Return what was counted and lost so far; profiles come in parts, which add up to those before."""
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model}
    values = host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted, **{semconv.FEATURE_NAME.name: "x"})
    expected = host.otlp.points(semconv.OUTCOME_EXPECTED_COUNT.name, **wanted)
    lost = host.otlp.points(semconv.RECORDS_DROPPED.name, **wanted)
    profiles = [DatasetProfile.deserialize(record.body.bytes_value).columns for record in host.otlp.records()]
    profiled = sum(columns["x"].counts.n for columns in profiles if "x" in columns) + (before.profiled if before else 0)
    host.otlp.logs.clear()
    host.otlp.metrics.clear()
    host.otlp.raw.clear()
    return Counts(
        sum(value for _, value in values),
        profiled,
        round(sum(value for _, value in expected), 6),
        sum(value for _, value in lost),
    )


def losses(with_fault: Counts, after: Counts) -> Iterator[str]:
    """Tell what is wrong with the counts of a round of calls with a fault, and of one after it."""
    wanted = Counts(ROWS, ROWS, OUTPUTS, UNREADABLE)
    for missing in (wanted - with_fault)[:-1]:
        if missing > 0 and with_fault.lost <= UNREADABLE:
            yield f"{missing} values are missing, and no loss is counted: {with_fault}"
        if missing < 0:
            yield f"{-missing} values too many: {with_fault}"
    if after != wanted:
        yield f"after it {after}"
    if trace.get_current_span().get_span_context().is_valid:
        yield "its span stays the current one"


def make_calls(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


def make_calls_and_wait(calls: list[Callable[[], None]]) -> None:
    make_calls(calls)
    # The public functions that wait are told of the fault; the threads behind them are not to end of it.
    for wait in (_runtime.worker.drain, windvane.flush):
        with contextlib.suppress(InjectedError):
            wait(2)


def noting(reached: set[str], label: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def note(*args: Any, **kwargs: Any) -> Any:
        reached.add(label)
        return original(*args, **kwargs)

    return note


def raising(_original: Callable[..., Any]) -> Callable[..., Any]:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise InjectedError

    return fail
