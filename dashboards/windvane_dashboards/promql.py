"""Names and pieces of PromQL that the rules and the dashboards share.

Raw names come from `windvane.semconv`; the names of recorded series stand here, once. A recorded name
is `level:metric:operation`. The window in it is nominal: a faster clock (see `rules.Timings`) shortens
the windows but keeps the names, so dashboards and alerts stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from windvane import semconv

if TYPE_CHECKING:
    from datetime import timedelta

__all__ = [
    "AGED_ROWS",
    "AGE_LIMIT",
    "AGE_MEDIAN",
    "AGE_RATE",
    "BASELINES",
    "BASELINE_AGE",
    "BASELINE_ID_LABEL",
    "BASELINE_VERSION_LABEL",
    "BIN",
    "BIN_LABEL",
    "BUCKET_RATE",
    "CALLS",
    "CALL_RATE",
    "CANARY_ERROR_EXCESS",
    "CANARY_ERROR_NOISE",
    "CANARY_OUTPUT_BINS_USED",
    "CANARY_OUTPUT_FLOOR",
    "CANARY_OUTPUT_PSI",
    "CANARY_OUTPUT_ROWS",
    "COVERAGE",
    "DAY_OUTCOMES",
    "DAY_ROWS",
    "DEPLOYMENT",
    "DEPLOYMENT_BUCKET_RATE",
    "DEPLOYMENT_CALLS",
    "DEPLOYMENT_CALL_RATE",
    "DEPLOYMENT_ERRORS",
    "DEPLOYMENT_ERROR_RATE",
    "DEPLOYMENT_MEAN",
    "DEPLOYMENT_P95",
    "DISPERSION",
    "DRIFT_SHARE",
    "ERRORS",
    "ERROR_BUDGET",
    "EXPECTED_AGED_ERROR",
    "EXPECTED_AGED_RATIO",
    "EXPECTED_ERROR",
    "EXPECTED_SHARE",
    "FEATURE",
    "FEATURE_LABEL",
    "FEATURE_OWNER",
    "FEATURE_RATE",
    "FEATURE_ROLE",
    "FEATURE_ROWS",
    "KIND",
    "KIND_LABEL",
    "LAG_HOUR",
    "LAG_MEDIAN",
    "LAG_P95",
    "LAG_RATE",
    "LOST",
    "LOST_RATE",
    "MODEL",
    "MODEL_DISPERSION",
    "MODEL_EXCESS",
    "MODEL_LABEL",
    "MODEL_OWNER",
    "MODEL_SHIFTED",
    "OBJECTIVE",
    "OBJECTIVE_LABEL",
    "OBSERVATION_RATE",
    "OUTCOME_DISPERSION",
    "OUTCOME_ERROR",
    "OUTCOME_ERROR_NOISE",
    "OUTCOME_WINDOWS",
    "OUTPUT_BINS",
    "OWNER",
    "OWNER_LABELS",
    "OWNER_LAST_SEEN",
    "OWNER_REPLICAS",
    "OWNER_REPORTING",
    "PROBE",
    "PROBE_LABEL",
    "PROBE_NOT_PASSED",
    "PROBE_OWNER",
    "PROBE_RESULTS",
    "PROBE_RUNS",
    "REALISED_SHARE",
    "REFERENCE",
    "REFERENCE_ROWS",
    "REFERENCE_SHARE",
    "REFERENCE_VIOLATION_RATIO",
    "RESULT_LABEL",
    "ROLE_LABEL",
    "ROWS",
    "ROW_RATE",
    "SEGMENT",
    "SEGMENT_EFFECTIVE",
    "SEGMENT_JUDGED",
    "SEGMENT_LABEL",
    "SEGMENT_RATIO",
    "SEGMENT_SURELY",
    "SEGMENT_WRONG",
    "SLOW",
    "SOURCE_DECLARED",
    "SOURCE_LABEL",
    "STABLE",
    "STABLE_OUTPUT_BINS",
    "STABLE_OUTPUT_ROWS",
    "STABLE_VERSION",
    "TRAFFIC",
    "TRAFFIC_PAST_HIGH",
    "TRAFFIC_PAST_LOW",
    "VARIANT_LABEL",
    "VERSION_LABEL",
    "VIOLATIONS",
    "VIOLATION_EXCESS",
    "VIOLATION_RATE",
    "VIOLATION_RATIO",
    "VIOLATION_SHARE",
    "WRONG_NOISE",
    "BadCalls",
    "BurnWindow",
    "DriftSeries",
    "OutcomeSeries",
    "OutcomeShare",
    "OutcomeSource",
    "OutcomeWindow",
    "Window",
    "burn_threshold",
    "drift_share",
    "duration",
    "labels",
    "lines",
    "nested",
    "outcome_count",
]

Window = Literal["1h", "1d"]
"""Nominal drift window, as it stands in recorded names."""

BurnWindow = Literal["5m", "30m", "1h", "2h", "6h", "1d", "3d", "7d"]
"""Nominal window of a burn rate, as it stands in recorded names."""

OutcomeWindow = Literal["1d", "7d"]
"""Nominal window of the statistics of outcomes, as it stands in recorded names."""

OutcomeSource = Literal["realised", "expected", "reference"]
"""Whose outcomes are counted: those that came true, those that the calibration expects, or the reference's."""

OUTCOME_WINDOWS: Final[tuple[OutcomeWindow, ...]] = ("1d", "7d")

MODEL_LABEL: Final = semconv.MODEL_NAME.label
VERSION_LABEL: Final = semconv.MODEL_VERSION.label
VARIANT_LABEL: Final = semconv.MODEL_VARIANT.label
FEATURE_LABEL: Final = semconv.FEATURE_NAME.label
ROLE_LABEL: Final = semconv.FEATURE_ROLE.label
BIN_LABEL: Final = semconv.FEATURE_BIN.label
OBJECTIVE_LABEL: Final = semconv.OBJECTIVE.label
BASELINE_ID_LABEL: Final = semconv.BASELINE_ID.label
BASELINE_VERSION_LABEL: Final = semconv.BASELINE_VERSION.label
SOURCE_LABEL: Final = semconv.FEATURE_SOURCE.label
KIND_LABEL: Final = semconv.VIOLATION_KIND.label
PROBE_LABEL: Final = semconv.PROBE_NAME.label
RESULT_LABEL: Final = semconv.PROBE_RESULT.label
SEGMENT_LABEL: Final = semconv.OUTCOME_SEGMENT.label
OWNER_LABELS: Final = (semconv.TEAM.label, semconv.SEVERITY.label, semconv.RUNBOOK_URL.label)


def labels(*names: str) -> str:
    """Return label names as they stand between the parentheses of `by` and `on`."""
    return ", ".join(names)


# What the rules group by, coarse to fine. A feature's role follows from its name; it is carried along
# so that alerts can tell inputs from outputs.
MODEL: Final = labels(MODEL_LABEL, VERSION_LABEL)
FEATURE: Final = labels(MODEL, FEATURE_LABEL)
FEATURE_ROLE: Final = labels(FEATURE, ROLE_LABEL)
BIN: Final = labels(FEATURE_ROLE, BIN_LABEL)
DEPLOYMENT: Final = labels(MODEL, VARIANT_LABEL)
OBJECTIVE: Final = labels(MODEL, OBJECTIVE_LABEL)
KIND: Final = labels(FEATURE, KIND_LABEL)
PROBE: Final = labels(MODEL, PROBE_LABEL)
SEGMENT: Final = labels(MODEL, SEGMENT_LABEL)


def _stem(metric: semconv.Metric) -> str:
    """Return the metric's name without the suffix of a counter: a recorded rate is none."""
    return metric.prometheus_name.removesuffix("_total")


_OBSERVATIONS: Final = _stem(semconv.FEATURE_OBSERVATIONS)
_REFERENCE: Final = _stem(semconv.FEATURE_REFERENCE_OBSERVATIONS)
_VIOLATIONS: Final = _stem(semconv.FEATURE_VIOLATIONS)
_REFERENCE_VIOLATIONS: Final = _stem(semconv.FEATURE_REFERENCE_VIOLATIONS)
_DURATION: Final = _stem(semconv.PREDICTION_DURATION)
_INFO: Final = _stem(semconv.MODEL_INFO)
_FEATURE_INFO: Final = _stem(semconv.FEATURE_INFO)
_AGE: Final = _stem(semconv.FEATURE_AGE)

# Owners, by model version.
OWNER_REPLICAS: Final = f"ml_model_owner:{_INFO}:count"
OWNER_REPORTING: Final = f"ml_model:{_INFO}:owner_reporting"
OWNER_LAST_SEEN: Final = f"ml_model:{_INFO}:last_seen"
OWNER: Final = f"ml_model:{_INFO}:owner"
MODEL_REPORTING: Final = f"ml_model_name:{_INFO}:reporting"

# Baselines, by model version.
BASELINES: Final = f"ml_model_baseline:{_INFO}:count"
BASELINE_AGE: Final = "ml_model:ml_model_baseline_age_seconds:max"

# What windvane itself lost, by model version.
LOST_RATE: Final = f"ml_model:{_stem(semconv.RECORDS_DROPPED)}:rate5m"
LOST: Final = f"ml_model:{_stem(semconv.RECORDS_DROPPED)}:increase1h"

# Objectives, by model version and objective.
ERROR_BUDGET: Final = "ml_model_objective:ml_error_budget:1h"


def burn_threshold(window: BurnWindow) -> str:
    """Return the name of the share of bad events above which a window burns too fast."""
    return f"ml_model_objective:ml_error_budget:burn_threshold_{window}"


# Calls, by model version.
DEPLOYMENT_CALL_RATE: Final = f"ml_deployment:{_DURATION}_count:rate5m"
DEPLOYMENT_ERROR_RATE: Final = "ml_deployment:ml_prediction_errors:rate5m"
DEPLOYMENT_BUCKET_RATE: Final = f"ml_deployment_le:{_DURATION}_bucket:rate5m"
CALL_RATE: Final = f"ml_model:{_DURATION}_count:rate5m"
BUCKET_RATE: Final = f"ml_model_le:{_DURATION}_bucket:rate5m"
CALLS: Final = f"ml_model:{_DURATION}_count:increase1h"
ROW_RATE: Final = f"ml_model:{_stem(semconv.PREDICTION_ROWS)}:rate5m"
ROWS: Final = f"ml_model:{_stem(semconv.PREDICTION_ROWS)}:increase1h"

# Canaries against the stable deployment of the same model, by deployment: model, version and variant.
STABLE: Final = "ml_deployment:ml_prediction_calls:stable"
DEPLOYMENT_CALLS: Final = "ml_deployment:ml_prediction_calls:increase1h"
DEPLOYMENT_ERRORS: Final = "ml_deployment:ml_prediction_errors:increase1h"
DEPLOYMENT_P95: Final = f"ml_deployment:{_DURATION}:p95_1h"
DEPLOYMENT_MEAN: Final = f"ml_deployment:{_DURATION}:mean1h"
CANARY_ERROR_EXCESS: Final = "ml_deployment:ml_prediction_errors:canary_excess"
CANARY_ERROR_NOISE: Final = "ml_deployment:ml_prediction_errors:canary_noise"
STABLE_VERSION: Final = "ml_model:ml_prediction_calls:stable"
OUTPUT_BINS: Final = "ml_model_output_bin:ml_feature_observations:increase1h"
STABLE_OUTPUT_BINS: Final = "ml_model_output_bin:ml_feature_observations:stable1h"
CANARY_OUTPUT_ROWS: Final = "ml_model_output:ml_feature_observations:canary1h"
STABLE_OUTPUT_ROWS: Final = "ml_model_output:ml_feature_observations:stable1h"
CANARY_OUTPUT_BINS_USED: Final = "ml_model_output:ml_feature_used_bins:canary1h"
CANARY_OUTPUT_PSI: Final = "ml_model_output:ml_feature_psi:canary1h"
CANARY_OUTPUT_FLOOR: Final = "ml_model_output:ml_feature_psi_ticket_floor:canary1h"

# Traffic, by model, over all its versions.
TRAFFIC: Final = f"ml_model_name:{_DURATION}_count:increase1h"
TRAFFIC_PAST_LOW: Final = f"ml_model_name:{_DURATION}_count:past_low"
TRAFFIC_PAST_HIGH: Final = f"ml_model_name:{_DURATION}_count:past_high"
MODEL_DISPERSION: Final = f"ml_model_name:{_stem(semconv.FEATURE_REFERENCE_DISPERSION)}:median"
MODEL_OWNER: Final = f"ml_model_name:{_INFO}:owner"

# Known cases, by model, version where they are for one, and probe.
PROBE_RESULTS: Final = f"ml_model_probe_result:{_stem(semconv.PROBE_RUNS)}:increase10m"
PROBE_RUNS: Final = f"ml_model_probe:{_stem(semconv.PROBE_RUNS)}:increase10m"
PROBE_NOT_PASSED: Final = f"ml_model_probe:{_stem(semconv.PROBE_RUNS)}:not_passed10m"
PROBE_OWNER: Final = f"ml_model_name:{_stem(semconv.PROBE_RUNS)}:owner"

# Features that have shifted, by model version, and the drift budget.
MODEL_SHIFTED: Final = "ml_model:ml_feature_shifted:sum1h"
DRIFT_SHARE: Final = "ml_model:ml_feature_shifted:share"


def drift_share(window: BurnWindow) -> str:
    """Return the name of the mean share of shifted features over a window."""
    return f"{DRIFT_SHARE}_{window}"


@dataclass(frozen=True, slots=True)
class BadCalls:
    """Names of the series recorded for calls that miss an objective.

    Attributes:
        kind: what is bad about them.
        objective: which objective they miss, of `semconv.OBJECTIVE.values`.
    """

    kind: Literal["errors", "slow"]
    objective: str

    @property
    def rate(self) -> str:
        """Bad calls per second."""
        return f"ml_model:ml_prediction_{self.kind}:rate5m"

    def increase(self, window: BurnWindow) -> str:
        """Bad calls in the window."""
        return f"ml_model:ml_prediction_{self.kind}:increase{window}"

    def ratio(self, window: BurnWindow) -> str:
        """Share of the calls in the window that were bad."""
        return f"ml_model:ml_prediction_{self.kind}:ratio_{'rate5m' if window == '5m' else window}"


ERRORS: Final = BadCalls("errors", "availability")
SLOW: Final = BadCalls("slow", "latency")

# Features.
OBSERVATION_RATE: Final = f"ml_model_feature_bin:{_OBSERVATIONS}:rate8m"
FEATURE_RATE: Final = f"ml_model_feature:{_OBSERVATIONS}:rate5m"
REFERENCE: Final = f"ml_model_feature_bin:{_REFERENCE}:max"
DISPERSION: Final = f"ml_model_feature:{_stem(semconv.FEATURE_REFERENCE_DISPERSION)}:max"
REFERENCE_ROWS: Final = f"ml_model_feature:{_REFERENCE}:sum"
VIOLATION_RATE: Final = f"ml_model_feature_kind:{_VIOLATIONS}:rate5m"
REFERENCE_VIOLATION_RATIO: Final = f"ml_model_feature_kind:{_REFERENCE_VIOLATIONS}:ratio"
VIOLATIONS: Final = f"ml_model_feature_kind:{_VIOLATIONS}:increase1h"
FEATURE_ROWS: Final = "ml_model_feature:ml_feature_values:increase1h"
VIOLATION_RATIO: Final = f"ml_model_feature_kind:{_VIOLATIONS}:ratio_1h"
VIOLATION_SHARE: Final = f"ml_model_feature_kind:{_VIOLATIONS}:ratio"
VIOLATION_EXCESS: Final = f"ml_model_feature_kind:{_VIOLATIONS}:excess"
MODEL_EXCESS: Final = f"ml_model:{_VIOLATIONS}:excess"

# Where a feature comes from and who owns that, by feature.
SOURCE_DECLARED: Final = f"ml_model_feature:{_FEATURE_INFO}:declared"
FEATURE_OWNER: Final = f"ml_model_feature:{_FEATURE_INFO}:owner"

# Ages, by feature.
AGE_RATE: Final = f"ml_model_feature_le:{_AGE}_bucket:rate5m"
AGE_MEDIAN: Final = f"ml_model_feature:{_AGE}:median1h"
AGE_LIMIT: Final = f"ml_model_feature:{_AGE}:limit"


@dataclass(frozen=True, slots=True)
class DriftSeries:
    """Names of the series recorded for one drift window.

    Attributes:
        window: nominal.
        computed: the series as they are computed, more seldom than Prometheus takes a sample for the present; those
            without it carry the latest on. For the day only, and for whole features: each bin's are not carried on.
    """

    window: Window
    computed: bool = False

    @property
    def _operation(self) -> str:
        return f"{self.window}_computed" if self.computed else self.window

    @property
    def live(self) -> str:
        """Rows in each bin of the live window."""
        return f"ml_model_feature_bin:{_OBSERVATIONS}:increase{self.window}"

    @property
    def live_total(self) -> str:
        """Rows of the feature in the live window."""
        return f"ml_model_feature:{_OBSERVATIONS}:increase{self._operation}"

    @property
    def reference(self) -> str:
        """Reference rows in each bin: of the baseline, or of the same window a week before."""
        return f"ml_model_feature_bin:{_REFERENCE}:{self.window}"

    @property
    def reference_total(self) -> str:
        """Reference rows of the feature; only features that have some."""
        return f"ml_model_feature:{_REFERENCE}:{self._operation}"

    @property
    def used_bins(self) -> str:
        """How many bins are used."""
        return f"ml_model_feature:ml_feature_used_bins:{self._operation}"

    @property
    def live_share(self) -> str:
        """Smoothed share of each used bin in the live window; where a statistic asks for it."""
        return f"ml_model_feature_bin:ml_feature_live_share:{self.window}"

    @property
    def reference_share(self) -> str:
        """Smoothed share of each used bin in the reference; where a statistic asks for it."""
        return f"ml_model_feature_bin:ml_feature_reference_share:{self.window}"

    def statistic(self, method: str) -> str:
        """Drift by one of `semconv.DRIFT_METHOD.values`."""
        return f"ml_model_feature:ml_feature_{method}:{self._operation}"

    @property
    def share_delta(self) -> str:
        """Live minus reference share of each numeric bin, which KS adds up."""
        return f"ml_model_feature_bin:ml_feature_ordered_share_delta:{self.window}"

    @property
    def noise_floor(self) -> str:
        """PSI that chance alone exceeds once in a thousand windows."""
        return f"ml_model_feature:ml_feature_psi_noise_floor:{self.window}"

    @property
    def ticket_floor(self) -> str:
        """PSI that chance alone passes in no month of looking every minute."""
        return f"ml_model_feature:ml_feature_psi_ticket_floor:{self.window}"

    @property
    def past(self) -> str:
        """PSI in the same window of the past, where seasons repeat."""
        return f"ml_model_feature:ml_feature_psi_past:{self.window}"

    @property
    def shifted(self) -> str:
        """1 where PSI is above the noise floor, else 0."""
        return f"ml_model_feature:ml_feature_shifted:{self.window}"

    @property
    def shifted_anew(self) -> str:
        """The same, 0 also where the feature had shifted half as much a week before."""
        return f"ml_model_feature:ml_feature_shifted_anew:{self.window}"

    @property
    def null_ratio(self) -> str:
        """Share of missing values."""
        return f"ml_model_feature:ml_feature_null:ratio_{self._operation}"


# Outcomes.


def outcome_count(metric: semconv.Metric, operation: str) -> str:
    """Return the name of a recorded count of outcomes: by deployment, or by version, and by all else that it has.

    Example:
        >>> outcome_count(semconv.OUTCOME_CLASSIFIED, "increase7d")
        'ml_deployment_predicted_actual:ml_outcome_classified:increase7d'
        >>> outcome_count(semconv.OUTCOME_REFERENCE, "max")
        'ml_model_predicted_actual:ml_outcome_reference:max'
    """
    level = "ml_deployment" if semconv.MODEL_VARIANT in metric.attributes else "ml_model"
    own = [a for a in metric.attributes if a not in {semconv.MODEL_NAME, semconv.MODEL_VERSION, semconv.MODEL_VARIANT}]
    return f"{'_'.join([level, *(a.name.removeprefix('ml.outcome.') for a in own)])}:{_stem(metric)}:{operation}"


@dataclass(frozen=True, slots=True)
class OutcomeSeries:
    """Names of the statistics of outcomes: the same whoever's outcomes they are of.

    Attributes:
        source: whose outcomes.
        window: they came in, or were expected in; empty for the reference.
    """

    source: OutcomeSource
    window: OutcomeWindow | Literal[""] = ""

    @property
    def key(self) -> str:
        """What the statistics are told apart by: deployments; versions in the reference."""
        return MODEL if self.source == "reference" else DEPLOYMENT

    def count(self, metric: semconv.Metric) -> str:
        """Return the count in the window."""
        return outcome_count(metric, f"increase{self.window}" if self.window else "max")

    def statistic(self, name: str) -> str:
        """Return a statistic, such as `auc`."""
        level = "ml_model" if self.source == "reference" else "ml_deployment"
        return f"{level}:ml_outcome_{name}:{self.source}{'_' if self.window else ''}{self.window}"


@dataclass(frozen=True, slots=True)
class OutcomeShare:
    """Names of the series recorded for the wrong ones among the outcomes of a version, which its objective limits.

    Attributes:
        source: whose outcomes; windows are empty for the reference.
    """

    source: OutcomeSource

    def rate(self, result: Literal["wrong", "judged"]) -> str:
        """Outcomes per second: wrong ones, or all that are right or wrong."""
        return f"ml_model:ml_outcome_{result}:{self.source}_rate5m"

    def number(self, result: Literal["wrong", "judged"], window: BurnWindow | Literal[""] = "") -> str:
        """Outcomes in the window."""
        return f"ml_model:ml_outcome_{result}:{self.source}{'_' if window else ''}{window}"

    def ratio(self, window: BurnWindow | Literal[""] = "") -> str:
        """Share of wrong ones in the window."""
        return f"ml_model:ml_outcome_wrong_ratio:{self.source}{'_' if window else ''}{window}"

    def effective(self, window: BurnWindow) -> str:
        """Independent outcomes that would tell as much as those of the window."""
        return f"ml_model:ml_outcome_effective:{self.source}_{window}"

    def surely(self, window: BurnWindow) -> str:
        """Share that chance alone does not fall short of: a lower bound of the share of wrong ones."""
        return f"ml_model:ml_outcome_wrong_ratio_low:{self.source}_{window}"


REALISED_SHARE: Final = OutcomeShare("realised")
EXPECTED_SHARE: Final = OutcomeShare("expected")
REFERENCE_SHARE: Final = OutcomeShare("reference")
EXPECTED_AGED_RATIO: Final = "ml_model:ml_outcome_wrong_ratio:expected_aged_7d"
WRONG_NOISE: Final = "ml_model:ml_outcome_wrong_ratio:noise_7d"
OUTCOME_ERROR: Final = "ml_model:ml_outcome_mean_absolute_error:realised_7d"
OUTCOME_ERROR_NOISE: Final = "ml_model:ml_outcome_mean_absolute_error:noise_7d"
EXPECTED_ERROR: Final = "ml_model:ml_outcome_mean_absolute_error:expected_7d"
EXPECTED_AGED_ERROR: Final = "ml_model:ml_outcome_mean_absolute_error:expected_aged_7d"
OUTCOME_DISPERSION: Final = "ml_model:ml_outcome_dispersion:max"

# Outcomes of a segment, by version and segment.
SEGMENT_WRONG: Final = "ml_model_segment:ml_outcome_wrong:realised_7d"
SEGMENT_JUDGED: Final = "ml_model_segment:ml_outcome_judged:realised_7d"
SEGMENT_EFFECTIVE: Final = "ml_model_segment:ml_outcome_effective:realised_7d"
SEGMENT_SURELY: Final = "ml_model_segment:ml_outcome_wrong_ratio_low:realised_7d"
SEGMENT_RATIO: Final = "ml_model_segment:ml_outcome_wrong_ratio:realised_7d"

# How long outcomes take, and of how many predictions they come, by version.
LAG_RATE: Final = f"ml_model_le:{_stem(semconv.OUTCOME_LAG)}_bucket:rate5m"
LAG_HOUR: Final = f"ml_model_le:{_stem(semconv.OUTCOME_LAG)}_bucket:increase1h"
LAG_MEDIAN: Final = f"ml_model:{_stem(semconv.OUTCOME_LAG)}:median7d"
LAG_P95: Final = f"ml_model:{_stem(semconv.OUTCOME_LAG)}:p95_7d"
DAY_OUTCOMES: Final = f"ml_model:{_stem(semconv.OUTCOME_COUNT)}:increase1d"
DAY_ROWS: Final = f"ml_model:{_stem(semconv.PREDICTION_ROWS)}:increase1d"
AGED_ROWS: Final = f"ml_model:{_stem(semconv.PREDICTION_ROWS)}:aged1d"
COVERAGE: Final = "ml_model:ml_outcome_coverage:ratio_1d"

_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration(span: timedelta) -> str:
    """Format a time span as PromQL writes it.

    Raises:
        ValueError: the span is shorter than a millisecond.

    Example:
        >>> from datetime import timedelta
        >>> duration(timedelta(hours=1) - timedelta(seconds=30))
        '59m30s'
        >>> duration(timedelta(seconds=59.5))
        '59s500ms'
    """
    rest = round(span.total_seconds() * 1000)
    if rest < 1:
        msg = f"{span!r} is shorter than the millisecond that PromQL can tell"
        raise ValueError(msg)
    text = ""
    for unit, milliseconds in _UNITS:
        number, rest = divmod(rest, milliseconds)
        if number:
            text += f"{number}{unit}"
    return text


def lines(*parts: str) -> str:
    """Join the lines of an expression."""
    return "\n".join(parts)


def nested(expr: str) -> str:
    """Put an expression between parentheses of its own lines, indented."""
    return lines("(", *(f"  {line}" for line in expr.splitlines()), ")")
