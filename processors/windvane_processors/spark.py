"""Profiles of Spark's data frames, made where the data are; needs the extra `spark`, also on the executors.

Example:
    ```python
    from windvane_processors.spark import profile_dataframe

    profiles = profile_dataframe(spark.table("predictions"), by=["model_version", "country"])
    profiles["3", "DE"].serialize()
    ```
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile
from windvane_processors.profile.build import MAX_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame

__all__ = ["profile_dataframe"]

_SCHEMA: Final = "segment string, profile binary"


def profile_dataframe(
    frame: DataFrame,
    *,
    by: Sequence[str] = (),
    frequent_items: bool = True,
    frequent_items_minimum: int = 1,
    metadata: Mapping[str, str] | None = None,
) -> dict[tuple[str, ...], DatasetProfile]:
    """Profile the rows of a data frame.

    Each partition is profiled batch by batch in bounded memory, then the profiles of each segment are merged, both on
    the executors; what comes back is one profile of a segment.

    Args:
        frame: the data.
        by: columns, such as the model's version and a segment; each combination of their values has a profile.
        frequent_items: whether frequent values are kept as they are.
        frequent_items_minimum: how often a value must have come in a segment to be kept.
        metadata: texts that the profiles carry.

    Returns:
        The profiles by the values of `by`, as texts; a missing value is `null`. Without `by` one, under `()`. Empty
        where the frame is.

    Raises:
        ProfileError: the frame lacks a column of `by`, or these have more than 1,000 combinations.
    """
    for name in by:
        if name not in frame.columns:
            msg = f"by: the frame has no column {name!r}; it has {', '.join(frame.columns[:20])}"
            raise ProfileError(msg)
    track = partial(_track, by=tuple(by), frequent_items=frequent_items, metadata=dict(metadata or {}))
    parts = frame.mapInArrow(track, _SCHEMA)
    rows = parts.groupBy("segment").applyInArrow(_merge, _SCHEMA).limit(MAX_SEGMENTS + 1).collect()
    if len(rows) > MAX_SEGMENTS:
        msg = f"by: {', '.join(by)} have more than {MAX_SEGMENTS} combinations; name columns that have few"
        raise ProfileError(msg)
    profiles = {tuple(json.loads(row["segment"])): DatasetProfile.deserialize(bytes(row["profile"])) for row in rows}
    return {
        key: profile.select(profile.columns, frequent_items_minimum=frequent_items_minimum)
        for key, profile in sorted(profiles.items())
    }


def _track(
    batches: Iterator[pa.RecordBatch], *, by: tuple[str, ...], frequent_items: bool, metadata: dict[str, str]
) -> Iterator[pa.RecordBatch]:
    """Profile the batches of a partition."""
    profiles: dict[str, DatasetProfile] = {}
    for batch in batches:
        for segment, rows in _segments(pa.Table.from_batches([batch]), by):
            profile = profiles.get(segment)
            if profile is None:
                if len(profiles) > MAX_SEGMENTS:
                    break  # it is too many by now, and the driver says so
                profile = profiles[segment] = DatasetProfile(metadata=metadata, frequent_items=frequent_items)
            profile.track(dict(zip(rows.column_names, rows.columns, strict=True)))
    yield from _written(profiles)


def _segments(table: pa.Table, by: tuple[str, ...]) -> Iterator[tuple[str, pa.Table]]:
    """Give the rows of each combination, whose values stand as a JSON list of texts."""
    if not by:
        if table.num_rows:
            yield "[]", table
        return
    rest = table.drop_columns(list(by))
    values = zip(*(table.column(name).to_pylist() for name in by), strict=True)
    positions: dict[str, list[int]] = {}
    for position, combination in enumerate(values):
        texts = ["null" if value is None else str(value) for value in combination]
        positions.setdefault(json.dumps(texts), []).append(position)
    for segment, rows in positions.items():
        yield segment, rest.take(rows)


def _merge(parts: pa.Table) -> pa.Table:
    """Merge the profiles of one segment."""
    segment = parts.column("segment")[0].as_py()
    merged: DatasetProfile | None = None
    for data in parts.column("profile"):
        profile = DatasetProfile.deserialize(data.as_py())
        merged = profile if merged is None else merged + profile
    return pa.Table.from_batches(list(_written({segment: merged} if merged is not None else {})), _arrow_schema())


def _written(profiles: dict[str, Any]) -> Iterator[pa.RecordBatch]:
    for segment, profile in profiles.items():
        yield pa.RecordBatch.from_pydict(
            {"segment": [segment], "profile": [profile.serialize()]}, schema=_arrow_schema()
        )


def _arrow_schema() -> pa.Schema:
    return pa.schema([("segment", pa.string()), ("profile", pa.binary())])
