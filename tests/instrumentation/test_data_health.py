"""Names that nobody expected, and how old the events are that a prediction rests on."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windvane
from windvane import semconv, testing
from windvane._ages import AGE_BOUNDS, Ages, epoch_seconds
from windvane.baseline import BaselineWarning
from windvane.budget import budget

if TYPE_CHECKING:
    from tests.instrumentation.conftest import Host

UTC = dt.UTC
ROW: dict[str, Any] = {"distance": 500.0, "carrier": "AA"}


def make_baseline(name: str) -> windvane.Baseline:
    rng = np.random.default_rng(0)
    frame = {
        "distance": rng.uniform(100, 3000, 500),
        "carrier": rng.choice(["AA", "UA"], 500),
        "id": rng.integers(0, 10**9, 500),
        "score": rng.uniform(0, 1, 500),
    }
    return windvane.Baseline.from_frame(frame, model=name, version="1", output="score", exclude=["id"])


def make_model(name: str, **arguments: Any) -> windvane.Model:
    return windvane.Model(name, version="1", baseline=make_baseline(name), **arguments)


class Flight(NamedTuple):
    """Fields that the class declares are code and not data."""

    distance: float
    carrier: str
    gate: int


UNEXPECTED: dict[str, tuple[Callable[[], Any], int]] = {
    "as the baseline": (lambda: ROW, 0),
    "output and left out column": (lambda: {**ROW, "score": 0.5, "id": 7}, 0),
    "one name": (lambda: {**ROW, "gate": 1}, 1),
    "among known ones": (lambda: {"gate": 1, "id": 7, **ROW, "score": 0.5, "terminal": 2}, 2),
    "renamed": (lambda: {"carrier": "AA", "dist": 500.0}, 1),
    "only": (lambda: {"gate": 1}, 1),
    "empty": (dict, 0),
    "no text": (lambda: {**ROW, 3: 1, ("a", "b"): 2}, 2),
    "rows": (lambda: [ROW, {**ROW, "gate": 1}, {"distance": 1.0, "a": 1, "b": 1, "c": 1}, ROW], 4),
    "complete rows": (lambda: [ROW, {**ROW, "gate": 1}, {**ROW, "id": 7}], 1),
    "rows that even out": (lambda: [{"distance": 1.0}, {**ROW, "gate": 1}], 1),
    "dict subclass": (lambda: OrderedDict(ROW, gate=1), 1),
    "series": (lambda: pd.Series({**ROW, "gate": 1}), 1),
    "pandas": (lambda: pd.DataFrame([{**ROW, "gate": 1, "id": 3}] * 4), 4),
    "polars": (lambda: pl.DataFrame([{**ROW, "gate": 1, "id": 3}] * 4), 4),
    "arrow": (lambda: pa.Table.from_pylist([{**ROW, "gate": 1, "id": 3}] * 4), 4),
    "structured": (lambda: np.zeros(3, dtype=[("distance", "f8"), ("gate", "i4"), ("carrier", "U2")]), 3),
    "record": (lambda: np.zeros(3, dtype=[("distance", "f8"), ("gate", "i4"), ("carrier", "U2")])[0], 1),
    "named tuple": (lambda: Flight(500.0, "AA", 1), 0),
    "by position": (lambda: [500.0, "AA"], 0),
}


@pytest.fixture(scope="module")
def model() -> windvane.Model:
    """One model for all tests that need the same."""
    return make_model("data-health")


@pytest.mark.parametrize("case", UNEXPECTED)
def test_values_under_unknown_names_are_counted(model: windvane.Model, case: str) -> None:
    """A name is known where it is an input, the output or a column that the baseline left out."""
    rows, expected = UNEXPECTED[case]
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)(rows())
    assert signals.unexpected == expected
    assert signals.dropped == {}


def test_unknown_names_are_exported_as_one_and_logged_once_without_the_name(
    host: Host, model_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The series is there from zero; neither it nor the log holds text from outside."""
    predict = make_model(model_name).predict(lambda _: 0.5)
    with caplog.at_level(logging.WARNING, "windvane"):
        for i in range(50):
            predict({**ROW, f"secret-{i}": 1})
        assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.VIOLATION_KIND.name: "unexpected"}
    exports = [
        host.otlp.points_of([request], semconv.FEATURE_VIOLATIONS.name, **wanted) for request in host.otlp.metrics
    ]
    found = [(a[semconv.FEATURE_NAME.name], value) for points in exports for a, value in points]
    assert {name for name, _ in found} == {"_OTHER"}
    assert (found[0][1], found[-1][1]) == (0, 50)
    (message,) = [record.getMessage() for record in caplog.records]
    assert model_name in message
    assert "unexpected" in message
    assert "secret" not in message
    assert not [body for body in host.otlp.raw if b"secret" in body]


def test_columns_that_are_declared_are_expected(model_name: str) -> None:
    """`features` and event times are names that the user has told of."""
    model = make_model(model_name, features=["gate", "distance", "carrier"], event_time="seen_at")
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)({**ROW, "gate": 1, "seen_at": 0, "other": 2})
    assert signals.unexpected == 1


def test_without_a_baseline_no_name_is_unexpected(model_name: str) -> None:
    """Nothing says what else rows hold."""
    model = windvane.Model(model_name, version="1", features=["distance"])
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)([{**ROW, "gate": 1}, {"gate": 1}])
    assert signals.unexpected == 0


def test_a_mapping_that_makes_up_values_is_not_changed(model: windvane.Model) -> None:
    """Reading a defaultdict by item would add the absent features to the caller's own data."""
    row: defaultdict[str, float] = defaultdict(float, distance=500.0)
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)([row])
        model.predict(lambda _: 0.5)(row)
    assert dict(row) == {"distance": 500.0}
    assert signals.observations("carrier")[semconv.BIN_NULL] == 2


class LyingMapping(Mapping[str, Any]):
    """Has one entry, and says that it has none."""

    def __getitem__(self, key: str) -> Any:
        return {"distance": 500.0}[key]

    def __iter__(self) -> Any:
        return iter(["distance"])

    def __len__(self) -> int:
        return 0


def test_a_mapping_that_lies_takes_nothing_back(model: windvane.Model) -> None:
    """A counter never goes down."""
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)(LyingMapping())
    assert signals.unexpected == 0


NOW = 1_760_000_000.0
HOUR = 3600.0
AT = dt.datetime.fromtimestamp(NOW - HOUR, UTC)
NAIVE = AT.replace(tzinfo=None)

TIMES: dict[str, Callable[[], Any]] = {
    "seconds": lambda: NOW - HOUR,
    "whole seconds": lambda: int(NOW - HOUR),
    "numpy integer": lambda: np.int64(NOW - HOUR),
    "decimal": lambda: Decimal(int(NOW - HOUR)),
    "aware": lambda: AT.astimezone(dt.timezone(dt.timedelta(hours=-5))),
    "naive": lambda: NAIVE,
    "pandas aware": lambda: pd.Timestamp(AT).tz_convert("America/New_York"),
    "pandas naive": lambda: pd.Timestamp(NAIVE),
    "datetime64 s": lambda: np.datetime64(NAIVE, "s"),
    "datetime64 ns": lambda: np.datetime64(NAIVE, "ns"),
    "0-d array": lambda: np.array(NAIVE, dtype="M8[us]"),
    "text": AT.isoformat,
    "text Z": lambda: NAIVE.isoformat() + "Z",
    "text naive": lambda: NAIVE.isoformat(" "),
    "text offset": lambda: AT.astimezone(dt.timezone(dt.timedelta(hours=9))).isoformat(),
}

COLUMNS: dict[str, Callable[[], Any]] = {
    "floats": lambda: np.array([NOW - HOUR, np.nan]),
    "integers": lambda: np.array([NOW - HOUR] * 2, dtype=np.int64),
    "datetime64": lambda: np.array([NAIVE, None], dtype="M8[ms]"),
    "years": lambda: np.array(["2025"], dtype="M8[Y]"),
    "objects": lambda: np.array([AT, None], dtype=object),
    "pandas": lambda: pd.Series([NAIVE, None]).to_numpy(),
    "pandas aware": lambda: pd.Series([AT, None]).to_numpy(),
    "polars": lambda: pl.Series([NAIVE, None]).to_numpy(),
    "polars aware": lambda: pl.Series([AT, None]).dt.convert_time_zone("Asia/Tokyo").to_numpy(),
    "arrow": lambda: pa.chunked_array([pa.array([AT, None], pa.timestamp("us", "UTC"))]).to_numpy(),
    "text": lambda: pd.Series([AT.isoformat(), None]).to_numpy(),
}


@pytest.mark.parametrize("kind", TIMES)
def test_event_times_are_read_in_every_form(kind: str) -> None:
    """Numbers, dates and texts of one moment are one moment; without a zone it is UTC."""
    seconds, unreadable = epoch_seconds([TIMES[kind](), None])
    assert seconds[0] == pytest.approx(NOW - HOUR, abs=1e-3)
    assert np.isnan(seconds[1])
    assert unreadable == 0


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_event_times_are_read_in_every_form(kind: str) -> None:
    """The columns of every library give the same seconds."""
    seconds, unreadable = epoch_seconds(COLUMNS[kind]())
    expected = dt.datetime(2025, 1, 1, tzinfo=UTC).timestamp() if kind == "years" else NOW - HOUR
    assert seconds[0] == pytest.approx(expected, abs=1e-3)
    assert kind in {"integers", "years"} or np.isnan(seconds[1])
    assert unreadable == 0


def test_a_date_is_its_midnight() -> None:
    """A daily table's date is the start of the day in UTC."""
    day = dt.date(2025, 10, 9)
    midnight = dt.datetime(2025, 10, 9, tzinfo=UTC).timestamp()
    assert epoch_seconds([day, "2025-10-09", np.datetime64("2025-10-09")])[0].tolist() == [midnight] * 3


@given(st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12))
def test_an_age_falls_into_the_bucket_that_holds_it(age: float) -> None:
    """Bounds belong to the bucket below them; clocks that are apart make an age of zero, not a negative one."""
    ages = Ages("t", ["t"])
    ages.observe([NOW - age], NOW)
    real = NOW - (NOW - age)
    value = ages.take()  # zeros
    value = ages.take()
    kinds = dict(zip(semconv.VIOLATION_KIND.values, ages.violations.tolist(), strict=True))
    if real < -86400:
        assert (sum(value.bucket_counts), kinds["range"]) == (0, 1)
    else:
        assert value.bucket_counts[int(np.searchsorted(AGE_BOUNDS, max(real, 0.0)))] == 1
        assert value.sum == max(real, 0.0)
        assert not ages.violations.any()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "missing"),
        (float("nan"), "missing"),
        (pd.NaT, "missing"),
        (np.datetime64("NaT"), "missing"),
        ("", "type"),
        ("yesterday", "type"),
        (True, "type"),
        (np.timedelta64(3, "s"), "type"),
        (object(), "type"),
        ([], "type"),
        (float("inf"), "range"),
        (10**400, "range"),
        (NOW * 1000, "range"),
        (NOW + 2 * 86400, "range"),
    ],
)
def test_an_event_time_that_gives_no_age_is_a_violation(value: Any, kind: str) -> None:
    """Each is counted once by what is wrong with it, and those beside it keep their ages."""
    ages = Ages("t", ["t"])
    ages.observe([value, NOW - 10], NOW)
    assert dict(zip(semconv.VIOLATION_KIND.values, ages.violations.tolist(), strict=True)) == {
        **dict.fromkeys(semconv.VIOLATION_KIND.values, 0),
        kind: 1,
    }
    assert +ages.buckets() == {15.0: 1}


SHAPES: dict[str, Callable[[float], Any]] = {
    "dict": lambda at: {**ROW, "seen_at": at},
    "dicts": lambda at: [{**ROW, "seen_at": at}],
    "series": lambda at: pd.Series({**ROW, "seen_at": at}),
    "pandas": lambda at: pd.DataFrame([{**ROW, "seen_at": pd.Timestamp(at, unit="s")}]),
    "pandas aware": lambda at: pd.DataFrame([{**ROW, "seen_at": pd.Timestamp(at, unit="s", tz="Asia/Tokyo")}]),
    "polars": lambda at: pl.DataFrame([{**ROW, "seen_at": dt.datetime.fromtimestamp(at, UTC)}]),
    "arrow": lambda at: pa.Table.from_pylist([{**ROW, "seen_at": dt.datetime.fromtimestamp(at, UTC)}]),
    "structured": lambda at: np.array([(500.0, at)], dtype=[("distance", "f8"), ("seen_at", "f8")]),
    "list": lambda at: [at, 500.0, "AA"],
    "array of one row": lambda at: np.array([[at, 500.0, 0.0]]),
}


@pytest.fixture(scope="module")
def dated() -> windvane.Model:
    """A model whose rows tell when their event was."""
    columns = ["seen_at", "distance", "carrier"]
    return make_model("data-health/dated", features=columns, event_time="seen_at")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_age_is_measured_in_every_shape(dated: windvane.Model, shape: str) -> None:
    """An event of an hour and a minute ago is between one hour and three hours old."""
    with testing.capture() as signals:
        dated.predict(lambda _: 0.5)(SHAPES[shape](time.time() - HOUR - 60))
    assert +signals.ages("seen_at") == {3 * HOUR: 1}
    assert +signals.violations("seen_at") == {}
    assert signals.observations("distance").total() == 1
    assert signals.dropped == {}
    assert signals.unexpected == 0


@pytest.mark.parametrize("shape", ["array", "sparse", "frame", "rows"])
def test_an_event_time_that_is_not_there_is_missing(model_name: str, shape: str) -> None:
    """Data without the column still count, and the loss of freshness is seen."""
    import scipy.sparse  # noqa: PLC0415 - needed here alone

    model = windvane.Model(model_name, version="1", features=["a", "b"], event_time={"a": "seen_at"})
    array = np.array([[1.0, 2.0], [3.0, 4.0]])
    rows: Any = {
        "array": array,
        "sparse": scipy.sparse.csr_array(array),
        "frame": pd.DataFrame(array, columns=["a", "b"]),
        "rows": array.tolist(),
    }[shape]
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)(rows)
    assert +signals.observations("b") == {"40 1 to 2": 1, "41 2 to 5": 1}
    assert +signals.violations("seen_at") == {"missing": 2}
    assert +signals.ages("a") == {}
    assert signals.dropped == {}


def test_each_call_has_its_own_time(dated: windvane.Model) -> None:
    """Calls that are counted together keep the moment at which each began."""
    begin = time.time()
    with testing.capture() as signals:
        predict = dated.predict(lambda rows: time.sleep(1.1 * len(rows)))
        predict([{"seen_at": begin}, {"seen_at": begin - 14.5}])  # takes 2.2 seconds
        predict([{"seen_at": begin - 14.5}])
    assert +signals.ages("seen_at") == {1.0: 1, 15.0: 1, 60.0: 1}


def test_ages_are_exported_under_the_feature_of_their_feed(host: Host, model_name: str) -> None:
    """Features of different feeds have their own histogram, from zero; the columns' faults bear the columns' names."""
    model = windvane.Model(
        model_name,
        version="1",
        features=["temperature", "wind", "distance"],
        event_time={"temperature": "weather_at", "wind": "weather_at", "distance": "schedule_at"},
    )
    now = time.time()
    model.predict(lambda _: 0.5)([{"weather_at": now - 7200, "schedule_at": "soon"}] * 3)
    assert windvane.flush(10)
    exports = [measured(host, [request], model_name) for request in host.otlp.metrics]
    first, *_, second = [ages for ages in exports if ages]
    assert {name: sum(point.bucket_counts) for name, point in first.items()} == {
        "temperature": 0,
        "wind": 0,
        "distance": 0,
    }
    assert {name: point.count for name, point in second.items()} == {"temperature": 3, "wind": 3, "distance": 0}
    assert second["wind"].sum == pytest.approx(3 * 7200, abs=30)
    assert tuple(second["wind"].explicit_bounds) == AGE_BOUNDS
    points = host.otlp.points(semconv.FEATURE_VIOLATIONS.name, **{semconv.MODEL_NAME.name: model_name})
    found = {(a[semconv.FEATURE_NAME.name], a[semconv.VIOLATION_KIND.name]): value for a, value in points}
    assert found == {
        **{(column, kind): 0 for column in ("weather_at", "schedule_at") for kind in ("missing", "type", "range")},
        ("schedule_at", "type"): 3,
    }


def measured(host: Host, requests: list[Any], model: str) -> dict[str, Any]:
    """The points of the age histogram by feature."""
    found = {}
    for request in requests:
        for metric in request.resource_metrics[0].scope_metrics[0].metrics:
            if metric.name == semconv.FEATURE_AGE.name:
                for point in metric.histogram.data_points:
                    attributes = {pair.key: pair.value.string_value for pair in point.attributes}
                    if attributes[semconv.MODEL_NAME.name] == model:
                        found[attributes[semconv.FEATURE_NAME.name]] = point
    return found


def test_an_input_may_itself_be_an_event_time(host: Host, model_name: str) -> None:
    """Its own counts stay, its age comes on top, and no violation is counted twice."""
    frame = {"seen_at": np.arange(1000.0) + NOW, "score": np.arange(1000.0)}
    baseline = windvane.Baseline.from_frame(frame, model=model_name, version="1", output="score")
    model = windvane.Model(model_name, version="1", baseline=baseline, event_time="seen_at")
    with testing.capture() as signals:
        model.predict(lambda _: 0.5)([{"seen_at": NOW + 3}, {"seen_at": None}])
    assert signals.observations("seen_at").total() == 2
    assert +signals.violations("seen_at") == {"missing": 1}
    assert signals.ages("seen_at").total() == 1
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name, semconv.FEATURE_NAME.name: "seen_at"}
    points = host.otlp.points(semconv.FEATURE_VIOLATIONS.name, **wanted, **{semconv.VIOLATION_KIND.name: "missing"})
    assert [value for _, value in points] == [1]


@pytest.mark.parametrize(
    ("event_time", "message"),
    [
        ("", "Model.event_time"),
        (3, "must be the name of a column, or a mapping .* not int"),
        ({"distanse": "at"}, r"no feature 'distanse' \(did you mean 'distance'"),
        ({"distance": ""}, "Model.event_time"),
        ({"distance": 3}, "Model.event_time"),
    ],
    ids=range(5),
)
def test_an_event_time_that_cannot_be_used_is_refused(model_name: str, event_time: Any, message: str) -> None:
    """The error names the field and the mend."""
    with pytest.raises(windvane.DeclarationError, match=message):
        make_model(model_name, event_time=event_time)


def test_the_same_version_with_another_event_time_is_another_declaration(model_name: str) -> None:
    """Two places in the code may not disagree silently."""
    baseline = make_baseline(model_name)
    for _ in range(2):
        windvane.Model(model_name, version="1", baseline=baseline, event_time="seen_at")
    with pytest.raises(windvane.DeclarationError, match="already declared"):
        windvane.Model(model_name, version="1", baseline=baseline, event_time="made_at")


def test_where_a_feature_comes_from_is_exported_and_budgeted(host: Host, model_name: str) -> None:
    """Only features of which something is declared have the gauge, with what is declared."""
    plain = make_baseline(model_name)
    sourced = dataclasses.replace(plain.features[0], source="flights.schedule", unit="km")
    baseline = dataclasses.replace(plain, features=(sourced, *plain.features[1:]))
    windvane.Model(model_name, version="1", baseline=baseline)
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name}
    assert host.otlp.points(semconv.FEATURE_INFO.name, **wanted) == [
        (
            {
                **wanted,
                semconv.MODEL_VERSION.name: "1",
                semconv.FEATURE_NAME.name: "distance",
                semconv.FEATURE_SOURCE.name: "flights.schedule",
                semconv.FEATURE_UNIT.name: "km",
            },
            1,
        )
    ]
    assert budget(baseline).needed == budget(plain).needed + 1


class Passage(NamedTuple):
    """A row with an embedding."""

    embedding: object
    note: str
    at: str


@pytest.mark.parametrize(
    "rows",
    [
        lambda vectors: [{"embedding": vector, "note": "ab", "at": "2024-01-01"} for vector in vectors],
        lambda vectors: [Passage(vector.tolist(), "ab", "2024-01-01") for vector in vectors],
        lambda vectors: pd.DataFrame({"embedding": list(vectors), "note": "ab", "at": pd.Timestamp("2024-01-01")}),
        lambda vectors: pa.table({"embedding": vectors.tolist(), "note": ["ab"] * 6, "at": ["2024-01-01"] * 6}),
        lambda vectors: pl.DataFrame({"embedding": vectors, "note": ["ab"] * 6, "at": ["2024-01-01"] * 6}),
    ],
    ids=["dicts", "tuples", "pandas", "arrow", "polars"],
)
def test_embeddings_texts_and_times_are_counted_in_every_shape(model_name: str, rows: Callable[[Any], Any]) -> None:
    """By distance, length and part of the week; what the caller does to a vector later does not matter."""
    reference = {
        "embedding": list(np.random.default_rng(0).normal(size=(300, 4))),
        "note": [f"{i:03d}" * (1 + i % 3) for i in range(300)],
        "at": pd.date_range("2024-01-01", periods=300, freq="h"),
    }
    with pytest.warns(BaselineWarning, match="free text"):
        baseline = windvane.Baseline.from_frame(reference, model=model_name, version="1")
    batch = rows(np.full((6, 4), 100.0))
    with testing.capture() as signals:
        windvane.Model(model_name, version="1", baseline=baseline).predict(lambda _rows: None)(batch)
        if isinstance(batch, list) and isinstance(batch[0], dict):
            for row in batch:
                row["embedding"][:] = 0
    observed = {name: signals.observations(name) for name in reference}
    assert {name: sum(bins.values()) for name, bins in observed.items()} == {"embedding": 6, "note": 6, "at": 6}
    assert observed["at"]["t00"] == 6  # 2024-01-01 was a Monday
    assert observed["note"]["00"] == 6
    assert signals.violations("embedding")["range"] == 6
