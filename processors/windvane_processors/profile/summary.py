"""What a profile says of each column, as plain numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from windvane.profiles import ColumnProfile, DatasetProfile
    from windvane.profiles.frequent_items import FrequentItem

__all__ = ["QUANTILES", "ColumnSummary", "rows_of", "summarize", "summarize_column", "value_type"]

QUANTILES: Final = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSummary:
    """What a profile says of one column; what it does not hold, or is not finite, is None.

    Attributes:
        name: name of the column.
        type: what most values are: float, integer, boolean, string, tensor or object; empty where all are missing.
        n: values, missing ones included.
        missing: values that are missing.
        missing_share: their share; 0 without values.
        nan: missing values that are NaN.
        infinite: infinite values.
        true: booleans that are true.
        integral: integers.
        fractional: floats.
        boolean: booleans.
        string: texts.
        object: values of other types.
        tensor: lists and arrays of numbers.
        mean: of the numbers; a boolean is 1 or 0.
        standard_deviation: of the numbers, with n - 1.
        minimum: least number, exactly.
        quantiles: of the numbers, at the ranks `QUANTILES`.
        maximum: greatest number, exactly.
        distinct: distinct numbers, booleans and texts, estimated.
        distinct_lower: its lower bound, two standard deviations away.
        distinct_upper: its upper bound, likewise.
        frequent_items: integers, booleans and texts with their counts, most frequent first.
    """

    name: str
    type: str
    n: int
    missing: int
    missing_share: float
    nan: int
    infinite: int
    true: int
    integral: int
    fractional: int
    boolean: int
    string: int
    object: int
    tensor: int
    mean: float | None
    standard_deviation: float | None
    minimum: float | None
    quantiles: tuple[float | None, ...]
    maximum: float | None
    distinct: float | None
    distinct_lower: float | None
    distinct_upper: float | None
    frequent_items: tuple[FrequentItem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON: quantiles as `q01` to `q99`, frequent items as a list of dicts."""
        document: dict[str, Any] = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "quantiles":
                document |= {f"q{rank * 100:02.0f}": number for rank, number in zip(QUANTILES, value, strict=True)}
            elif name == "frequent_items":
                document[name] = [item._asdict() for item in value]
            else:
                document[name] = value
        return document


def rows_of(profile: DatasetProfile) -> int:
    """Return the rows of the data set, as far as a profile knows: the values of its longest column."""
    return max((column.counts.n for column in profile.columns.values()), default=0)


def summarize(profile: DatasetProfile) -> tuple[ColumnSummary, ...]:
    """Sum up each column of a profile, in the order of their names."""
    return tuple(summarize_column(name, column) for name, column in sorted(profile.columns.items()))


def summarize_column(name: str, column: ColumnProfile) -> ColumnSummary:
    """Sum up one column."""
    counts, quantiles, cardinality = column.counts, column.quantiles, column.cardinality
    numbers = quantiles if quantiles is not None and quantiles.n else None
    deviation = column.moments.standard_deviation if math.isfinite(column.moments.m2) else math.nan
    lower, upper = cardinality.bounds(2) if cardinality is not None else (None, None)
    return ColumnSummary(
        name=name,
        type=value_type(column),
        n=counts.n,
        missing=counts.null,
        missing_share=counts.null / counts.n if counts.n else 0.0,
        nan=counts.nan,
        infinite=counts.inf,
        true=counts.true,
        **asdict(column.types),
        mean=_finite(column.moments.mean) if numbers else None,
        standard_deviation=_finite(deviation) if numbers else None,
        minimum=_finite(numbers.minimum) if numbers else None,
        quantiles=tuple(map(_finite, numbers.quantiles(QUANTILES))) if numbers else (None,) * len(QUANTILES),
        maximum=_finite(numbers.maximum) if numbers else None,
        distinct=cardinality.estimate if cardinality is not None else None,
        distinct_lower=lower,
        distinct_upper=upper,
        frequent_items=tuple(column.frequent_items.items) if column.frequent_items is not None else (),
    )


def value_type(column: ColumnProfile) -> str:
    """Return what most values are, in the words of a baseline; `empty` where all are missing."""
    types = column.types
    found = {
        "float" if types.fractional else "integer": types.integral + types.fractional,
        "boolean": types.boolean,
        "string": types.string,
        "tensor": types.tensor,
        "object": types.object,
    }
    most = max(found, key=lambda name: found[name])
    return most if found[most] else "empty"


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
