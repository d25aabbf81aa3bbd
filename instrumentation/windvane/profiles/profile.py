"""The profile of a data set, in the format of whylogs."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from windvane.errors import ProfileError
from windvane.profiles import whylogs_format
from windvane.profiles._values import Values
from windvane.profiles.column import ColumnProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DatasetProfile"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT: Final = object()


class DatasetProfile:
    """The profile of a data set: for each column counts, types, moments, quantiles, cardinality, frequent items.

    It takes any number of batches in bounded memory (at most about 110 KB per column, and 400 KB more where
    frequent texts are long) and merges with the profiles of other batches. It is not thread-safe.

    Args:
        dataset_timestamp: the time that the data are of, such as the begin of a window; now by default.
        creation_timestamp: when the profile was made; now by default.
        metadata: texts by name, such as the model and its version.
        frequent_items: whether integers, booleans and texts that are frequent are kept as they are.
        frequent_items_minimum: how often a value must have come to be written as a frequent item. A value
            that came less often is not told (k-anonymity), but still counts elsewhere.

    Raises:
        ProfileError: a time without a zone or before 1970, a name or value in the metadata that is no text,
            or a minimum below 1.

    Example:
        >>> profile = DatasetProfile(metadata={"ml.model.name": "flight-delay"})
        >>> profile.track({"distance": [1400.0, 733.0, None], "carrier": ["UA", "B6", "UA"]})
        >>> profile.columns["distance"].counts.null
        1
        >>> DatasetProfile.deserialize(profile.serialize()).columns["carrier"].frequent_items.items[0].value
        'UA'
    """

    __slots__ = (
        "_columns",
        "_creation_timestamp",
        "_dataset_timestamp",
        "_frequent_items",
        "_frequent_items_minimum",
        "_metadata",
    )

    def __init__(
        self,
        *,
        dataset_timestamp: datetime | None = None,
        creation_timestamp: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        frequent_items: bool = True,
        frequent_items_minimum: int = 1,
    ) -> None:
        """Begin without rows."""
        now = datetime.now(UTC)
        self._dataset_timestamp = _milliseconds(dataset_timestamp or now, "dataset_timestamp")
        self._creation_timestamp = _milliseconds(creation_timestamp or now, "creation_timestamp")
        self._metadata = dict(metadata or {})
        for name, value in self._metadata.items():
            if not (_is_text(name) and _is_text(value)):
                msg = "metadata: names and values must be valid text"
                raise ProfileError(msg)
        if frequent_items_minimum < 1:
            msg = f"frequent_items_minimum: {frequent_items_minimum} is less than 1"
            raise ProfileError(msg)
        self._frequent_items = frequent_items
        self._frequent_items_minimum = frequent_items_minimum
        self._columns: dict[str, ColumnProfile] = {}

    def track(self, columns: Mapping[str, Any]) -> None:
        """Add a batch of columns.

        Args:
            columns: by name, each of shape (n,): numpy arrays, pandas, polars or Arrow columns, or lists of
                any values. A pandas or polars frame is such a mapping by `dict(frame.items())` and
                `frame.to_dict(as_series=True)`. Columns need not be of one length.

        Raises:
            ProfileError: a name is no text, or the profile would have more than 10,000 columns. The columns
                before it are added.
        """
        for name, column in columns.items():
            self._track(name, Values.of(column))

    def track_rows(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Add a batch of rows; a column that a row does not have counts nothing there.

        Args:
            rows: the values of each row by name.

        Raises:
            ProfileError: as `track`.
        """
        names = dict.fromkeys(name for row in rows for name in row)
        for name in names:
            column = [row.get(name, _ABSENT) for row in rows]
            self._track(name, Values.of([value for value in column if value is not _ABSENT]))

    def merge(self, other: DatasetProfile) -> DatasetProfile:
        """Return the profile of both sets of rows; neither changes.

        Counts and types are exact, moments exact to rounding; the sketches have the error that they would
        have of all rows together. The earlier times, the larger minimum, and of metadata with equal names the
        other's are taken. Frequent items are counted from now on only if both profiles did.

        Raises:
            ProfileError: together they would have more than 10,000 columns, or 2^48 rows in one.
        """
        merged = DatasetProfile(frequent_items_minimum=max(self._frequent_items_minimum, other._frequent_items_minimum))
        merged._frequent_items = self._frequent_items and other._frequent_items
        merged._dataset_timestamp = min(self._dataset_timestamp, other._dataset_timestamp)
        merged._creation_timestamp = min(self._creation_timestamp, other._creation_timestamp)
        merged._metadata = self._metadata | other._metadata
        for name in self._columns | other._columns:
            mine, theirs = self._columns.get(name), other._columns.get(name)
            merged._columns[name] = (mine or ColumnProfile.empty()) + (theirs or ColumnProfile.empty())
        if len(merged._columns) > whylogs_format.MAX_COLUMNS:
            raise _too_many_columns()
        if any(column.counts.n > whylogs_format.MAX_ROWS for column in merged._columns.values()):
            msg = "a profile has at most 2^48 rows"
            raise ProfileError(msg)
        return merged

    __add__ = merge

    def select(
        self,
        names: Iterable[str],
        *,
        frequent_items_minimum: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> DatasetProfile:
        """Return the profile of some of the columns, which shares them with this one.

        Args:
            names: the columns, each of which the profile has.
            frequent_items_minimum: as of the class; by default that of this profile.
            metadata: likewise.

        Raises:
            KeyError: the profile has no such column.
            ProfileError: as of the class.
        """
        selected = DatasetProfile(
            metadata=self._metadata if metadata is None else metadata,
            frequent_items_minimum=frequent_items_minimum or self._frequent_items_minimum,
        )
        selected._frequent_items = self._frequent_items
        selected._dataset_timestamp, selected._creation_timestamp = self._dataset_timestamp, self._creation_timestamp
        selected._columns = {name: self._columns[name] for name in names}
        return selected

    @property
    def columns(self) -> Mapping[str, ColumnProfile]:
        """The profiles by column."""
        return MappingProxyType(self._columns)

    @property
    def dataset_timestamp(self) -> datetime:
        """The time that the data are of, in UTC, to the millisecond."""
        return _time(self._dataset_timestamp)

    @property
    def creation_timestamp(self) -> datetime:
        """When the profile was made, in UTC, to the millisecond."""
        return _time(self._creation_timestamp)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Texts by name."""
        return MappingProxyType(self._metadata)

    def serialize(self) -> bytes:
        """Write the profile as a whylogs file; an unchanged profile gives the same bytes again."""
        content = whylogs_format.Content(
            self._columns, self._dataset_timestamp, self._creation_timestamp, self._metadata
        )
        return whylogs_format.write(content, frequent_items_minimum=self._frequent_items_minimum)

    @classmethod
    def deserialize(cls, data: bytes) -> DatasetProfile:
        """Read a profile that whylogs or `serialize` wrote.

        Raises:
            ProfileError: the bytes are no such profile, or it is damaged.
        """
        profile = cls()
        content = whylogs_format.read(data)
        _time(max(content.dataset_timestamp, content.creation_timestamp))
        profile._columns, profile._dataset_timestamp, profile._creation_timestamp, profile._metadata = content
        return profile

    def _track(self, name: str, values: Values) -> None:
        column = self._columns.get(name)
        if column is None:
            if not _is_text(name):
                msg = "the name of a column is no valid text"
                raise ProfileError(msg)
            if len(self._columns) >= whylogs_format.MAX_COLUMNS:
                raise _too_many_columns()
            column = self._columns[name] = ColumnProfile.empty()
        column.track(values, frequent_items=self._frequent_items)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _milliseconds(time: datetime, name: str) -> int:
    if time.tzinfo is None or time < _EPOCH:
        msg = f"{name}: a time with a zone, in 1970 or later, is needed"
        raise ProfileError(msg)
    return int(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (OverflowError, OSError, ValueError):
        msg = "a time of the profile is beyond the year 9999"
        raise ProfileError(msg) from None


def _too_many_columns() -> ProfileError:
    return ProfileError(f"a profile has at most {whylogs_format.MAX_COLUMNS} columns")
