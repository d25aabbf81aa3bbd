"""Baselines: the reference that live traffic is compared with.

A baseline holds, for each feature, its bins and how many values of the reference fell into each of them.
It is made once from training or validation data (`Baseline.from_frame`, or `windvane baseline build` for
files of any size), kept beside the model as a JSON file, and read by every process that serves the model.
`docs/baseline-format.md` describes the file field by field.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias, get_args

from windvane import semconv
from windvane._derived import MAX_INPUTS, RECONSTRUCTION_ERROR, PrincipalComponents
from windvane.bins import Bins, CategoryBins, DistanceBins, LengthBins, NumericBins, TimeBins
from windvane.calibration import Calibration, ClassCalibration, Knots, NumberCalibration, ScoreCalibration
from windvane.declaration import check_text
from windvane.errors import BaselineError, DeclarationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from windvane.outcomes import Outcomes

__all__ = [
    "MAX_NAME_LENGTH",
    "Baseline",
    "BaselineWarning",
    "Feature",
    "FeatureType",
    "Role",
    "check_model_name",
    "check_model_version",
    "is_name",
]

Role: TypeAlias = Literal["input", "output", "derived"]
FeatureType: TypeAlias = Literal["float", "integer", "boolean", "string", "text", "time", "embedding"]
"""`string` is a category, `text` is free and watched by its length."""

_FORMAT: Final = "windvane.baseline"
_FORMAT_VERSION: Final = 1
# A baseline of 1000 features with full vocabularies is about 15 MB.
_MAX_BYTES: Final = 64 * 2**20
_MAX_FEATURES: Final = 10_000
MAX_NAME_LENGTH: Final = 256
"""Longer names of columns, in characters, are refused."""

_MAX_VOCABULARY: Final = 1000
_MAX_COUNT: Final = 2**53  # beyond it a double, which carries the count as a metric, is no longer exact
_ID_LENGTH: Final = 16
_FIELDS: Final = {
    *("format", "format_version", "id", "created", "model", "rows", "ignored_columns"),
    *("features", "principal_components", "calibration"),
}

_FEATURE_FIELDS: Final = {
    *("name", "role", "type", "bins", "counts", "violations", "dispersion", "importance"),
    *("unit", "source", "team"),
}

_MODEL_TEXT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_MAX_MODEL_TEXT: Final = 128


ABOUT: Final = ("unit", "source", "team")
"""What can be told about a feature beside what its values say."""

_KIND_OF: Final[dict[type, str]] = {
    NumericBins: "numeric",
    CategoryBins: "category",
    LengthBins: "length",
    TimeBins: "time",
    DistanceBins: "distance",
}
_BINS_OF: Final[dict[str, tuple[type, ...]]] = {
    "string": (CategoryBins,),
    "text": (LengthBins,),
    "time": (TimeBins,),
    "embedding": (DistanceBins,),
}
"""By type of the feature; numbers have numeric bins, or those of categories where they name some."""

WHOLE: Final = ("integer", "boolean")
"""Types of which a fraction is of another type."""


class BaselineWarning(UserWarning):
    """Something in the reference data that the builder of a baseline should know."""


def check_model_name(name: object) -> str:
    """Return a model's name where it can be one.

    Args:
        name: 1 to 128 ASCII letters, digits, `.`, `_`, `/` and `-`, the first a letter or digit.

    Raises:
        DeclarationError: it cannot be a model's name.
    """
    return _check_model_text("model name", name)


def check_model_version(version: object) -> str:
    """Return a model's version where it can be one.

    Args:
        version: 1 to 128 ASCII letters, digits, `.`, `_`, `/` and `-`, the first a letter or digit.

    Raises:
        DeclarationError: it cannot be a model's version.
    """
    return _check_model_text("model version", version)


def _check_model_text(field_name: str, text: object) -> str:
    if not isinstance(text, str):
        msg = f"{field_name}: {_short(text)} is no text; pass a str"
        raise DeclarationError(msg)
    if len(text) > _MAX_MODEL_TEXT or not _MODEL_TEXT.fullmatch(text):
        msg = (
            f"{field_name}: {_short(text)} cannot be used; take 1 to {_MAX_MODEL_TEXT} of A-Z a-z 0-9 . _ / - "
            "and begin with a letter or digit"
        )
        raise DeclarationError(msg)
    return text


@dataclass(frozen=True, slots=True)
class Feature:
    """What the reference says of one input or output of the model, or of what windvane derives from the inputs.

    Attributes:
        name: the column's name, 1 to 256 characters; `reconstruction_error` for the derived feature.
        role: what the feature is to the model.
        type: type of the values in the reference data.
        bins: how its values are counted.
        counts: values of the reference in each bin, in the order of `bins.labels`.
        violations: violations of each kind among the reference's values, in the order of
            `semconv.VIOLATION_KIND.values`.
        dispersion: how many times more the reference's own blocks of rows differ than independent rows
            would, at least 1.
        importance: the input's share in the model's decisions, 0 to 1; None where it is not known.
        unit: unit of its values, such as `km` or `Cel` (UCUM); None where it is not told, as below.
        source: table, feed or feature store that it comes from.
        team: team that owns the source.

    Raises:
        BaselineError: a field does not fit; the message names the feature and the field.
    """

    name: str
    role: Role
    type: FeatureType
    bins: Bins
    counts: tuple[int, ...]
    violations: tuple[int, ...]
    dispersion: float = 1.0
    importance: float | None = None
    unit: str | None = None
    source: str | None = None
    team: str | None = None

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        if not is_name(self.name):
            self._refuse("name", f"must be 1 to {MAX_NAME_LENGTH} characters of valid Unicode")
        if self.role not in get_args(Role):
            self._refuse("role", f"{_short(self.role)} is none of {', '.join(get_args(Role))}")
        if self.type not in get_args(FeatureType):
            self._refuse("type", f"{_short(self.type)} is none of {', '.join(get_args(FeatureType))}")
        if not (math.isfinite(self.dispersion) and self.dispersion >= 1):
            self._refuse("dispersion", "must be a finite number, at least 1")
        if self.importance is not None and not 0 <= self.importance <= 1:
            self._refuse("importance", "must be from 0 to 1")
        for field_name in ABOUT:
            text = getattr(self, field_name)
            if text is not None:
                try:
                    check_text(field_name, text)
                except DeclarationError as error:
                    self._refuse(field_name, str(error).removeprefix(f"{field_name}: "))
                if not is_name(text):
                    self._refuse(field_name, "is no valid Unicode, so no exporter can send it")
        self._check_bins()
        self._check_violations()

    def _check_bins(self) -> None:
        fitting = _BINS_OF.get(self.type, (NumericBins, CategoryBins))
        if not isinstance(self.bins, fitting):
            self._refuse("bins", f"{_KIND_OF[type(self.bins)]} bins do not fit a feature of type {self.type}")
        if isinstance(self.bins, NumericBins) and self.bins.whole != (self.type in WHOLE):
            self._refuse("bins.whole", f"must be {self.type in WHOLE} for a feature of type {self.type}")
        if isinstance(self.bins, CategoryBins) and len(self.bins.vocabulary) > _MAX_VOCABULARY:
            self._refuse("bins.vocabulary", f"holds more than {_MAX_VOCABULARY} categories")
        if len(self.counts) != len(self.bins.labels) or not all(map(_is_count, self.counts)):
            self._refuse("counts", f"must be one whole number, at least 0, for each of {len(self.bins.labels)} bins")

    def _check_violations(self) -> None:
        kinds = semconv.VIOLATION_KIND.values
        if len(self.violations) != len(kinds) or not all(map(_is_count, self.violations)):
            self._refuse("violations", "must be one whole number, at least 0, for each kind of violation")
        if self.violations[kinds.index("missing")] != self._missing:
            self._refuse("violations.missing", "must be the count of the null bin")
        if sum(self.violations) > self.rows:
            self._refuse("violations", "are more than the rows")

    @property
    def rows(self) -> int:
        """How many values of the reference were counted, missing ones included."""
        return sum(self.counts)

    @property
    def missing_share(self) -> float:
        """Share of the reference's rows in which the value is missing."""
        return self._missing / self.rows if self.rows else 0.0

    @property
    def _missing(self) -> int:
        return self.counts[self.bins.labels.index(semconv.BIN_NULL)]

    def _refuse(self, field_name: str, problem: str) -> NoReturn:
        msg = f"feature {_short(self.name)}: {field_name}: {problem}"
        raise BaselineError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The reference statistics of one version of a model.

    Attributes:
        model_name: name of the model.
        model_version: version of the model.
        rows: rows of the reference, at least 1.
        features: inputs and at most one output, in the column order of the data, then the derived feature
            `reconstruction_error` where there is one.
        principal_components: what the derived feature is computed with, None where there is none.
        calibration: how right the reference says that predictions will be; None where its rows had no outcomes.
        ignored_columns: columns of the data that are not watched, because they were excluded or hold
            nothing that can be counted (durations, for instance).
        created: when it was made, ISO 8601 with time zone; no part of the identity.
        id: identity of the content, 16 hex digits.

    Raises:
        BaselineError: a field does not fit; the message names it.
    """

    model_name: str
    model_version: str
    rows: int
    features: tuple[Feature, ...]
    principal_components: PrincipalComponents | None = None
    calibration: Calibration | None = None
    ignored_columns: tuple[str, ...] = ()
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"), compare=False)
    id: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Check what the telemetry relies on."""
        try:
            check_model_name(self.model_name)
            check_model_version(self.model_version)
        except DeclarationError as error:
            raise BaselineError(str(error)) from error
        if not _is_count(self.rows) or not self.rows:
            msg = "rows: must be a whole number, at least 1"
            raise BaselineError(msg)
        self._check_features()
        self._check_importances()
        self._check_calibration()
        if not _is_time(self.created):
            msg = f"created: {_short(self.created)} is no ISO 8601 time with a time zone"
            raise BaselineError(msg)
        object.__setattr__(self, "id", self._digest())

    def _check_features(self) -> None:
        if not 0 < len(self.features) <= _MAX_FEATURES:
            msg = f"features: there are {len(self.features)}, must be 1 to {_MAX_FEATURES}"
            raise BaselineError(msg)
        if not all(map(is_name, self.ignored_columns)):
            msg = f"ignored_columns: each must be 1 to {MAX_NAME_LENGTH} characters of valid Unicode"
            raise BaselineError(msg)
        for name, number in Counter([*(f.name for f in self.features), *self.ignored_columns]).items():
            if number > 1:
                msg = f"features: the name {_short(name)} stands twice; rename one of the columns"
                raise BaselineError(msg)
        for feature in self.features:
            if feature.rows != self.rows and feature.role != "derived":
                msg = f"feature {_short(feature.name)}: counts: their sum is {feature.rows}, but rows is {self.rows}"
                raise BaselineError(msg)
        if sum(feature.role == "output" for feature in self.features) > 1:
            msg = "features: more than one has the role output"
            raise BaselineError(msg)
        self._check_derived()

    def _check_derived(self) -> None:
        derived = [feature for feature in self.features if feature.role == "derived"]
        if len(derived) != (self.principal_components is not None):
            msg = "principal_components: must be there if one feature has the role derived, and only then"
            raise BaselineError(msg)
        for feature in derived:
            if not 0 < feature.rows <= self.rows:
                msg = f"feature {_short(feature.name)}: counts: their sum is {feature.rows}, must be 1 to rows"
                raise BaselineError(msg)
            if feature.name != RECONSTRUCTION_ERROR or not isinstance(feature.bins, NumericBins):
                msg = f"feature {_short(feature.name)}: the derived feature is {RECONSTRUCTION_ERROR}, in numeric bins"
                raise BaselineError(msg)
        if self.principal_components is not None:
            numeric = {feature.name for feature in self.inputs if isinstance(feature.bins, NumericBins)}
            for name in self.principal_components.inputs:
                if name not in numeric:
                    msg = f"principal_components.inputs: {_short(name)} is no input with numeric bins"
                    raise BaselineError(msg)

    def _check_importances(self) -> None:
        importances = [feature.importance for feature in self.inputs if feature.importance is not None]
        for feature in self.features:
            if feature.role != "input" and feature.importance is not None:
                msg = f"feature {_short(feature.name)}: importance: only inputs have one"
                raise BaselineError(msg)
        if importances and (
            len(importances) != len(self.inputs) or not math.isclose(sum(importances), 1, abs_tol=1e-6)
        ):
            msg = "features: importance: all inputs must have one or none, and they must sum to 1"
            raise BaselineError(msg)

    def _check_calibration(self) -> None:
        if self.calibration is None:
            return
        if self.output is None:
            msg = "calibration: there is no output that it could be of"
            raise BaselineError(msg)
        if not 0 < self.calibration.rows <= self.rows:
            msg = f"calibration: it was made of {self.calibration.rows} rows, must be 1 to rows"
            raise BaselineError(msg)

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """The model's inputs, in the column order of the data."""
        return tuple(feature for feature in self.features if feature.role == "input")

    @property
    def output(self) -> Feature | None:
        """The model's output, None where the data had none."""
        return next((feature for feature in self.features if feature.role == "output"), None)

    @property
    def derived(self) -> Feature | None:
        """What windvane derives from the numeric inputs of each row, None where it derives nothing."""
        return next((feature for feature in self.features if feature.role == "derived"), None)

    @classmethod
    def from_frame(  # noqa: PLR0913 - one for each thing that can be told of the data
        cls,
        frame: Any,  # noqa: ANN401 - a frame of any library, told by what it can do
        *,
        model: str,
        version: str,
        output: str | None = None,
        actual: str | None = None,
        outcomes: Outcomes | None = None,
        probabilities: Sequence[str] = (),
        exclude: Sequence[str] = (),
        categorical: Sequence[str] = (),
        importances: Mapping[str, float] | None = None,
        about: Mapping[str, Mapping[str, str]] | None = None,
        bins: int = 10,
        min_category_count: int = 5,
    ) -> Baseline:
        """Make a baseline from data in memory.

        Keep the rows in the order in which they were recorded: how much neighbouring rows have in common
        decides how much chance alone makes live traffic differ.

        Args:
            frame: pandas or polars DataFrame, pyarrow Table, or dict of columns of equal length.
            model: name of the model.
            version: version of the model.
            output: column that holds what the model returned.
            actual: column that holds what came true, for the calibration that quality is estimated with before labels
                arrive. Take rows that the model has not learnt from: of those that it has, it is better than of others.
            outcomes: with `actual`, what the output predicts, as the model will declare it.
            probabilities: with `actual` and the kind `multiclass`, columns of the probabilities of the classes 0, 1 ...
                in this order. Without them the predicted class alone says what is to be expected.
            exclude: columns that are not to be watched.
            categorical: integer columns whose numbers are names of categories.
            importances: importance of every input, in any unit; they are scaled to sum to 1.
            about: by column, any of `unit` (UCUM), `source` (the table or feed it comes from) and `team` (who owns
                that): `{"distance": {"unit": "mi", "source": "schedule", "team": "data-platform"}}`.
            bins: how many bins a numeric feature gets at most, 2 to 100.
            min_category_count: a category that occurs less often is not written into the baseline.

        Warns:
            BaselineWarning: a column is left out, or hardly any of its values can be watched.

        Raises:
            BaselineError: no baseline can be made of the data; the message says why and what to do.
        """
        import warnings  # noqa: PLC0415 - building is no part of serving

        from windvane import _baseline_builder as builder  # noqa: PLC0415 - building is no part of serving

        columns = builder.column_names(frame)
        baseline, notes = builder.build(
            columns,
            lambda: (frame,),
            builder.Options(
                model=model,
                version=version,
                output=output,
                actual=actual,
                outcomes=outcomes,
                probabilities=tuple(probabilities),
                exclude=tuple(exclude),
                categorical=tuple(categorical),
                importances=importances,
                about=about,
                bins=bins,
                min_category_count=min_category_count,
            ),
        )
        for note in notes:
            warnings.warn(note, BaselineWarning, stacklevel=2)
        return baseline

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Baseline:
        """Read a baseline from its file.

        Raises:
            BaselineError: the file cannot be read, is no baseline or was changed; the message names the
                file, the field and what to do.
        """
        file = os.fspath(path)
        try:
            with open(file, "rb") as stream:  # noqa: PTH123 - pathlib's import takes longer than the reading
                content = stream.read(_MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            msg = f"{file}: cannot be read: {reason}; check the path, or make it with `windvane baseline build`"
            raise BaselineError(msg) from error
        if len(content) > _MAX_BYTES:
            msg = f"{file}: is larger than {_MAX_BYTES // 2**20} MiB, so it is no baseline; check the path"
            raise BaselineError(msg)
        try:
            return cls.from_json(content.decode())
        except UnicodeDecodeError as error:
            msg = f"{file}: is no UTF-8 text, so it is no baseline; check the path"
            raise BaselineError(msg) from error
        except BaselineError as error:
            msg = f"{file}: {error}"
            raise BaselineError(msg) from error

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """Read a baseline from the text of its file.

        Raises:
            BaselineError: the text is no baseline or was changed; the message names the field and what to do.
        """
        import json  # noqa: PLC0415 - `import windvane` is to stay light

        try:
            document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique_keys)
        except json.JSONDecodeError as error:
            msg = f"is no JSON ({error.msg} in line {error.lineno}); check the path, or restore the file"
            raise BaselineError(msg) from error
        except (ValueError, RecursionError) as error:
            msg = f"is no baseline ({str(error)[:200]}); check the path, or restore the file"
            raise BaselineError(msg) from error
        return _baseline_of(document)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the baseline to a file; one that exists is replaced in one step.

        Raises:
            BaselineError: the file cannot be written.
        """
        from pathlib import Path  # noqa: PLC0415 - serving does not need it

        file = Path(path)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            try:
                part.write_text(self.to_json(), encoding="utf-8")
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            msg = f"{file}: cannot be written: {reason}; check the directory"
            raise BaselineError(msg) from error

    def to_json(self) -> str:
        """Return the text of the baseline's file: indented JSON that ends in a line break."""
        import json  # noqa: PLC0415 - serving does not need it

        head = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "id": self.id, "created": self.created}
        return json.dumps({**head, **self._content()}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def _content(self) -> dict[str, Any]:
        content = {
            "model": {"name": self.model_name, "version": self.model_version},
            "rows": self.rows,
            "ignored_columns": list(self.ignored_columns),
            "features": [_document_of(feature) for feature in self.features],
        }
        if self.principal_components is not None:
            content["principal_components"] = _components_document(self.principal_components)
        if self.calibration is not None:
            content["calibration"] = _calibration_document(self.calibration)
        return content

    def _digest(self) -> str:
        import hashlib  # noqa: PLC0415 - `import windvane` is to stay light
        import json  # noqa: PLC0415 - as above

        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def _document_of(feature: Feature) -> dict[str, Any]:
    bins = feature.bins
    document: dict[str, Any] = {"name": feature.name, "role": feature.role, "type": feature.type}
    described: dict[str, Any] = {"kind": _KIND_OF[type(bins)]}
    if isinstance(bins, DistanceBins):
        described["centroid"] = _doubles(bins.centroid)
    if isinstance(bins, NumericBins | LengthBins | DistanceBins):
        described["edges"] = _doubles(bins.edges)
        described["minimum"] = float(bins.minimum) + 0.0
        described["maximum"] = float(bins.maximum) + 0.0
    elif isinstance(bins, CategoryBins):
        described |= {"size": bins.size, "vocabulary": list(bins.vocabulary)}
    document["bins"] = described
    document["counts"] = dict(zip(bins.labels, feature.counts, strict=True))
    kinds = zip(semconv.VIOLATION_KIND.values, feature.violations, strict=True)
    document["violations"] = {kind: number for kind, number in kinds if number}
    document["dispersion"] = float(feature.dispersion)
    if feature.importance is not None:
        document["importance"] = float(feature.importance)
    document |= {name: getattr(feature, name) for name in ABOUT if getattr(feature, name) is not None}
    return document


def _components_document(of: PrincipalComponents) -> dict[str, Any]:
    return {
        "inputs": list(of.inputs),
        "means": _doubles(of.means),
        "scales": _doubles(of.scales),
        "components": [_doubles(component) for component in of.components],
    }


def _calibration_document(of: Calibration) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": of.outcomes.kind}
    if isinstance(of, ScoreCalibration):
        document["threshold"] = float(of.threshold)
        document["knots"] = {"at": _doubles(of.share.at), "share": _doubles(of.share.values)}
        document |= {"classified": list(map(list, of.classified)), "scored": list(map(list, of.scored))}
    elif isinstance(of, ClassCalibration):
        document |= {"classes": list(of.classes), "classified": list(map(list, of.classified)), "right": list(of.right)}
        if of.shares:
            document["knots"] = [{"at": _doubles(share.at), "share": _doubles(share.values)} for share in of.shares]
    else:
        knots = {"at": _doubles(of.absolute_error.at), "absolute_error": _doubles(of.absolute_error.values)}
        if of.tolerance is not None and of.right is not None:
            document["tolerance"] = float(of.tolerance)
            knots["right"] = _doubles(of.right.values)
        document |= {"knots": knots, "rows": of.rows, "total_error": float(of.total_error), "scale": float(of.scale)}
        document["total_right"] = of.total_right
    return document


def _doubles(values: Sequence[float]) -> list[float]:
    # Adding 0.0 makes one zero of both.
    return [float(value) + 0.0 for value in values]


# --- Reading: every value is checked for its type here and for its meaning by the class it makes. --------------


def _baseline_of(document: object) -> Baseline:
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        msg = f'format: is not "{_FORMAT}", so this is no baseline; check the path'
        raise BaselineError(msg)
    version = _whole(document, "format_version", "")
    if version > _FORMAT_VERSION:
        msg = f"format_version: {_short(version)} is newer than {_FORMAT_VERSION}; upgrade windvane to read it"
        raise BaselineError(msg)
    if version != _FORMAT_VERSION:
        msg = f"format_version: {_short(version)} is unknown; make the baseline anew"
        raise BaselineError(msg)
    _only(document, "", _FIELDS)
    model = _object(document, "model", "")
    _only(model, "model.", {"name", "version"})
    features = _list(document, "features", "")
    if len(features) > _MAX_FEATURES:
        msg = f"features: there are {len(features)}, at most {_MAX_FEATURES} can be read"
        raise BaselineError(msg)
    baseline = Baseline(
        model_name=_text(model, "name", "model."),
        model_version=_text(model, "version", "model."),
        rows=_whole(document, "rows", ""),
        features=tuple(_feature_of(feature, f"features[{i}]") for i, feature in enumerate(features)),
        principal_components=_components_of(document) if "principal_components" in document else None,
        calibration=_calibration_of(document) if "calibration" in document else None,
        ignored_columns=_texts(document, "ignored_columns", ""),
        created=_text(document, "created", ""),
    )
    if _text(document, "id", "") != baseline.id:
        msg = (
            f"id: {_short(document['id'])} is not the content's ({baseline.id}): was the file edited by hand? "
            "Restore it or make it anew with `windvane baseline build`"
        )
        raise BaselineError(msg)
    return baseline


def _feature_of(document: object, where: str) -> Feature:
    if not isinstance(document, dict):
        msg = f"{where}: must be an object; restore the file"
        raise BaselineError(msg)
    where += "."
    _only(document, where, _FEATURE_FIELDS)
    feature_type = _text(document, "type", where)
    bins = _bins_of(_object(document, "bins", where), f"{where}bins", whole=feature_type in WHOLE)
    counts = _object(document, "counts", where)
    if set(counts) != set(bins.labels):
        msg = f"{where}counts: must have the keys {', '.join(bins.labels)}; restore the file"
        raise BaselineError(msg)
    violations = _object(document, "violations", where)
    kinds = semconv.VIOLATION_KIND.values
    _only(violations, f"{where}violations.", set(kinds))
    importance = _number(document, "importance", where) if "importance" in document else None
    return Feature(
        name=_text(document, "name", where),
        role=_text(document, "role", where),  # type: ignore[arg-type] # Feature checks it
        type=feature_type,  # type: ignore[arg-type] # Feature checks it
        bins=bins,
        counts=tuple(_whole(counts, label, f"{where}counts.") for label in bins.labels),
        violations=tuple(
            _whole(violations, kind, f"{where}violations.") if kind in violations else 0 for kind in kinds
        ),
        dispersion=_number(document, "dispersion", where),
        importance=importance,
        **{name: _text(document, name, where) for name in ABOUT if name in document},
    )


def _components_of(document: dict[str, Any]) -> PrincipalComponents:
    where = "principal_components."
    section = _object(document, "principal_components", "")
    _only(section, where, {"inputs", "means", "scales", "components"})
    directions = _list(section, "components", where)
    if len(directions) >= MAX_INPUTS:
        msg = f"{where}components: there are {len(directions)}, must be fewer than {MAX_INPUTS}"
        raise BaselineError(msg)
    for i, direction in enumerate(directions):
        if not isinstance(direction, list):
            _wrong_type(direction, f"{where}components[{i}]", "a list")
    return PrincipalComponents(
        inputs=_texts(section, "inputs", where),
        means=_numbers(_list(section, "means", where), f"{where}means"),
        scales=_numbers(_list(section, "scales", where), f"{where}scales"),
        components=tuple(_numbers(direction, f"{where}components[{i}]") for i, direction in enumerate(directions)),
    )


def _calibration_of(document: dict[str, Any]) -> Calibration:
    section = _object(document, "calibration", "")
    where = "calibration."
    read = {"binary": _score_calibration_of, "multiclass": _class_calibration_of, "regression": _number_calibration_of}
    kind = section.get("kind")
    if not isinstance(kind, str) or kind not in read:
        msg = f"{where}kind: {_short(kind)} is none of {', '.join(read)}; restore the file or upgrade windvane"
        raise BaselineError(msg)
    try:
        return read[kind](section, where)
    except BaselineError as error:
        if str(error).startswith(where):
            raise
        msg = f"{where}{error}"
        raise BaselineError(msg) from error


def _score_calibration_of(section: dict[str, Any], where: str) -> Calibration:
    _only(section, where, {"kind", "threshold", "knots", "classified", "scored"})
    return ScoreCalibration(
        threshold=_number(section, "threshold", where),
        share=_knots_of(_object(section, "knots", where), f"{where}knots.", ("share",))[0],
        classified=_table(section, "classified", where),
        scored=_table(section, "scored", where),
    )


def _class_calibration_of(section: dict[str, Any], where: str) -> Calibration:
    _only(section, where, {"kind", "classes", "classified", "right", "knots"})
    shares = []
    for i, knots in enumerate(_list(section, "knots", where) if "knots" in section else []):
        if not isinstance(knots, dict):
            _wrong_type(knots, f"{where}knots[{i}]", "an object")
        shares.append(_knots_of(knots, f"{where}knots[{i}].", ("share",))[0])
    return ClassCalibration(
        classes=_texts(section, "classes", where),
        classified=_table(section, "classified", where),
        right=_wholes(_list(section, "right", where), f"{where}right"),
        shares=tuple(shares),
    )


def _number_calibration_of(section: dict[str, Any], where: str) -> Calibration:
    _only(section, where, {"kind", "tolerance", "knots", "rows", "total_error", "total_right", "scale"})
    tolerance = _number(section, "tolerance", where) if "tolerance" in section else None
    names = ("absolute_error",) if tolerance is None else ("absolute_error", "right")
    knots = _knots_of(_object(section, "knots", where), f"{where}knots.", names)
    return NumberCalibration(
        tolerance=tolerance,
        absolute_error=knots[0],
        right=None if tolerance is None else knots[1],
        rows=_whole(section, "rows", where),
        total_error=_number(section, "total_error", where),
        total_right=_whole(section, "total_right", where),
        scale=_number(section, "scale", where),
    )


def _knots_of(document: dict[str, Any], where: str, names: tuple[str, ...]) -> list[Knots]:
    _only(document, where, {"at", *names})
    at, *functions = (_numbers(_list(document, name, where), f"{where}{name}") for name in ("at", *names))
    return [Knots(at, values) for values in functions]


def _table(document: dict[str, Any], key: str, where: str) -> tuple[tuple[int, ...], ...]:
    rows = _list(document, key, where)
    for i, row in enumerate(rows):
        if not isinstance(row, list):
            _wrong_type(row, f"{where}{key}[{i}]", "a list")
    return tuple(_wholes(row, f"{where}{key}[{i}]") for i, row in enumerate(rows))


def _wholes(values: list[Any], where: str) -> tuple[int, ...]:
    for i, value in enumerate(values):
        if not isinstance(value, int) or isinstance(value, bool):
            _wrong_type(value, f"{where}[{i}]", "a whole number")
    return tuple(values)


def _bins_of(document: dict[str, Any], where: str, *, whole: bool) -> Bins:
    kind = document.get("kind")
    try:
        if kind == "numeric":
            _only(document, f"{where}.", {"kind", "edges", "minimum", "maximum"})
            return NumericBins(*_edges_of(document, where), whole=whole)
        if kind == "length":
            _only(document, f"{where}.", {"kind", "edges", "minimum", "maximum"})
            return LengthBins(*_edges_of(document, where))
        if kind == "category":
            _only(document, f"{where}.", {"kind", "size", "vocabulary"})
            return CategoryBins(
                vocabulary=_texts(document, "vocabulary", f"{where}."), size=_whole(document, "size", f"{where}.")
            )
        if kind == "distance":
            _only(document, f"{where}.", {"kind", "centroid", "edges", "minimum", "maximum"})
            centroid = _numbers(_list(document, "centroid", f"{where}."), f"{where}.centroid")
            return DistanceBins(centroid, *_edges_of(document, where))
        if kind == "time":
            _only(document, f"{where}.", {"kind"})
            return TimeBins()
    except BaselineError as error:
        if str(error).startswith("features["):
            raise
        msg = f"{where}.{error}"
        raise BaselineError(msg) from error
    msg = (
        f"{where}.kind: {_short(kind)} is none of {', '.join(_KIND_OF.values())}; restore the file or upgrade windvane"
    )
    raise BaselineError(msg)


def _edges_of(document: dict[str, Any], where: str) -> tuple[tuple[float, ...], float, float]:
    edges = _numbers(_list(document, "edges", f"{where}."), f"{where}.edges")
    return edges, _number(document, "minimum", f"{where}."), _number(document, "maximum", f"{where}.")


def _no_constant(text: str) -> NoReturn:
    msg = f"{text} is no number of JSON"
    raise ValueError(msg)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        msg = "a key stands twice in one object"
        raise ValueError(msg)
    return document


def _only(document: dict[str, Any], where: str, known: set[str]) -> None:
    for key in document:
        if key not in known:
            msg = f"{where}{key[:MAX_NAME_LENGTH]}: is an unknown field; restore the file or upgrade windvane"
            raise BaselineError(msg)


def _get(document: dict[str, Any], key: str, where: str) -> Any:  # noqa: ANN401 - any value of JSON
    if key not in document:
        msg = f"{where}{key}: is absent; restore the file or make it anew with `windvane baseline build`"
        raise BaselineError(msg)
    return document[key]


def _object(document: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = _get(document, key, where)
    if not isinstance(value, dict):
        _wrong_type(value, where + key, "an object")
    return value


def _list(document: dict[str, Any], key: str, where: str) -> list[Any]:
    value = _get(document, key, where)
    if not isinstance(value, list):
        _wrong_type(value, where + key, "a list")
    return value


def _text(document: dict[str, Any], key: str, where: str) -> str:
    value = _get(document, key, where)
    if not isinstance(value, str):
        _wrong_type(value, where + key, "a text")
    return value


def _texts(document: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    values = _list(document, key, where)
    for i, value in enumerate(values):
        if not isinstance(value, str):
            _wrong_type(value, f"{where}{key}[{i}]", "a text")
    return tuple(values)


def _whole(document: dict[str, Any], key: str, where: str) -> int:
    value = _get(document, key, where)
    if not isinstance(value, int) or isinstance(value, bool):
        _wrong_type(value, where + key, "a whole number")
    return value


def _number(document: dict[str, Any], key: str, where: str) -> float:
    return _as_number(_get(document, key, where), where + key)


def _numbers(values: list[Any], where: str) -> tuple[float, ...]:
    return tuple(_as_number(value, f"{where}[{i}]") for i, value in enumerate(values))


def _as_number(value: object, where: str) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not -sys.float_info.max <= value <= sys.float_info.max
    ):
        _wrong_type(value, where, "a finite number")
    return float(value)


def _wrong_type(value: object, where: str, wanted: str) -> NoReturn:
    msg = f"{where}: {_short(value)} is not {wanted}; restore the file or make it anew with `windvane baseline build`"
    raise BaselineError(msg)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a column: not empty, not too long, and valid Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no exporter can send it
        return False
    return 0 < len(text) <= MAX_NAME_LENGTH


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _short(value: object) -> str:
    """Write a value for a message: one line of bounded length, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - Python refuses to write very large integers, and any __repr__ may fail
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - a line of a terminal
