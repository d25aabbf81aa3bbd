"""Profiles and outcomes of Spark's data frames, counted where the data are; needs the extra `spark` there, too.

Example:
    ```python
    from windvane_processors.spark import profile_dataframe

    profiles = profile_dataframe(spark.table("predictions"), by=["model_version", "country"])
    profiles["3", "DE"].serialize()
    ```
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812 - its usual name

from windvane import semconv
from windvane.errors import DeclarationError, ProfileError, TokenError
from windvane.outcomes import Caps, Series, increments
from windvane.profiles import DatasetProfile
from windvane.tokens import TokenKeys
from windvane_processors.outcomes.reports import actual_of
from windvane_processors.outcomes.store import id_of
from windvane_processors.profile.build import MAX_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyspark.sql import DataFrame

__all__ = ["Matched", "match_outcomes", "profile_dataframe"]

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


# --- Outcomes. ---------------------------------------------------------------------------------------------------

_READ: Final = pa.schema([("id", pa.binary()), ("token", pa.string()), ("time", pa.int64()), ("refusal", pa.string())])
_JUDGED: Final = pa.schema(
    [("metric", pa.string()), ("attributes", pa.string()), ("bucket", pa.int64()), ("value", pa.float64())]
)
_REFUSED: Final = semconv.OUTCOMES_REFUSED.name


class Matched(NamedTuple):
    """What outcomes of the past come to.

    Attributes:
        sums: of each series; what a store counts of the same outcomes.
        refused: outcomes that could not be counted, by reason; by key, of a prediction all that were reported.
        unmatched: keys with outcomes for which there is no prediction.
    """

    sums: dict[Series, float]
    refused: dict[str, int]
    unmatched: int


def match_outcomes(
    outcomes: DataFrame,
    predictions: DataFrame | None = None,
    *,
    secrets: Sequence[str],
    actual: str = "actual",
    time: str = "time",
    token: str = "token",  # noqa: S107 - the name of a column
    key: str | None = None,
) -> Matched:
    """Match outcomes with predictions, and count them as the store of `windvane process` does.

    Each prediction counts once: of several outcomes the one with the latest time, of several predictions of a key the
    latest. Nothing is exported; sums of long ago are no live counters.

    Args:
        outcomes: with what came true and when, and the tokens of the predictions, or their keys.
        predictions: with keys and tokens, where outcomes have keys; None where they have tokens.
        secrets: those of `WINDVANE_TOKEN_KEYS`; none for tokens without a signature.
        actual: column of what came true; rows without it are left out.
        time: column of when that became known: a timestamp, or seconds since 1970.
        token: column of the tokens.
        key: column of the keys, in both frames.

    Returns:
        The sums. Beyond 30 classes of a deployment the most frequent are counted by name; a store takes the first.

    Raises:
        DeclarationError: a frame lacks a column, or keys are named without predictions.
    """
    if (key is None) != (predictions is None):
        msg = "match_outcomes: predictions and key belong together; without them outcomes have tokens"
        raise DeclarationError(msg)
    TokenKeys(secrets)
    _check_columns("outcomes", outcomes, [actual, time, key or token])
    reported = outcomes.where(F.col(actual).isNotNull()).select(
        F.col(key or token).alias("name"), F.col(actual).alias("actual"), F.col(time).cast("double").alias("reported")
    )
    read = partial(_read_tokens, secrets=tuple(secrets))
    if predictions is None:
        with_ids = reported.mapInArrow(
            read, f"id binary, token string, time long, refusal string, actual {_type_of(reported)}, reported double"
        )
        last = with_ids.groupBy("id", "refusal").agg(
            F.max_by("token", "reported").alias("token"),
            F.max_by("actual", "reported").alias("actual"),
            F.max("reported").alias("reported"),
            F.count("*").alias("rows"),
        )
    else:
        _check_columns("predictions", predictions, [str(key), token])
        named = predictions.select(F.col(token).alias("name"), F.col(str(key)).alias("key"))
        key_type = named.schema["key"].dataType.simpleString()
        known = named.mapInArrow(read, f"id binary, token string, time long, refusal string, key {key_type}")
        latest = (
            known.groupBy("key")
            .agg(
                F.max_by("token", F.struct("time", "id")).alias("token"),
                F.max_by("refusal", F.struct(F.col("refusal").isNull(), "time")).alias("refusal"),
            )
            .withColumnRenamed("key", "name")
        )
        last = (
            reported.groupBy("name")
            .agg(
                F.max_by("actual", "reported").alias("actual"),
                F.max("reported").alias("reported"),
                F.count("*").alias("rows"),
            )
            .join(latest, "name", "left")
        )
    judged = last.select("token", "refusal", "actual", "reported", "rows").mapInArrow(
        _judge, "metric string, attributes string, bucket long, value double"
    )
    found = judged.groupBy("metric", "attributes", "bucket").agg(F.sum("value").alias("value")).collect()
    sums: dict[Series, float] = {}
    refused: dict[str, int] = {}
    for row in found:
        values = tuple(json.loads(row["attributes"]))
        if row["metric"] == _REFUSED:
            refused[values[0]] = int(row["value"])
        else:
            bucket = None if row["bucket"] < 0 else row["bucket"]
            sums[Series(row["metric"], values, bucket)] = row["value"]
    unmatched = refused.pop("", 0)
    return Matched(_capped(sums), refused, unmatched)


def _check_columns(which: str, frame: DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            msg = f"match_outcomes: {which} has no column {name!r}; it has {', '.join(frame.columns[:20])}"
            raise DeclarationError(msg)


def _type_of(reported: DataFrame) -> str:
    return str(reported.schema["actual"].dataType.simpleString())


def _read_tokens(batches: Iterator[pa.RecordBatch], *, secrets: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Read the tokens of the column `name`, and judge the outcome beside them; the other columns stay as they are."""
    keys, unsigned, caps = TokenKeys(secrets), TokenKeys(), _Uncapped()
    for batch in batches:
        columns: list[tuple[bytes | None, str | None, int | None, str | None]] = []
        for row in batch.to_pylist():
            try:
                token = keys.read(row["name"])
                if "actual" in row:  # one that cannot be does not take the place of one that can
                    list(increments(token, actual_of(row["actual"]), row["reported"], caps))
            except TokenError as error:
                columns.append((None, None, None, error.reason))
            else:
                columns.append((id_of(token), unsigned.write([token])[0], token.time, None))
        rest = batch.drop_columns(["name"])
        read = [pa.array(column, field.type) for column, field in zip(zip(*columns, strict=True), _READ, strict=True)]
        if columns:
            yield pa.RecordBatch.from_arrays([*read, *rest.columns], [*_READ.names, *rest.schema.names])


class _Uncapped(Caps):
    """Takes every name: which are too many is decided of all of them at once."""

    __slots__ = ()

    def _capped(self, key: tuple[object, ...], name: str, most: int) -> str:  # noqa: ARG002 - as of its base
        return name


def _judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add up what the outcomes of a partition add to which series."""
    unsigned, caps = TokenKeys(), _Uncapped()
    sums: defaultdict[Series, float] = defaultdict(float)
    refused: Counter[str] = Counter()
    for batch in batches:
        for row in batch.to_pylist():
            if row["token"] is None:
                # Without a refusal there is no prediction of that key.
                refused[row["refusal"] or ""] += row["rows"] if row["refusal"] else 1
                continue
            try:
                found = list(increments(unsigned.read(row["token"]), actual_of(row["actual"]), row["reported"], caps))
            except TokenError as error:
                refused[error.reason] += row["rows"]
                continue
            for series, amount in found:
                sums[series] += amount
    rows = [
        *((s.metric, json.dumps(s.values), -1 if s.bucket is None else s.bucket, value) for s, value in sums.items()),
        *((_REFUSED, json.dumps([reason]), -1, float(number)) for reason, number in refused.items()),
    ]
    if rows:
        columns = zip(zip(*rows, strict=True), _JUDGED, strict=True)
        yield pa.RecordBatch.from_arrays([pa.array(list(c), f.type) for c, f in columns], schema=_JUDGED)


def _capped(sums: Mapping[Series, float]) -> dict[Series, float]:
    """Count classes and segments that are too many for a deployment as one, the most frequent by name."""
    caps = Caps()
    by_size = sorted(sums.items(), key=lambda pair: (-pair[1], pair[0].metric, str(pair[0].values)))
    renamed: defaultdict[Series, float] = defaultdict(float)
    for series, value in by_size:
        renamed[_renamed(series, caps)] += value
    return dict(renamed)


def _renamed(series: Series, caps: Caps) -> Series:
    deployment, rest = series.values[:3], series.values[3:]
    if series.metric == semconv.OUTCOME_CLASSIFIED.name:
        return series._replace(values=(*deployment, *(caps.label(deployment, str(label)) for label in rest)))
    if series.metric == semconv.OUTCOME_COUNT.name and rest[1] is not None:
        return series._replace(values=(*deployment, rest[0], caps.segment(deployment, rest[1])))
    return series
