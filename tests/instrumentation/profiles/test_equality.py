"""Our profiles are whylogs' own profiles of the same rows, and each reads the other's."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from windvane.profiles import DatasetProfile
from windvane_processors.demo import flights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whylogs_reference import Whylogs

pytestmark = pytest.mark.xdist_group("whylogs")

Batches = list[dict[str, tuple[Any, str | None]]]

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RANK_ERROR = 0.006  # twice the normalised rank error of k = 1024, which holds in 99 of 100 cases

finite = st.floats(-1e100, 1e100, allow_nan=False)
integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="."), max_size=200)
nulls = st.sampled_from([None, math.nan])
objects = st.one_of(
    nulls,
    integers,
    finite,
    st.booleans(),
    texts,
    st.sampled_from(
        [Decimal("2.5"), Decimal("NaN"), [1, 2], [], {}, np.ones(2), b"bytes", datetime(2013, 1, 1, tzinfo=UTC)]
    ),
)


def columns(values: st.SearchStrategy[Any], dtype: str | None) -> st.SearchStrategy[Batches]:
    """Batches of one column, none of them empty."""
    column = st.lists(values, min_size=1, max_size=30)
    return st.lists(column.map(lambda found: {"x": (found, dtype)}), min_size=1, max_size=4)


def ours(batches: Batches) -> DatasetProfile:
    profile = DatasetProfile()
    for batch in batches:
        profile.track(
            {
                name: np.array(values, dtype=dtype) if dtype and dtype != "object" else values
                for name, (values, dtype) in batch.items()
            }
        )
    return profile


def assert_equal(mine: dict[str, Any], theirs: dict[str, Any], numbers: Sequence[float]) -> None:
    """Compare what whylogs shows of both profiles of a column.

    Rounding is measured by the largest of the numbers, since a mean may be the rest of large numbers.
    """
    with np.errstate(all="ignore"):
        scale = max((abs(number) for number in numbers if math.isfinite(number)), default=0.0)
    tolerances = {"distribution/mean": 1e-12 * scale, "distribution/stddev": 1e-6 * scale}
    for key, expected in theirs.items():
        actual = mine[key]
        if key.startswith(("distribution/q_", "distribution/median")):
            continue  # random: compared by their ranks
        if theirs["counts/inf"] and key in {"distribution/mean", "distribution/stddev"}:
            assert not math.isfinite(actual) or actual == expected, key  # as its batches decide
        elif key == "frequent_items/frequent_strings":
            np.testing.assert_equal(actual, expected)  # NaN where a column has none
        elif isinstance(expected, float) and math.isnan(expected):
            assert math.isnan(actual), key
        else:
            assert actual == pytest.approx(expected, rel=1e-12, abs=tolerances.get(key, 0)), key


def compare(whylogs: Whylogs, batches: Batches) -> None:
    mine, theirs = ours(batches).serialize(), whylogs.profile_of_frames(batches)
    shown, expected = whylogs.summary(mine), whylogs.summary(theirs)
    assert shown.keys() == expected.keys()
    for name, column in expected.items():
        numbers = [
            float(value) for batch in batches for value in batch[name][0] if isinstance(value, (int, float, np.number))
        ]
        assert_equal(shown[name], column, numbers)
    assert whylogs.components(mine) == whylogs.components(theirs)


@SETTINGS
@given(batches=columns(st.one_of(finite, st.sampled_from([math.nan, math.inf, -math.inf, -0.0])), "float64"))
@example(batches=[{"x": ([0.0, -0.0], "float64")}])
@example(batches=[{"x": ([math.nan], "float64")}])
def test_floats_give_the_profile_that_whylogs_makes(whylogs: Whylogs, batches: Batches) -> None:
    """Counts, moments, extremes and distinct values of floats are whylogs', also of NaN, infinity and -0.0."""
    compare(whylogs, batches)


@SETTINGS
@given(batches=columns(st.one_of(integers, st.integers(-3, 3)), "int64"))
@example(batches=[{"x": (list(range(1000)), "int64")}])
def test_integers_give_the_profile_that_whylogs_makes(whylogs: Whylogs, batches: Batches) -> None:
    """Integers also have exact extremes and frequent items."""
    # whylogs begins with the largest integer but one, which hides the least of all
    batches = [{"x": ([max(value, 1 - 2**63) for value in batch["x"][0]], "int64")} for batch in batches]
    compare(whylogs, batches)


@SETTINGS
@given(batches=columns(st.booleans(), "bool"))
def test_booleans_give_the_profile_that_whylogs_makes(whylogs: Whylogs, batches: Batches) -> None:
    """Booleans are numbers and frequent items."""
    compare(whylogs, batches)


@SETTINGS
@given(batches=columns(st.one_of(texts, st.none()), "object").filter(lambda batches: any(map(has_value, batches))))
def test_texts_give_the_profile_that_whylogs_makes(whylogs: Whylogs, batches: Batches) -> None:
    """Texts have distinct values and frequent items: cut where they are long, and whatever their characters."""
    compare(whylogs, batches)


def has_value(batch: dict[str, tuple[Any, str | None]]) -> bool:
    return any(value is not None for value in batch["x"][0])


@SETTINGS
@given(batches=columns(objects, "object"))
def test_mixed_values_are_counted_by_type_as_whylogs_does(whylogs: Whylogs, batches: Batches) -> None:
    """In a column of anything, all that does not depend on the pandas type of the column is whylogs'."""
    shown = whylogs.summary(ours(batches).serialize())["x"]
    expected = whylogs.summary(whylogs.profile_of_frames(batches))["x"]
    items = expected.get("frequent_items/frequent_strings")
    if isinstance(items, dict):  # whylogs lists floats as well, with six decimals
        found = shown.get("frequent_items/frequent_strings")
        expected_items = {item: counts for item, counts in items.items() if "." not in item}
        assert (found if isinstance(found, dict) else {}) == expected_items
    for key in ("n", "null", "nan", "inf", "true"):
        assert shown[f"counts/{key}"] == expected[f"counts/{key}"]
    for key in ("integral", "fractional", "boolean", "string", "object", "tensor"):
        assert shown[f"types/{key}"] == expected[f"types/{key}"]
    if sum(expected[f"types/{key}"] for key in ("integral", "fractional", "boolean", "string")):
        assert shown["cardinality/est"] == pytest.approx(expected["cardinality/est"], rel=1e-12)
        assert shown["distribution/n"] == expected["distribution/n"]


@SETTINGS
@given(
    rows=st.lists(
        st.fixed_dictionaries({"f": finite, "i": st.integers(1 - 2**63, 2**63 - 1), "b": st.booleans(), "s": texts}),
        min_size=1,
        max_size=20,
    )
)
def test_rows_give_the_profile_that_whylogs_makes(whylogs: Whylogs, rows: list[dict[str, Any]]) -> None:
    """Rows tracked together are what whylogs makes of them one by one."""
    profile = DatasetProfile()
    profile.track_rows(rows)
    shown, expected = whylogs.summary(profile.serialize()), whylogs.summary(whylogs.profile_of_rows(rows))
    for name, column in expected.items():
        assert_equal(shown[name], column, [float(row[name]) for row in rows if name != "s"])


def large_batches() -> Batches:
    rng = np.random.default_rng(5)
    batches: Batches = []
    for size in (5, 3000, 20_000, 50_000):
        heavy = rng.lognormal(0, 4, size)
        heavy[rng.random(size) < 0.01] = np.nan
        batches.append(
            {
                "normal": (rng.normal(size=size), "float64"),
                "heavy": (heavy, "float64"),
                "constant": (np.full(size, 7.25), "float64"),
                "distinct": (rng.integers(-(2**62), 2**62, size), "int64"),
                "skewed": (np.minimum(rng.geometric(0.02, size), 300), "int64"),
                "text": ([f"user {n} {'é' * (n % 50)}" for n in rng.integers(0, 10**6, size).tolist()], "object"),
                "long": ([["a", "b" * 900, "c" * 513][n] for n in rng.integers(0, 3, size).tolist()], "object"),
            }
        )
    return batches


def test_large_columns_have_the_cardinality_and_frequent_items_of_whylogs(whylogs: Whylogs) -> None:
    """Beyond what a sketch keeps exactly, the estimates of distinct values are equal to the last bit but one."""
    batches = large_batches()
    mine, theirs = ours(batches).serialize(), whylogs.profile_of_frames(batches)
    shown, expected = whylogs.summary(mine), whylogs.summary(theirs)
    for name, column in expected.items():
        numbers = [] if name in {"text", "long"} else np.concatenate([batch[name][0] for batch in batches]).tolist()
        assert_equal(shown[name], column, numbers)
    assert len(mine) <= len(theirs) * 1.02


@pytest.mark.parametrize("name", ["normal", "heavy", "constant", "distinct", "skewed"])
def test_quantiles_of_large_columns_are_within_the_bound_of_kll(whylogs: Whylogs, name: str) -> None:
    """The share of values below each percentile is right within the rank error, read by whylogs."""
    batches = large_batches()
    values = np.concatenate([batch[name][0] for batch in batches]).astype(float)
    values = np.sort(values[~np.isnan(values)])
    points = np.unique(np.quantile(values, np.linspace(0.01, 0.99, 99)))
    exact = np.searchsorted(values, points, side="left") / values.size
    mine = ours([{name: batch[name]} for batch in batches])
    np.testing.assert_allclose(whylogs.shares(mine.serialize(), name, points.tolist()), exact, atol=RANK_ERROR)
    exact = np.searchsorted(values, points, side="right") / values.size
    quantiles = mine.columns[name].quantiles
    assert quantiles is not None
    np.testing.assert_allclose(quantiles.cdf(points.tolist()), exact, atol=RANK_ERROR)


def test_flights_give_the_profile_that_whylogs_makes(whylogs: Whylogs) -> None:
    """A month of real flights, with missing weather, gives the same profile column by column."""
    frame = flights.training_flights()
    batches: Batches = []
    for start in range(0, len(frame), 5000):
        part = frame.iloc[start : start + 5000]
        batches.append(
            {
                name: (part[name].tolist(), "object")
                if name in flights.CATEGORICAL
                else (part[name].to_numpy(), str(part[name].dtype))
                for name in (*flights.FEATURES, flights.LABEL)
            }
        )
    compare(whylogs, batches)


def test_whylogs_merges_our_profiles_and_we_merge_theirs(whylogs: Whylogs) -> None:
    """Merged by either, two profiles of either give the same counts, moments, distinct values and items."""
    batches = large_batches()[:3]
    first, second = ours(batches[:2]), ours(batches[2:])
    theirs = whylogs.profile_of_frames(batches[2:])
    expected = whylogs.summary(whylogs.merge(first.serialize(), second.serialize()))
    merged = {
        "both ours": first + second,
        "ours and whylogs'": first + DatasetProfile.deserialize(theirs),
    }
    for case, profile in merged.items():
        shown = whylogs.summary(profile.serialize())
        for name, column in expected.items():
            for key in ("counts/n", "counts/null", "cardinality/est", "distribution/n", "distribution/max", "ints/min"):
                assert shown[name][key] == pytest.approx(column[key], rel=1e-12, nan_ok=True), (case, name, key)
            assert shown[name]["distribution/stddev"] == pytest.approx(column["distribution/stddev"], rel=1e-9)
    np.testing.assert_equal(whylogs.summary(merged["both ours"].serialize())["long"], expected["long"])


def test_we_read_what_whylogs_wrote_and_write_it_back(whylogs: Whylogs) -> None:
    """A profile of whylogs' says the same to whylogs after we have read and written it."""
    theirs = whylogs.profile_of_frames(large_batches())
    written = DatasetProfile.deserialize(theirs).serialize()
    np.testing.assert_equal(whylogs.summary(written), whylogs.summary(theirs))
    assert whylogs.header(written) == whylogs.header(theirs)


def test_whylogs_reads_times_and_metadata(whylogs: Whylogs) -> None:
    """Times arrive to the millisecond, tags and metadata as they were."""
    profile = DatasetProfile(
        dataset_timestamp=datetime(2013, 5, 6, 7, 8, 9, 123000, tzinfo=UTC),
        creation_timestamp=datetime(2024, 1, 2, tzinfo=UTC),
        metadata={"ml.model.name": "flight-delay", "whylogs.tag.region": "é", "empty": ""},
    )
    profile.track({"x": [1]})
    assert whylogs.header(profile.serialize()) == {
        "dataset_timestamp": datetime(2013, 5, 6, 7, 8, 9, 123000, tzinfo=UTC),
        "creation_timestamp": datetime(2024, 1, 2, tzinfo=UTC),
        "metadata": {"ml.model.name": "flight-delay", "whylogs.tag.region": "é", "empty": ""},
    }


def test_frequent_items_hold_what_whylogs_promises(whylogs: Whylogs) -> None:
    """Where more values come than a sketch holds, the bounds that whylogs shows enclose the true counts."""
    rng = np.random.default_rng(9)
    values = np.minimum(rng.zipf(1.2, 40_000), 10**9)
    profile = DatasetProfile()
    for part in np.split(values, 20):
        profile.track({"integers": part, "texts": [f"n{value}" for value in part.tolist()]})
    true = Counter(values.tolist())
    for name, prefix in (("integers", ""), ("texts", "n")):
        found = whylogs.summary(profile.serialize())[name]["frequent_items/frequent_strings"]
        assert all(lower <= true[int(item.removeprefix(prefix))] <= upper for item, (_, lower, upper) in found.items())
        assert all(f"{prefix}{value}" in found for value, count in true.items() if count > 2 * 40_000 / 385)


def test_whylogs_visualises_our_profiles(whylogs: Whylogs) -> None:
    """Its drift report, histogram and statistics of a feature, of two halves of real flights."""
    january = flights.training_flights()[["distance", "carrier", "temp"]]
    halves = []
    for half in (january[:13_000], january[13_000:]):
        profile = DatasetProfile()
        profile.track(dict(half.items()))
        halves.append(profile.serialize())
    pages = whylogs.visualised(*halves, "distance")
    assert "carrier" in pages["drift"]
    assert all("distance" in page for page in pages.values())
