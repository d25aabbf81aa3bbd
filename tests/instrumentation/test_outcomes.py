"""Outcomes: which token each prediction gets, and what is counted of what came true."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading
import time
from collections import Counter
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from sklearn import metrics

import windvane
from windvane import Outcomes, _events, _ledger, _reports, semconv
from windvane._issuer import bin_labels
from windvane._ledger import MAX_EVENTS_PER_SECOND, Ledger, Sums
from windvane.bins import CategoryBins, LengthBins, NumericBins, TimeBins
from windvane.budget import budget
from windvane.cli import main
from windvane.errors import DeclarationError, TokenError
from windvane.outcomes import (
    MAX_AHEAD,
    MAX_CLASSES,
    MAX_FEEDBACK_KINDS,
    MAX_TOKEN_AGE,
    Caps,
    class_of,
    increments,
    log_loss,
    predictions_of,
    score_bin,
)
from windvane.testing import capture
from windvane.tokens import (
    TOKEN_KEYS,
    PredictedClass,
    PredictedNumber,
    PredictedRanking,
    PredictedScore,
    Token,
    TokenKeys,
    item_digest,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from receivers import OtlpReceiver
    from tests.instrumentation.conftest import Host

SECRET = "an example of a secret of 32 characters"  # noqa: S105 - of a test
KEYS = TokenKeys([SECRET])
RNG = np.random.default_rng(7)
SCORES = np.round(RNG.beta(2, 2, 3000), 3)
POSITIVE = RNG.uniform(size=3000) < SCORES**1.3

numbered = count()


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_KEYS, SECRET)


@pytest.fixture
def model_name(request: pytest.FixtureRequest) -> str:
    """A short name of the test's own."""
    return f"{request.function.__name__[:40]}.{next(numbered)}"


def make_model(name: str, outcomes: Outcomes, **declared: Any) -> windvane.Model:
    return windvane.Model(name, version="1", outcomes=outcomes, **declared)


def answers(model: windvane.Model, output: object, rows: object = None) -> list[str | None]:
    """The tokens of a call that answers so."""
    model.predict(lambda _rows: output)([{}] * len(output) if rows is None else rows)  # type: ignore[arg-type]
    return model.tokens()


def read(tokens: list[str | None]) -> list[Any]:
    """What the tokens say was predicted."""
    return [None if token is None else KEYS.read(token).predicted for token in tokens]


def counted(host: Host, model: str, metric: semconv.Metric, *labels: semconv.Attribute) -> dict[Any, float]:
    """The values that left through OTLP, by these attributes."""
    points = host.measured(metric.name, **{semconv.MODEL_NAME.name: model})
    values = {tuple(point.attributes.get(label.name) for label in labels): point.value for point in points}
    return {key[0] if len(key) == 1 else key: value for key, value in values.items()}


# --- What is counted equals what scikit-learn says of the same rows. ------------------------------------------------


def test_binary_statistics_follow_from_the_counters(host: Host, model_name: str) -> None:
    """Confusion, accuracy, precision, recall, F1, Brier and log loss are exact, AUC within what shares a bin."""
    model = make_model(model_name, Outcomes("binary", threshold=0.4))
    tokens = [token for part in np.split(SCORES, 10) for token in answers(model, part)]
    assert model.outcome(tokens, POSITIVE) == 3000
    scores = SCORES.astype(np.float32)
    predicted = scores >= np.float32(0.4)
    confusion = counted(host, model_name, semconv.OUTCOME_CLASSIFIED, semconv.OUTCOME_PREDICTED, semconv.OUTCOME_ACTUAL)
    expected = metrics.confusion_matrix(POSITIVE, predicted)
    assert {(p, a): expected[int(a), int(p)] for p in "01" for a in "01"} == confusion
    results = counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)
    assert results["right"] / sum(results.values()) == metrics.accuracy_score(POSITIVE, predicted)
    precision = confusion["1", "1"] / (confusion["1", "1"] + confusion["1", "0"])
    recall = confusion["1", "1"] / (confusion["1", "1"] + confusion["0", "1"])
    assert precision == metrics.precision_score(POSITIVE, predicted)
    assert recall == metrics.recall_score(POSITIVE, predicted)
    assert 2 * precision * recall / (precision + recall) == pytest.approx(metrics.f1_score(POSITIVE, predicted), 1e-12)
    exact = scores.astype(np.float64)
    (squared,) = counted(host, model_name, semconv.OUTCOME_SQUARED_ERROR, semconv.MODEL_NAME).values()
    assert squared / 3000 == pytest.approx(metrics.brier_score_loss(POSITIVE, exact), rel=1e-12)
    (loss,) = counted(host, model_name, semconv.OUTCOME_LOG_LOSS, semconv.MODEL_NAME).values()
    assert loss / 3000 == pytest.approx(metrics.log_loss(POSITIVE, exact), rel=1e-12)
    scored = counted(host, model_name, semconv.OUTCOME_SCORED, semconv.OUTCOME_SCORE_BIN, semconv.OUTCOME_ACTUAL)
    bins = [f"{i:02d}" for i in range(20)]
    positive, negative = (np.array([scored.get((label, actual), 0) for label in bins]) for actual in "10")
    # Pairs of one bin count half, so the area is off by half of their share at most.
    below = np.concatenate([[0], np.cumsum(negative)[:-1]])
    area = (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())
    bound = (positive * negative).sum() / 2 / (positive.sum() * negative.sum())
    assert abs(area - metrics.roc_auc_score(POSITIVE, exact)) <= bound < 0.03
    sums = counted(host, model_name, semconv.OUTCOME_SCORE, semconv.OUTCOME_SCORE_BIN)
    binned = np.minimum(np.floor(exact * 20), 19).astype(int)
    for i, label in enumerate(bins):
        assert sums.get(label, 0) == pytest.approx(exact[binned == i].sum(), rel=1e-12)
        assert (positive[i], negative[i]) == (POSITIVE[binned == i].sum(), (~POSITIVE[binned == i]).sum())


def test_multiclass_statistics_follow_from_the_counters(host: Host, model_name: str) -> None:
    """The confusion matrix, accuracy, and precision, recall and F1 of each class are exact."""
    classes = np.array(["early", "on time", "late"])
    predicted, actual = RNG.choice(classes, 2000), RNG.choice(classes, 2000)
    actual[:900] = predicted[:900]
    model = make_model(model_name, Outcomes("multiclass"))
    assert model.outcome(answers(model, predicted), actual) == 2000
    confusion = counted(host, model_name, semconv.OUTCOME_CLASSIFIED, semconv.OUTCOME_PREDICTED, semconv.OUTCOME_ACTUAL)
    expected = metrics.confusion_matrix(actual, predicted, labels=classes)
    assert {(str(p), str(a)): expected[i, j] for i, a in enumerate(classes) for j, p in enumerate(classes)} == confusion
    results = counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)
    assert results["right"] / 2000 == metrics.accuracy_score(actual, predicted)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(actual, predicted, labels=classes)
    for i, label in enumerate(classes.tolist()):
        hit = confusion[label, label]
        of_predicted = sum(n for (p, _), n in confusion.items() if p == label)
        of_actual = sum(n for (_, a), n in confusion.items() if a == label)
        assert (hit / of_predicted, hit / of_actual) == (precision[i], recall[i])
        assert 2 * hit / (of_predicted + of_actual) == pytest.approx(f1[i], rel=1e-12)


def test_regression_statistics_follow_from_the_counters(host: Host, model_name: str) -> None:
    """MAE, RMSE and bias within 1e-10, the share within the tolerance exact."""
    predicted = RNG.normal(40, 25, 2000)
    actual = predicted + RNG.normal(3, 10, 2000)
    model = make_model(model_name, Outcomes("regression", tolerance=5))
    assert model.outcome(answers(model, predicted), actual) == 2000
    errors = counted(host, model_name, semconv.OUTCOME_ABSOLUTE_ERROR, semconv.OUTCOME_DIRECTION)
    (squared,) = counted(host, model_name, semconv.OUTCOME_SQUARED_ERROR, semconv.MODEL_NAME).values()
    results = counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)
    assert sum(results.values()) == 2000
    assert sum(errors.values()) / 2000 == pytest.approx(metrics.mean_absolute_error(actual, predicted), rel=1e-10)
    assert math.sqrt(squared / 2000) == pytest.approx(metrics.root_mean_squared_error(actual, predicted), rel=1e-10)
    assert (errors["over"] - errors["under"]) / 2000 == pytest.approx((predicted - actual).mean(), rel=1e-9)
    assert results["right"] == (np.abs(predicted - actual) <= 5).sum()


def test_ranking_statistics_follow_from_the_counters(host: Host, model_name: str) -> None:
    """Hit rate at every k up to the declared one, and the mean reciprocal rank."""
    items = np.array([f"sku-{i}" for i in range(30)])
    rankings = [RNG.permutation(items)[:12].tolist() for _ in range(500)]
    wanted = RNG.choice(items, 500).tolist()
    model = make_model(model_name, Outcomes("ranking", k=8))
    assert model.outcome(answers(model, rankings), wanted) == 500
    ranks = counted(host, model_name, semconv.OUTCOME_RANKED, semconv.OUTCOME_RANK)
    places = [
        ranking[:8].index(item) + 1 if item in ranking[:8] else None
        for ranking, item in zip(rankings, wanted, strict=True)
    ]
    assert ranks == Counter("none" if place is None else str(place) for place in places)
    reciprocal = sum(n / int(rank) for rank, n in ranks.items() if rank != "none") / 500
    assert reciprocal == pytest.approx(np.mean([0 if place is None else 1 / place for place in places]))
    results = counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)
    assert results["right"] == sum(place is not None for place in places)


@given(st.floats(0, 1, width=32), st.booleans())
def test_the_log_loss_of_a_score_is_scikit_learns(score: float, positive: bool) -> None:  # noqa: FBT001 - drawn
    """Also at 0 and 1, where both clip."""
    expected = metrics.log_loss([positive], [score], labels=[False, True])
    assert log_loss(score, positive=positive) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("score", "label"), [(0.0, "00"), (0.05, "01"), (0.0499, "00"), (0.95, "19"), (1.0, "19")])
def test_a_score_has_one_of_twenty_bins(score: float, label: str) -> None:
    """The last holds 1 too."""
    assert score_bin(score) == label


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9])
def test_a_score_of_the_threshold_is_positive_in_every_precision(dtype: type[Any], threshold: float) -> None:
    """A service in single precision decides as one in double; in half precision by what the score is."""
    declared = Outcomes("binary", threshold=threshold)
    (at, below) = predictions_of(declared, np.array([threshold, threshold - 0.01], dtype=dtype))
    assert isinstance(at, PredictedScore)
    assert isinstance(below, PredictedScore)
    assert at.positive == (np.float32(dtype(threshold)) >= np.float32(threshold))
    assert not below.positive


@pytest.mark.parametrize("tolerance", [0.1, 0.3, 0.7, 2, 10])
def test_a_miss_by_just_the_tolerance_is_right(tolerance: float) -> None:
    """Whichever way single precision rounds it; what misses by more is wrong."""
    (predicted,) = predictions_of(Outcomes("regression", tolerance=tolerance), [0.0])
    assert predicted is not None
    token = a_token(predicted)
    assert Sums().add(token, tolerance, time.time()) == "right"
    assert Sums().add(token, -tolerance, time.time()) == "right"
    assert Sums().add(token, tolerance * 1.00001, time.time()) == "wrong"


def a_token(predicted: Any, **fields: Any) -> Token:
    token = Token("m", "1", None, None, int(time.time()), 1, 2, 0, sampled=False, predicted=predicted)
    return token._replace(**fields)


texts = st.text(max_size=3)
judged = st.one_of(
    st.tuples(st.builds(PredictedScore, st.floats(0, 1, width=32), st.booleans()), st.booleans()),
    st.tuples(st.builds(PredictedClass, texts.map(class_of).map(str)), texts | st.integers(0, 3)),
    st.tuples(st.builds(PredictedNumber, st.floats(-9, 9), st.none() | st.just(1.0)), st.floats(-9, 9)),
    st.tuples(st.just(PredictedRanking((item_digest("a"), item_digest("b")))), st.sampled_from(["a", "b", "c"])),
)


@given(st.lists(st.tuples(judged, st.sampled_from([None, "00", "01"]), st.floats(0, 1e7)), max_size=20))
def test_sums_are_those_of_the_increments(reports: list[Any]) -> None:
    """The faster way of a process and the increments of a store are one rule."""
    sums, caps, expected = Sums(), Caps(), Counter[Any]()
    for (predicted, actual), segment, lag in reports:
        token = a_token(predicted, segment=segment)
        found = list(increments(token, actual, token.time + lag, caps))
        for series, amount in found:
            expected[series] += amount  # type: ignore[assignment]
        assert sums.add(token, actual, token.time + lag) == found[0][0].values[3]  # noqa: PD011 - no frame
    assert sums.values == expected  # noqa: PD011 - no frame


# --- Which tokens a call gives. ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "output", "expected"),
    [
        (Outcomes("binary"), [0.25, 0.75], [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), (0.25, 0.75), [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), np.array([0.25, 0.75], dtype=np.float16), [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), pd.Series([0.25, 0.75], index=[7, 3]), [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), pl.Series([0.25, None]), [(0.25, False), None]),
        (Outcomes("binary"), pa.chunked_array([[0.25], [0.75]]), [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), np.array([[0.75, 0.25], [0.25, 0.75]]), [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), [[0.75, 0.25], [0.25, 0.75]], [(0.25, False), (0.75, True)]),
        (Outcomes("binary"), [0.5, math.nan, None, 1.5, -0.1, "x", object()], [(0.5, True), *[None] * 6]),
        (Outcomes("binary", threshold=0.8), [0.75, Decimal("0.875")], [(0.75, False), (0.875, True)]),
        (Outcomes("multiclass"), ["a", "b", None, 1.5], [("a",), ("b",), None, None]),
        (Outcomes("multiclass"), np.array([2, 0]), [("2",), ("0",)]),
        (Outcomes("multiclass"), [True, 1.0, "x" * 33, "é" * 17, "a\nb", ""], [("True",), ("1",), *[("_OTHER",)] * 4]),
        (Outcomes("multiclass"), np.array([[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]), [("2",), ("0",)]),
        (Outcomes("multiclass"), np.array([[0.1, 0.9], [0.8, 0.2]]), [("1",), ("0",)]),
        (Outcomes("regression"), [1.5, 2, math.inf], [(1.5, None), (2.0, None), None]),
        (Outcomes("regression", tolerance=0.5), np.array([[1.5], [2.5]]), [(1.5, 0.5), (2.5, 0.5)]),
        (Outcomes("regression"), scipy.sparse.csr_matrix(np.eye(2)), [None, None]),
        (Outcomes("regression"), object(), [None, None]),
    ],
)  # fmt: skip
def test_each_output_gives_a_token(model_name: str, outcomes: Outcomes, output: Any, expected: list[Any]) -> None:
    """Of every shape that is read; None where it can be no prediction."""
    model = make_model(model_name, outcomes)
    assert read(answers(model, output, [{}] * len(expected))) == expected


@pytest.mark.parametrize(
    ("output", "rows", "expected"),
    [
        (["a", "b", "c", "d"], 1, [["a", "b", "c"]]),
        ([["a", "b"], ["c"]], 2, [["a", "b"], ["c"]]),
        (["a", "b"], 2, [["a"], ["b"]]),
        (np.array([[1, 2, 3, 4], [4, 3, 2, 1]]), 2, [["1", "2", "3"], ["4", "3", "2"]]),
        (np.array([1, 2, 3, 4]), 1, [["1", "2", "3"]]),
        (pd.DataFrame([["a", "b"], ["c", None]]), 2, [["a", "b"], ["c"]]),
        (pl.Series([["a", "b"], ["c"]]), 2, [["a", "b"], ["c"]]),
        ([["a", None, "b"], [], [None]], 3, [None, None, None]),
        ("a", 1, [["a"]]),
        (object(), 2, [None, None]),
        ([{"a": 1}], 1, [None]),
    ],
)
def test_each_ranking_gives_a_token(model_name: str, output: Any, rows: int, expected: list[Any]) -> None:
    """Of the first k items; a list for each row, or for one row a list of items."""
    model = make_model(model_name, Outcomes("ranking", k=3), features=["x"])
    tokens = answers(model, output, [{"x": 1}] * rows)
    assert read(tokens) == [None if r is None else (tuple(map(item_digest, r)),) for r in expected]


def test_a_ranking_is_a_snapshot(model_name: str) -> None:
    """What the caller does to the list afterwards does not matter."""
    model = make_model(model_name, Outcomes("ranking"))
    ranking = [["a", "b"]]
    model.predict(lambda _rows: ranking)([{}])
    ranking[0][0] = "z"
    assert read(model.tokens()) == [((item_digest("a"), item_digest("b")),)]


def test_a_token_tells_where_its_prediction_stands(host: Host, model_name: str) -> None:
    """Model, version, variant, the call's own span, the row and the time."""
    model = make_model(model_name, Outcomes("binary"), variant="canary")
    before = int(time.time())
    tokens = [KEYS.read(str(token)) for token in answers(model, [0.25, 0.75])]
    (span,) = host.spans()
    assert span.context is not None
    for row, token in enumerate(tokens):
        assert (token.model, token.version, token.variant, token.segment, token.row) == (
            model_name,
            "1",
            "canary",
            None,
            row,
        )
        assert (token.trace_id, token.span_id, token.sampled) == (span.context.trace_id, span.context.span_id, True)
        assert before <= token.time <= time.time()


@pytest.mark.usefixtures("host")
def test_an_unsampled_call_has_tokens_of_its_own(model_name: str) -> None:
    """Under an unsampled parent each call has a span id of its own, and the tokens say that no trace was kept."""
    model = make_model(model_name, Outcomes("binary"))
    parent = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(0))
    attached = context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        tokens = [KEYS.read(str(token)) for _ in range(2) for token in answers(model, [0.5])]
    finally:
        context.detach(attached)
    assert [token.sampled for token in tokens] == [False, False]
    assert {token.trace_id for token in tokens} == {5}
    assert len({6, *(token.span_id for token in tokens)}) == 3


def test_without_an_sdk_no_two_predictions_are_the_same() -> None:
    """Ids are random, or under a caller's span its trace and a span id of the call's own."""
    script = """
import sys
import windvane
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from windvane.tokens import TokenKeys

model = windvane.Model("m", version="1", outcomes=windvane.Outcomes("binary"))
predict = model.predict(lambda rows: [0.5])
found = []
for _ in range(2):
    predict([{}])
    assert model.tokens() == model.tokens()
    found += model.tokens()
context.attach(trace.set_span_in_context(NonRecordingSpan(SpanContext(5, 6, True, TraceFlags(1)))))
for _ in range(2):
    predict([{}])
    found += model.tokens()
assert "opentelemetry.sdk" not in sys.modules
tokens = [TokenKeys.from_environment().read(token) for token in found]
assert len({token.span_id for token in tokens} | {6}) == 5
assert len({token.trace_id for token in tokens}) == 3
assert [token.trace_id for token in tokens[2:]] == [5, 5]
assert [token.sampled for token in tokens] == [False, False, True, True]
assert model.outcome(found, [1, 0, 1, 0]) == 4
"""
    subprocess.run([sys.executable, "-c", script], env={TOKEN_KEYS: SECRET}, check=True, timeout=60)


@pytest.mark.usefixtures("host")
def test_every_kind_of_callable_has_tokens(model_name: str) -> None:
    """Functions, coroutines, generators, async generators, methods and the context manager."""
    model = make_model(model_name, Outcomes("binary"))

    @model.predict
    async def later(_rows: Any) -> list[float]:
        await asyncio.sleep(0)
        return [0.25]

    @model.predict
    def stream(_rows: Any) -> Iterator[float]:
        yield from (0.25, "odd", 0.75)  # type: ignore[misc]

    @model.predict
    async def stream_later(_rows: Any) -> AsyncIterator[float]:
        for score in (0.25, 0.75):
            yield score

    class Service:
        @model.predict
        def predict(self, _rows: Any) -> list[float]:
            return [0.75]

    async def run() -> None:
        await later([{}])
        assert read(model.tokens()) == [(0.25, False)]
        assert [score async for score in stream_later({})] == [0.25, 0.75]
        assert read(model.tokens()) == [(0.25, False), (0.75, True)]

    asyncio.run(run())
    assert list(stream({})) == [0.25, "odd", 0.75]
    assert read(model.tokens()) == [(0.25, False), None, (0.75, True)]
    Service().predict([{}])
    assert read(model.tokens()) == [(0.75, True)]
    with model.prediction([{}, {}]) as prediction:
        assert prediction.tokens == []
        prediction.output = [0.25, 0.75]
    assert read(prediction.tokens) == [(0.25, False), (0.75, True)]
    assert prediction.tokens == model.tokens()


@pytest.mark.usefixtures("host")
def test_a_stream_that_is_left_early_has_the_tokens_of_what_it_gave(model_name: str) -> None:
    """One for each item."""
    model = make_model(model_name, Outcomes("binary"))

    @model.predict
    def stream(_rows: Any) -> Iterator[float]:
        yield from (0.25, 0.75, 0.5)

    reading = stream({})
    next(reading)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert read(model.tokens()) == [(0.25, False), (0.75, True)]


@pytest.mark.usefixtures("host")
def test_a_call_that_raises_has_no_tokens(model_name: str) -> None:
    """And those of the call before it are gone."""
    model = make_model(model_name, Outcomes("binary"))
    assert model.tokens() == []
    answers(model, [0.5])

    @model.predict
    def fail(_rows: Any) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fail([{}])
    assert model.tokens() == []
    prediction = model.prediction([{}])
    with pytest.raises(KeyError), prediction:
        fail_with(prediction)
    assert prediction.tokens == []


def fail_with(prediction: windvane.Prediction) -> None:
    prediction.output = [0.5]
    raise KeyError


def test_each_thread_and_task_has_the_tokens_of_its_own_calls(model_name: str) -> None:
    """None is mixed up, whatever runs at the same time."""
    model = make_model(model_name, Outcomes("regression"))
    predict = model.predict(lambda rows: [row["x"] for row in rows])
    wrong: list[object] = []

    def run(number: int) -> None:
        for i in range(50):
            predict([{"x": float(number)}, {"x": float(i)}])
            if read(model.tokens()) != [(float(number), None), (float(i), None)]:
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    @model.predict
    async def later(rows: Any) -> list[float]:
        await asyncio.sleep(0.001 * rows[0]["x"])
        return [row["x"] for row in rows]

    async def task(number: int) -> list[Any]:
        await later([{"x": float(number)}])
        await asyncio.sleep(0.001)
        return read(model.tokens())

    async def tasks() -> list[Any]:
        return await asyncio.gather(*map(task, range(5)))

    assert asyncio.run(tasks()) == [[(float(number), None)] for number in range(5)]
    assert not wrong


def a_baseline(name: str, output: object, **columns: Any) -> windvane.Baseline:
    frame = {"x": np.arange(100.0), "c": ["a", "b"] * 50, "y": output, **columns}
    return windvane.Baseline.from_frame(frame, model=name, version="1", output="y")


def test_a_segment_is_the_bin_of_the_row(host: Host, model_name: str) -> None:
    """By the baseline's bins, in every shape of rows; the share of right predictions is told apart by it."""
    baseline = a_baseline(model_name, np.linspace(0, 1, 100))
    model = make_model(model_name, Outcomes("binary", segment="x"), baseline=baseline)
    xs = [5.0, 95.0, None, math.inf, "odd"]
    rows = [{"x": x, "c": "a"} for x in xs]
    tokens = answers(model, [0.75] * 5, rows)
    segments = [KEYS.read(str(token)).segment for token in tokens]
    assert segments == ["00", "09", "null", "other", "other"]
    frame = pd.DataFrame({"c": ["a"] * 2, "x": [5.0, 95.0]})
    assert [KEYS.read(str(token)).segment for token in answers(model, [0.75] * 2, frame)] == ["00", "09"]
    assert model.outcome(tokens, [1, 0, 1, 1, 0]) == 5
    assert counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT, semconv.OUTCOME_SEGMENT) == {
        ("right", "00"): 1, ("wrong", "09"): 1, ("right", "null"): 1, ("right", "other"): 1, ("wrong", "other"): 1,
    }  # fmt: skip
    answers(model, [0.75], object())
    assert KEYS.read(str(model.tokens()[0])).segment is None
    info = host.otlp.points(semconv.OUTCOME_SEGMENT_INFO.name, **{semconv.MODEL_NAME.name: model_name})
    holds = {
        labels[semconv.OUTCOME_SEGMENT.name]: labels[semconv.FEATURE_BIN_RANGE.name]
        for labels, _ in info
        if labels[semconv.FEATURE_NAME.name] == "x"
    }
    bins = baseline.inputs[0].bins
    assert holds == dict(zip(bins.labels, bins.ranges, strict=True))


anything = st.none() | st.floats() | st.integers(-5, 120) | st.text(max_size=3) | st.booleans()


@given(
    st.lists(anything, max_size=8),
    st.sampled_from(
        [
            NumericBins((1.0, 10.0), 0, 100),
            CategoryBins(("a", "b", "1"), 2),
            LengthBins((1.0,), 0, 3),
            TimeBins(),
        ]
    ),
)
def test_the_labels_of_rows_are_what_is_counted(values: list[Any], bins: Any) -> None:
    """One by one or as a column, each value has the bin that `count` counts it in."""
    counts = dict(zip(bins.labels, bins.count(values)[0].tolist(), strict=True))
    assert Counter(bin_labels(bins, values)) == {label: number for label, number in counts.items() if number}


def test_declared_outcomes_change_no_count_of_outputs(host: Host, model_name: str) -> None:
    """Without an output in the baseline, or features, no output is counted, and none is lost."""
    model = make_model(model_name, Outcomes("ranking"), features=["x"])
    with capture() as signals:
        answers(model, [["a", "b"]], [{"x": 1}])
    assert signals.dropped == {}
    points = host.measured(semconv.FEATURE_OBSERVATIONS.name, **{semconv.MODEL_NAME.name: model_name})
    assert {point.attributes[semconv.FEATURE_NAME.name] for point in points} == {"x"}


# --- Declarations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "binry"}, r"Outcomes\.kind.*did you mean 'binary'"),
        ({"kind": "multiclass", "threshold": 0.5}, r"Outcomes\.threshold: is for the kind 'binary'"),
        ({"kind": "binary", "threshold": 1.0}, "between 0 and 1"),
        ({"kind": "binary", "threshold": 1e-60}, "between 0 and 1"),
        ({"kind": "binary", "threshold": math.nan}, "between 0 and 1"),
        ({"kind": "binary", "threshold": True}, "between 0 and 1"),
        ({"kind": "regression", "tolerance": -1}, "at least 0"),
        ({"kind": "regression", "tolerance": 1e300}, "at least 0"),
        ({"kind": "ranking", "k": 21}, "1 to 20"),
        ({"kind": "ranking", "k": 2.5}, "1 to 20"),
        ({"kind": "binary", "segment": ""}, r"Outcomes\.segment"),
    ],
)
def test_outcomes_that_cannot_be_used_are_refused(arguments: dict[str, Any], message: str) -> None:
    """The message names the field."""
    with pytest.raises(DeclarationError, match=message):
        Outcomes(**arguments)


def test_outcomes_must_fit_the_baseline(model_name: str) -> None:
    """The kind its output, the segment its inputs."""
    scores = a_baseline(model_name, np.linspace(0, 1, 100))
    minutes = a_baseline(model_name, np.linspace(-30, 90, 100))
    classes = a_baseline(model_name, ["late", "on time"] * 50)
    for kind, baseline in (
        ("binary", minutes), ("binary", classes), ("multiclass", scores), ("regression", classes), ("ranking", scores),
    ):  # fmt: skip
        with pytest.raises(DeclarationError, match=rf"Outcomes\.kind: '{kind}' does not fit the baseline's output 'y'"):
            make_model(model_name, Outcomes(kind), baseline=baseline)
    with pytest.raises(DeclarationError, match=r"Outcomes\.segment: the baseline has no input 'y'"):
        make_model(model_name, Outcomes("binary", segment="y"), baseline=scores)
    with pytest.raises(DeclarationError, match="build a baseline"):
        make_model(model_name, Outcomes("binary", segment="x"))
    for kind, baseline in (("binary", scores), ("regression", minutes), ("multiclass", classes)):
        named = baseline.model_name
        windvane.Model(named, version=kind, outcomes=Outcomes(kind, segment="c"), baseline=baseline)


@pytest.mark.parametrize("variant", ["two\nlines", "x" * 129, "ß" * 65, "\ud800"])
def test_a_variant_that_no_token_can_carry_is_refused(model_name: str, variant: str) -> None:
    """Where outcomes are declared."""
    with pytest.raises(DeclarationError, match=r"Model\.variant"):
        make_model(model_name, Outcomes("binary"), variant=variant)


def test_without_keys_outcomes_are_refused(model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and the mend; a model without outcomes needs none."""
    monkeypatch.delenv(TOKEN_KEYS)
    with pytest.raises(DeclarationError, match=f"{TOKEN_KEYS}: is not set.*openssl"):
        make_model(model_name, Outcomes("binary"))
    with pytest.raises(DeclarationError, match=r"outcomes: must be a windvane\.Outcomes"):
        windvane.Model(model_name, version="1", outcomes="binary")  # type: ignore[arg-type]
    model = windvane.Model(model_name, version="1")
    with model.prediction([{}]) as prediction:
        prediction.output = 1
    for ask in (
        model.tokens,
        lambda: model.outcome("x", 1),
        lambda: model.feedback("x", "y"),
        lambda: prediction.tokens,
    ):
        with pytest.raises(DeclarationError, match="declares no outcomes"):
            ask()


# --- Reporting -----------------------------------------------------------------------------------------------------


def refused(host: Host) -> Counter[str]:
    points = host.measured(semconv.OUTCOMES_REFUSED.name)
    return Counter({point.attributes[semconv.OUTCOME_REFUSAL.name]: int(point.value) for point in points})


@pytest.mark.parametrize(
    ("tokens", "actuals"),
    [
        (list, list),
        (tuple, tuple),
        (np.array, np.array),
        (pd.Series, lambda actuals: pd.Series(actuals, index=[9, 8, 7])),
        (pd.Index, lambda actuals: pd.Series(actuals, dtype="boolean")),
        (pl.Series, pl.Series),
        (pa.array, pa.array),
        (lambda tokens: pa.chunked_array([tokens[:1], tokens[1:]]), list),
        (list, lambda actuals: [str(actual) for actual in actuals]),
        (list, lambda actuals: [np.int8(actual) for actual in actuals]),
        (list, lambda actuals: np.array(actuals, dtype=np.float32)),
        (iter, iter),
    ],
)
@pytest.mark.usefixtures("host")
def test_columns_of_every_library_are_reported(
    model_name: str, tokens: Callable[[list[Any]], Any], actuals: Callable[[list[Any]], Any]
) -> None:
    """In order, and not by an index."""
    model = make_model(model_name, Outcomes("binary"))
    given_tokens = answers(model, [0.75, 0.25, 0.75])
    with capture() as signals:
        assert model.outcome(tokens(given_tokens), actuals([True, False, False])) == 3
    assert signals.of(model_name).outcomes == {"right": 2, "wrong": 1}


def test_one_token_is_reported(host: Host, model_name: str) -> None:
    """With its lag, and a list of items where several were relevant."""
    model = make_model(model_name, Outcomes("ranking"))
    old = a_token(
        PredictedRanking((item_digest("a"), item_digest("b"))), model=model_name, time=int(time.time()) - 7200
    )
    (text,) = KEYS.write([old])
    assert model.outcome(text, "b") == model.outcome(text, ["z", "a"]) == model.outcome(text, {"b"}) == 1
    assert model.outcome([text, text], [["z"], ["q", "b"]]) == 2
    assert counted(host, model_name, semconv.OUTCOME_RANKED, semconv.OUTCOME_RANK) == {"1": 1, "2": 3, "none": 1}
    (lag,) = host.measured(semconv.OUTCOME_LAG.name, **{semconv.MODEL_NAME.name: model_name})
    assert lag.count == 5
    assert lag.point.sum == pytest.approx(5 * 7200, rel=0.01)
    assert list(lag.point.bucket_counts)[4] == 5
    assert not lag.point.HasField("min")


def test_an_outcome_counts_under_the_version_and_variant_that_predicted(host: Host, model_name: str) -> None:
    """Of this model; a token of another one is refused."""
    model = make_model(model_name, Outcomes("binary"), variant="stable")
    other = a_token(PredictedScore(0.5, positive=True), model=model_name, version="7", variant="shadow")
    foreign = other._replace(model="another")
    before = refused(host)
    assert model.outcome(KEYS.write([other, foreign]), [1, 1]) == 1
    points = host.measured(semconv.OUTCOME_COUNT.name, **{semconv.MODEL_NAME.name: model_name})
    assert [(p.attributes["ml.model.version"], p.attributes["ml.model.variant"]) for p in points] == [("7", "shadow")]
    assert refused(host) - before == {"model": 1}


class Odd:
    """A value that raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


BAD_ACTUALS = {
    "binary": [None, math.nan, pd.NA, pd.NaT, 2, -1, 0.5, "yes", "", [], object(), Odd(), np.datetime64("NaT"), b"1"],
    "multiclass": [None, math.nan, pd.NA, 1.5, [], object(), Odd(), b"a"],
    "regression": [
        None,
        math.nan,
        math.inf,
        -math.inf,
        1e200,
        "three",
        "1_0",
        "inf",
        "",
        [],
        [1.0],
        object(),
        Odd(),
        10**400,
    ],
    "ranking": [None, math.nan, [], [None], [math.nan, None], object(), Odd(), 1.5],
}
PREDICTED = {
    "binary": PredictedScore(0.5, positive=True),
    "multiclass": PredictedClass("a"),
    "regression": PredictedNumber(1.0, 1.0),
    "ranking": PredictedRanking((1,)),
}


@pytest.mark.parametrize("kind", list(BAD_ACTUALS))
def test_an_actual_that_cannot_be_is_refused(host: Host, model_name: str, kind: Any) -> None:
    """One by one and in a batch; nothing raises, nothing is counted, and each is counted as refused."""
    model = make_model(model_name, Outcomes(kind))
    (text,) = KEYS.write([a_token(PREDICTED[kind], model=model_name)])
    before = refused(host)
    for actual in BAD_ACTUALS[kind]:
        assert model.outcome(text, actual) == 0
    assert model.outcome([text] * len(BAD_ACTUALS[kind]), BAD_ACTUALS[kind]) == 0
    assert refused(host) - before == {"actual": 2 * len(BAD_ACTUALS[kind])}
    assert counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT) == {}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "malformed"),
        (3, "malformed"),
        ("", "malformed"),
        ("nonsense", "malformed"),
        ("x" * 100_000, "malformed"),
        (lambda token: KEYS.write([token])[0][:30], "malformed"),
        (lambda token: TokenKeys().write([token])[0], "signature"),
        (lambda token: TokenKeys(["f" * 32]).write([token])[0], "signature"),
        (lambda token: KEYS.write([token._replace(time=int(time.time() - MAX_TOKEN_AGE - 5))])[0], "expired"),
        (lambda token: KEYS.write([token._replace(time=0)])[0], "expired"),
        (lambda token: KEYS.write([token._replace(time=int(time.time() + MAX_AHEAD + 60))])[0], "future"),
        (lambda token: KEYS.write([token._replace(time=2**32 - 1)])[0], "future"),
    ],
)
def test_a_token_that_cannot_be_is_refused(host: Host, model_name: str, token: Any, reason: str) -> None:
    """Forged, truncated, unsigned, foreign, years late or from the future: counted by reason, and nothing raises."""
    model = make_model(model_name, Outcomes("binary"))
    good = a_token(PREDICTED["binary"], model=model_name)
    bad = token(good) if callable(token) else token
    before = refused(host)
    assert model.outcome([*KEYS.write([good]), bad], [1, 1]) == 1
    assert model.feedback([bad], "accepted") == 0
    assert refused(host) - before == {reason: 2}


def test_clocks_apart_count_as_at_once(model_name: str) -> None:
    """A prediction that seems to lie some hours ahead has the lag 0."""
    sums = Sums()
    sums.add(a_token(PREDICTED["binary"], model=model_name, time=int(time.time() + 3600)), 1, time.time())
    lag = [value for series, value in sums.values.items() if series.metric == semconv.OUTCOME_LAG.name]  # noqa: PD011
    assert sorted(lag) == [0, 1]


@pytest.mark.parametrize(
    ("tokens", "actuals"),
    [([], []), (["a", "b"], [1]), (["a"], [1, 2]), (["a", "b"], 1), (["a", "b"], "10"), (["a", "b"], None)],
)
def test_columns_of_unequal_length_are_refused_as_a_whole(
    host: Host, model_name: str, tokens: list[str], actuals: object
) -> None:
    """Nobody knows which belongs to which."""
    model = make_model(model_name, Outcomes("binary"))
    before = refused(host)
    assert model.outcome(tokens, actuals) == 0
    assert sum((refused(host) - before).values()) == bool(tokens)


@pytest.mark.usefixtures("host")
def test_what_cannot_be_listed_harms_nobody(model_name: str) -> None:
    """It counts as a fault of the model's telemetry."""
    model = make_model(model_name, Outcomes("binary"))
    with capture() as signals:
        assert model.outcome(Odd(), Odd()) == 0
        assert model.feedback(Odd(), Odd()) == 0
    assert signals.of(model_name).dropped["internal_error"] == 2


@pytest.mark.usefixtures("host")
def test_the_first_refusal_of_each_reason_is_logged(
    model_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the token and the actual."""
    monkeypatch.setattr(_reports, "_logged", set())
    model = make_model(model_name, Outcomes("binary"))
    (text,) = KEYS.write([a_token(PREDICTED["binary"], model=model_name)])
    assert model.outcome([text, text, "nonsense", "nonsense"], ["secret-1", "secret-2", 1, 1]) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "(actual)" in caplog.text
    assert "(malformed)" in caplog.text
    assert not any(word in caplog.text for word in ("secret", "nonsense", text))


def test_classes_are_capped(host: Host, model_name: str) -> None:
    """Further ones are `_OTHER`; whether a prediction was right is told from its own name."""
    model = make_model(model_name, Outcomes("multiclass"))
    classes = [f"class {i}" for i in range(MAX_CLASSES + 20)]
    assert model.outcome(answers(model, classes), classes) == len(classes)
    confusion = counted(host, model_name, semconv.OUTCOME_CLASSIFIED, semconv.OUTCOME_PREDICTED, semconv.OUTCOME_ACTUAL)
    assert len(confusion) == MAX_CLASSES + 1
    assert confusion["_OTHER", "_OTHER"] == 20
    assert counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT) == {"right": len(classes)}
    long = answers(model, ["x" * 50])
    assert model.outcome(long, ["x" * 50]) == 1
    assert counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)["wrong"] == 1


def test_deployments_are_capped() -> None:
    """Whoever can sign tokens cannot fill the memory with versions."""
    sums = Sums()
    for number in range(1000):
        sums.add(a_token(PREDICTED["regression"], version=str(number)), 1.0, time.time())
    with pytest.raises(TokenError) as caught:
        sums.add(a_token(PREDICTED["regression"], version="one more"), 1.0, time.time())
    assert caught.value.reason == "model"
    sums.add(a_token(PREDICTED["regression"], version="7"), 1.0, time.time())
    with pytest.raises(TokenError):
        list(increments(a_token(PREDICTED["binary"], version="more"), 1, time.time(), sums.caps))


def test_feedback_is_counted_by_kind(host: Host, model_name: str) -> None:
    """One kind for all tokens or one for each; kinds are bounded in number and length."""
    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.5, 0.5])
    assert model.feedback(tokens, "accepted") == 2
    assert model.feedback(tokens[0], "overridden") == 1
    assert model.feedback(tokens, ["accepted", "x" * 65]) == 2
    for number in range(MAX_FEEDBACK_KINDS + 5):
        assert model.feedback(tokens[:1], f"kind {number}") == 1
    before = refused(host)
    bad: list[object] = [None, "", " ", 3, ["accepted"]]
    assert [model.feedback(tokens[0], kind) for kind in bad] == [0] * len(bad)
    assert refused(host) - before == {"actual": len(bad)}
    kinds = counted(host, model_name, semconv.FEEDBACK_RECEIVED, semconv.FEEDBACK_KIND)
    assert (kinds["accepted"], kinds["overridden"], kinds["_OTHER"]) == (3, 1, 8)
    assert len(kinds) == MAX_FEEDBACK_KINDS + 1


def test_nothing_is_lost_between_threads(host: Host, model_name: str) -> None:
    """Batches and single reports at the same time add up."""
    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.75] * 100)

    def run() -> None:
        for _ in range(5):
            model.outcome(tokens, [1] * 100)
            for token in tokens[:10]:
                model.outcome(token, 0)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = counted(host, model_name, semconv.OUTCOME_COUNT, semconv.OUTCOME_RESULT)
    assert results == {"right": 2000, "wrong": 200}


FORK = """
import os, sys
import windvane
from windvane import _runtime

windvane.configure()
model = windvane.Model("m", version="1", outcomes=windvane.Outcomes("binary"))
predict = model.predict(lambda rows: [0.75] * len(rows))
predict([{}] * 5)
tokens = model.tokens()
model.outcome(tokens[:2], [1, 1])
assert windvane.flush(10)
child = os.fork()
if child == 0:
    assert model.outcome([*tokens, "bad"], [1] * 6) == 5
    assert windvane.flush(10)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
model.outcome(tokens[0], 1)
model.feedback(tokens[0], "accepted")
"""


def test_a_forked_child_counts_from_zero_and_every_series_begins_at_zero(otlp: OtlpReceiver) -> None:
    """Parent and child have their own counts under their own ids, and what was counted last leaves at the end."""
    variables = {TOKEN_KEYS: SECRET, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint}
    subprocess.run([sys.executable, "-c", FORK], env=variables, check=True, timeout=60)
    series: dict[tuple[str, str], list[int]] = {}
    for request in otlp.metrics:
        (resource,) = request.resource_metrics
        instance = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.instance.id")
        for metric in resource.scope_metrics[0].metrics:
            for point in metric.sum.data_points:
                labels = {a.key: a.value.string_value for a in point.attributes}
                what = labels.get(semconv.OUTCOME_RESULT.name) or labels.get(semconv.OUTCOME_REFUSAL.name)
                what = what or labels.get(semconv.FEEDBACK_KIND.name)
                if what in {"right", "malformed", "accepted"}:
                    series.setdefault((instance, what), []).append(point.as_int)
    assert all(values[0] == 0 for values in series.values())
    assert sorted((what, values[-1]) for (_, what), values in series.items()) == [
        ("accepted", 1), ("malformed", 0), ("malformed", 1), ("right", 3), ("right", 5),
    ]  # fmt: skip


def test_a_process_without_outcomes_exports_none_of_their_series() -> None:
    """The counts of refusals and events begin with the first model that declares outcomes."""
    ledger = Ledger()
    assert list(ledger.streams()) == []
    assert ledger.shown
    ledger.open()
    assert not ledger.shown
    names = {metric.name: [value for _, value in points] for metric, points in ledger.streams()}
    assert names == {semconv.OUTCOMES_REFUSED.name: [0] * 7, semconv.OUTCOME_EVENTS_DROPPED.name: [0]}
    assert ledger.shown
    ledger.reset()
    assert not ledger.shown


# --- Events ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> InMemoryLogRecordExporter:
    """Log records that the host's provider was given."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_events, "_get_logger", lambda: provider.get_logger("outcomes"))
    return exporter


def dropped_events(host: Host) -> int:
    (point,) = host.measured(semconv.OUTCOME_EVENTS_DROPPED.name)
    return int(point.value)


@pytest.mark.usefixtures("host")
def test_an_outcome_and_feedback_land_in_the_trace_of_their_prediction(
    model_name: str, logs: InMemoryLogRecordExporter
) -> None:
    """As events with the identity of the call and without a value."""
    model = make_model(model_name, Outcomes("regression", tolerance=1), variant="canary")
    (token,) = answers(model, [1234.5])
    read_token = KEYS.read(str(token))
    assert model.outcome(token, 4321.5) == model.feedback(token, "overridden") == 1
    outcome, feedback = (data.log_record for data in logs.get_finished_logs())
    named = {
        "ml.model.name": model_name,
        "ml.model.version": "1",
        "ml.model.variant": "canary",
        "ml.prediction.id": f"{read_token.trace_id:032x}-{read_token.span_id:016x}",
    }
    assert outcome.event_name == "ml.outcome"
    assert dict(outcome.attributes or {}) == {**named, "event.name": "ml.outcome", "ml.outcome.result": "wrong"}
    assert feedback.event_name == "ml.feedback"
    assert dict(feedback.attributes or {}) == {**named, "event.name": "ml.feedback", "ml.feedback.kind": "overridden"}
    for record in (outcome, feedback):
        assert (record.trace_id, record.span_id) == (read_token.trace_id, read_token.span_id)
        assert record.body is None


def test_events_are_bounded_and_the_rest_is_counted(
    host: Host, model_name: str, logs: InMemoryLogRecordExporter
) -> None:
    """A hundred a second; unsampled predictions have none, and need none."""
    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.5] * 1000)
    unsampled = KEYS.write([KEYS.read(str(token))._replace(sampled=False) for token in tokens])
    already = dropped_events(host)
    assert model.outcome(unsampled, [1] * 1000) == 1000
    assert logs.get_finished_logs() == ()
    begun = time.monotonic()
    assert model.outcome(tokens, [1] * 1000) == 1000
    sent = len(logs.get_finished_logs())
    assert sent <= MAX_EVENTS_PER_SECOND * (1 + time.monotonic() - begun) + 1
    assert dropped_events(host) - already == 1000 - sent > 0


def test_events_are_taken_at_a_steady_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once after a pause, and then as many a second."""
    now = 1000.0
    monkeypatch.setattr(_ledger, "time", SimpleNamespace(monotonic=lambda: now, time_ns=time.time_ns))
    ledger = Ledger()
    assert ledger.take_events(250) == 100
    assert ledger.take_events(1) == 0
    now += 0.5
    assert ledger.take_events(30) == 30
    assert ledger.take_events(30) == 20
    now += 1000
    assert ledger.take_events(101) == 100
    assert list(ledger.sums().values()) == [150 + 1 + 10 + 1]


@pytest.mark.usefixtures("host")
def test_a_host_that_wants_no_events_gets_none(model_name: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none counts as dropped."""
    monkeypatch.setattr(_events, "_get_logger", lambda: SimpleNamespace(enabled=lambda **_record: False))
    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.5] * 300)
    already = dropped_events(host)
    assert model.outcome(tokens, [1] * 300) == 300
    assert dropped_events(host) == already


@pytest.mark.parametrize("broken", ["_get_logger", "report_record"])
def test_what_fails_with_events_harms_no_count(
    host: Host, model_name: str, monkeypatch: pytest.MonkeyPatch, logs: InMemoryLogRecordExporter, broken: str
) -> None:
    """Where the logs API is gone, or an event cannot be made: the outcome is counted, and the event as dropped."""
    del logs

    def fail(*_args: object) -> None:
        raise ImportError

    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.5] * 2)
    already = dropped_events(host)
    with monkeypatch.context() as patched:
        patched.setattr(_events, broken, fail)
        assert model.outcome(tokens, [1, 1]) == 2
    assert dropped_events(host) - already == 2


# --- What is known of outcomes elsewhere -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcomes",
    [
        Outcomes("binary", segment="c"),
        Outcomes("multiclass"),
        Outcomes("regression", tolerance=1, segment="x"),
        Outcomes("regression"),
        Outcomes("ranking", k=7),
    ],
)
def test_the_budget_bounds_the_series_of_outcomes(outcomes: Outcomes, model_name: str) -> None:
    """However many outcomes of one deployment come, with every segment, class, rank, lag and kind of feedback."""
    outputs = {"binary": np.linspace(0, 1, 100), "regression": np.linspace(0, 9, 100)}
    baseline = None
    if outcomes.kind in outputs:
        baseline = a_baseline(model_name, outputs[outcomes.kind])
    sums = Sums()
    predicted: list[tuple[Any, Any]] = {
        "binary": [(PredictedScore(i / 100, positive=i > 50), actual) for i in range(100) for actual in (0, 1)],
        "multiclass": [(PredictedClass(str(i)), j) for i in range(40) for j in range(40)],
        "regression": [(PredictedNumber(i, outcomes.tolerance), 1.0) for i in (0.0, 1.0, 5.0)],
        "ranking": [(PredictedRanking(tuple(map(item_digest, "abcdefg"))), item) for item in "abcdefgz"],
    }[outcomes.kind]
    segments = [None]
    if outcomes.segment is not None and baseline is not None:
        segments = [*next(f.bins.labels for f in baseline.inputs if f.name == outcomes.segment)]
    now = time.time()
    for segment in segments:
        for prediction, actual in predicted:
            sums.add(a_token(prediction, segment=segment), actual, now)
    for number in range(50):
        sums.add_feedback(a_token(predicted[0][0]), f"kind {number}")
    lags = 17 + 2
    info = len(segments) if outcomes.segment else 0
    series = sum(key.metric != semconv.OUTCOME_LAG.name for key in sums.values) + lags + info  # noqa: PD011
    more = budget(baseline, outcomes=outcomes).model - budget(baseline).model
    assert series == more


@pytest.mark.usefixtures("host")
def test_windvane_testing_tells_what_was_counted(model_name: str) -> None:
    """Within the block alone, by model, and prediction events apart."""
    model = make_model(model_name, Outcomes("binary"))
    tokens = answers(model, [0.75, 0.75])
    model.outcome(tokens, [1, 1])
    with capture() as signals:
        model.outcome(tokens, [1, 0])
        model.feedback(tokens[0], "accepted")
    assert signals.outcomes == {"right": 1, "wrong": 1}
    assert signals.of(model_name).feedback == {"accepted": 1}
    assert signals.events == []


def test_windvane_budget_knows_outcomes(capsys: pytest.CaptureFixture[str]) -> None:
    """By the kind, and the segment of a baseline's input."""
    series = []
    for arguments in ([], ["--outcomes", "binary"]):
        with pytest.raises(SystemExit) as stopped:
            main(["budget", "--feature", "x", "--json", *arguments])
        assert not stopped.value.code
        series.append(json.loads(capsys.readouterr().out)["model"])
    assert series[1] - series[0] == budget(None, outcomes=Outcomes("binary")).model - budget(None).model
    for wrong in (["--segment", "x"], ["--outcomes", "binary", "--segment", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(["budget", "--feature", "x", *wrong])
        assert stopped.value.code
