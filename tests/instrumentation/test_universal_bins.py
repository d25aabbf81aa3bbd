"""Without a baseline, declared inputs and the output fall into bins that are the same everywhere."""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windvane
from windvane import semconv, testing
from windvane._universal import EDGES, UniversalBins

if TYPE_CHECKING:
    from tests.instrumentation.conftest import Host

BINS = UniversalBins()
LABELS = BINS.labels
STEPS = [float(f"{step}e{decade}") for decade in range(-3, 6) for step in (1, 2, 5)] + [1e6]
ZERO = LABELS.index("29 0")
TINY = np.finfo(np.float64).tiny


def bin_of(value: Any) -> str:
    counts, _ = BINS.count([value])
    assert counts.sum() == 1
    return LABELS[int(counts.argmax())]


def number_of(label: str) -> int:
    return int(label[:2])


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_an_edge_belongs_to_the_bin_below_it(step: float) -> None:
    """0.001 and 1 are not pushed over the edge by floating point; their neighbours fall to either side."""
    after = {edge: np.nextafter(max(edge, float(np.float32(edge))), math.inf) for edge in (step, -step)}
    for edge in (step, -step):
        below, above = LABELS[EDGES.index(EDGES[np.searchsorted(EDGES, edge)])], bin_of(after[edge])
        assert bin_of(edge) == bin_of(np.nextafter(edge, -math.inf)) == below
        assert number_of(above) == number_of(below) + 1


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_single_and_double_precision_count_alike(step: float) -> None:
    """A service that keeps 0.1 in 32 bits counts it where one with 64 bits does, from an array as from a row."""
    for value in (step, -step):
        single = np.float32(value)
        assert bin_of(single) == bin_of(value) == bin_of(single.item())
        counts = BINS.count(np.array([value], dtype=np.float32))[0]
        assert LABELS[int(counts.argmax())] == bin_of(value)


def test_labels_say_what_the_bins_hold() -> None:
    """A dashboard needs nothing but the label: in order, with two digits, and the range that is counted."""
    assert len(LABELS) == len(set(LABELS)) == 61
    assert LABELS[-2:] == (semconv.BIN_NULL, semconv.BIN_OTHER)
    assert list(LABELS[:-2]) == sorted(LABELS[:-2])
    for i, label in enumerate(LABELS[:-2]):
        number, text = label.split(" ", 1)
        assert int(number) == i
        if found := re.fullmatch(r"(-?[\d.]+) to (-?[\d.]+)", text):
            low, high = map(float, found.groups())
            assert bin_of((low + high) / 2) == label
            # Closed on the right, but for the numbers next to zero.
            assert bin_of(high) == label or high == 0
            assert bin_of(low) == LABELS[i - 1]
    assert (LABELS[0], LABELS[ZERO], LABELS[58]) == ("00 up to -1000000", "29 0", "58 above 1000000")


class Silent:
    """Raises when it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0, "29 0"),
        (-0.0, "29 0"),
        (False, "29 0"),
        (np.False_, "29 0"),
        (5e-324, "29 0"),
        (-5e-324, "29 0"),
        (np.nextafter(TINY, 0), "29 0"),
        (TINY, "30 0 to 0.001"),
        (-TINY, "28 -0.001 to 0"),
        (True, "39 0.5 to 1"),
        (Decimal("0.15"), "37 0.1 to 0.2"),
        (Fraction(-3), "17 -5 to -2"),
        (np.int8(-128), "12 -200 to -100"),
        (2**63, "58 above 1000000"),
        (-(10**300), "00 up to -1000000"),
        (1.7976931348623157e308, "58 above 1000000"),
        (None, "null"),
        (math.nan, "null"),
        (-math.nan, "null"),
        (pd.NA, "null"),
        (pd.NaT, "null"),
        (math.inf, "other"),
        (-math.inf, "other"),
        (10**400, "other"),
        ("3", "other"),
        (b"3", "other"),
        (1j, "other"),
        (dt.date(2013, 1, 1), "other"),
        ([], "other"),
    ],
)
def test_every_value_has_one_bin(value: Any, label: str) -> None:
    """Whatever comes is counted once, and violates nothing, since nothing says what is allowed."""
    assert bin_of(value) == label
    counts, violations = BINS.count([value, 15.0, Silent()])
    assert counts.sum() == 3
    assert counts[LABELS.index("43 10 to 20")] == 1
    assert counts[-1] >= 1
    assert not violations.any()


def test_every_kind_of_nan_is_missing() -> None:
    """Signalling and negative ones too, whatever their payload."""
    bits = [0x7FF0000000000001, 0x7FF8000000000000, 0xFFF0000000000001, 0xFFFFFFFFFFFFFFFF]
    counts, _ = BINS.count(np.array(bits, dtype=np.uint64).view(np.float64))
    assert counts[-2] == counts.sum() == 4


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True, width=64), max_size=50))
def test_counts_agree_with_a_search_of_the_edges(values: list[float]) -> None:
    """The table gives what numpy's search gives, for any doubles."""
    numbers = np.array(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    flushed = np.where(np.abs(finite) < TINY, 0.0, finite)
    expected = np.bincount(np.searchsorted(EDGES, flushed), minlength=len(LABELS))
    expected[-2], expected[-1] = np.isnan(numbers).sum(), np.isinf(numbers).sum()
    for column in (numbers, values, numbers[::-1], np.stack([numbers, numbers], axis=1)[:, 0]):
        assert BINS.count(column)[0].tolist() == expected.tolist()


@given(st.integers(0, 2**64 - 1))
def test_any_bits_are_counted_once(bits: int) -> None:
    """No pattern of 64 bits is counted twice, lost or raises."""
    (value,) = struct.unpack("d", struct.pack("Q", bits))
    assert BINS.count(np.array([value]))[0].sum() == 1


@given(st.lists(st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.floats(width=32))))
def test_mixed_columns_count_as_their_values_do(values: list[Any]) -> None:
    """Numbers, texts and missing values in one column add up."""
    expected = sum((BINS.count([value])[0] for value in values), np.zeros(len(LABELS), dtype=np.int64))
    assert BINS.count(values)[0].tolist() == expected.tolist()


def test_integers_are_counted_exactly() -> None:
    """Columns of integers and booleans need no conversion by the caller."""
    for dtype in (np.int64, np.uint8, np.float32, bool):
        column = np.array([0, 1, 1], dtype=dtype)
        assert {LABELS[i]: n for i, n in enumerate(BINS.count(column)[0].tolist()) if n} == {
            "29 0": 1,
            "39 0.5 to 1": 2,
        }


ROWS = [{"speed": 15.0, "wind": -3, "id": "secret-4711"}, {"speed": 0.0, "wind": None, "id": "secret-4712"}]


def test_declared_inputs_and_the_output_are_counted_without_a_baseline(host: Host, model_name: str) -> None:
    """Each declared name has its bins from the start; a name found in the data has none."""
    model = windvane.Model(model_name, version="1", features=["speed", "wind"])
    with testing.capture() as signals:
        model.predict(lambda _: [0.7, "no"])(ROWS)
        model.predict(lambda _: 2)(np.array([[15.0, -3.0], [15.0, 0.001]]))
    assert +signals.observations("speed") == {"43 10 to 20": 3, "29 0": 1}
    assert +signals.observations("wind") == {"17 -5 to -2": 2, "null": 1, "30 0 to 0.001": 1}
    assert +signals.observations("output") == {"39 0.5 to 1": 1, "other": 1, "40 1 to 2": 1}
    assert signals.dropped == {}
    assert signals.unexpected == 0
    assert windvane.flush(10)
    wanted = {semconv.MODEL_NAME.name: model_name}
    points = host.otlp.points(semconv.FEATURE_OBSERVATIONS.name, **wanted)
    assert Counter((a[semconv.FEATURE_NAME.name], a[semconv.FEATURE_ROLE.name]) for a, _ in points) == {
        ("speed", "input"): 61,
        ("wind", "input"): 61,
        ("output", "output"): 61,
    }
    assert sum(value for _, value in points) == 11
    # There is nothing that a value could violate, and nothing that it could be compared with.
    assert host.otlp.points(semconv.FEATURE_VIOLATIONS.name, **wanted) == []
    assert host.otlp.points(semconv.FEATURE_REFERENCE_OBSERVATIONS.name, **wanted) == []


def test_two_models_count_into_the_same_bins(model_name: str) -> None:
    """What was counted under one version compares with the next."""
    found = []
    for version in ("1", "2"):
        model = windvane.Model(model_name, version=version, features=["speed"])
        with testing.capture() as signals:
            model.predict(lambda _: None)({"speed": 123.0})
        found.append(+signals.of(model_name, version).observations("speed"))
    assert found == [{"46 100 to 200": 1}] * 2


def test_a_snapshot_without_a_baseline_says_that_there_is_nothing_to_compare_with(model_name: str) -> None:
    """The table is a sentence, and no feature has a number that would mean nothing."""
    model = windvane.Model(model_name, version="1", features=["speed", "wind"])
    model.predict(lambda _: 1)(ROWS)
    snapshot = model.snapshot()
    assert snapshot.rows == 2
    assert snapshot.features == ()
    assert str(snapshot) == f"{model_name} 1: 2 rows; no baseline, so nothing to compare with"


def test_an_input_may_not_bear_the_name_of_the_output(model_name: str) -> None:
    """The error names the field and what to do; with a baseline the name is free."""
    with pytest.raises(windvane.DeclarationError, match=r"Model\.features: 'output' is what the model's output"):
        windvane.Model(model_name, version="1", features=["speed", "output"])
    frame = {"output": np.arange(100.0), "answer": np.arange(100.0)}
    baseline = windvane.Baseline.from_frame(frame, model=model_name, version="1", output="answer")
    windvane.Model(model_name, version="1", baseline=baseline, features=["output"])
