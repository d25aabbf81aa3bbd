"""Profiles of 10 million flights: Spark, and two processes, against one process of `windvane profile build`.

The flights of the demo repeat until there are so many; both read the same Parquet files. Java is needed.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from figures import Figure, figure

from windvane_processors.demo.flights import FEATURES, training_flights
from windvane_processors.profile.build import Options, build_profiles
from windvane_processors.spark import profile_dataframe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROWS = 10_000_000
_FILES = 8


def _files(folder: Path) -> list[Path]:
    flights = pa.Table.from_pandas(training_flights()[list(FEATURES)], preserve_index=False)
    repeated = pa.concat_tables([flights] * (_ROWS // _FILES // flights.num_rows))
    paths = [folder / f"flights-{number}.parquet" for number in range(_FILES)]
    for path in paths:
        pq.write_table(repeated, path, row_group_size=250_000)
    return paths


def batch() -> Iterator[Figure]:
    """Rows per second of wall-clock time."""
    with tempfile.TemporaryDirectory() as folder:
        paths = _files(Path(folder))
        rows = sum(pq.read_metadata(path).num_rows for path in paths)

        def microseconds(work: Callable[[], object]) -> float:
            begin = time.perf_counter()
            work()
            return (time.perf_counter() - begin) / rows * 1e6

        one = microseconds(lambda: build_profiles(paths, Options(), processes=1))
        two = microseconds(lambda: build_profiles(paths, Options(), processes=2))
        what = "us of wall-clock time per row of 10 M flights, against one process"
        yield figure(f"profile-build-two-processes: {what}", [two], [one], "<= 1")

        from pyspark.sql import SparkSession  # noqa: PLC0415 - starts with the figure that needs it

        os.environ["PYSPARK_PYTHON"] = sys.executable
        spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        spark.sparkContext.setLogLevel("ERROR")
        logging.getLogger("py4j").setLevel(logging.ERROR)
        try:
            frame = spark.read.parquet(*map(str, paths))
            profile_dataframe(frame.limit(1000))  # its processes start
            in_spark = microseconds(lambda: profile_dataframe(frame))
        finally:
            spark.stop()
        yield figure(f"profile-spark: {what}", [in_spark], [one], "<= 1")
