"""The names of everything windvane emits: metrics, attributes and events, each defined once.

Dashboards, rules and tests import this module; nothing else spells a name out. The names form the
`ml.*` namespace, written as a candidate for OpenTelemetry's semantic conventions for non-generative
inference. Prometheus names follow from the OpenTelemetry names by the rules of the OpenTelemetry
specification ("Prometheus and OpenMetrics Compatibility") and are never typed a second time.

Example:
    >>> PREDICTION_DURATION.prometheus_name
    'ml_prediction_duration_seconds'
    >>> MODEL_NAME.label
    'ml_model_name'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = [
    "ATTRIBUTES",
    "BIN_NULL",
    "BIN_OTHER",
    "EVENTS",
    "METRICS",
    "SCHEMA_URL",
    "SCOPE_NAME",
    "VERSION",
    "Attribute",
    "BodyField",
    "Event",
    "Instrument",
    "Metric",
]

VERSION: Final = "0.1.0"
"""Version of these conventions; it moves apart from the package's version."""

SCHEMA_URL: Final = f"urn:windvane:schemas:{VERSION}"
"""Schema URL that every scope carries."""

SCOPE_NAME: Final = "windvane"
"""Name of the instrumentation scope of every span, metric and log record."""

AttributeType = Literal["string", "int", "double", "boolean"]
Instrument = Literal["counter", "gauge", "histogram", "updowncounter"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of spans, data points or events.

    Attributes:
        name: the OpenTelemetry name.
        type: the value's type in OpenTelemetry's terms.
        description: what the value means.
        values: the closed set of values, where there is one.
    """

    name: str
    type: AttributeType
    description: str
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The Prometheus label: the name with dots as underscores."""
        return self.name.replace(".", "_")


_UNIT_SUFFIXES: Final = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric stream.

    Attributes:
        name: the OpenTelemetry name.
        instrument: the kind of instrument.
        unit: UCUM unit; braces mark an annotation, which Prometheus names leave out.
        description: what is measured.
        attributes: the attributes of its data points.
    """

    name: str
    instrument: Instrument
    unit: str
    description: str
    attributes: tuple[Attribute, ...]

    @property
    def prometheus_name(self) -> str:
        """The Prometheus name: dots as underscores, the unit's word, and `_total` on counters."""
        words = [self.name.replace(".", "_")]
        if self.unit and not self.unit.startswith("{"):
            words.append(_UNIT_SUFFIXES[self.unit])
        if self.instrument == "counter":
            words.append("total")
        return "_".join(words)


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of an event's body.

    Attributes:
        name: its key in the body.
        type: the value's type; `undefined` for a value of any type.
        description: what the value means.
    """

    name: str
    type: Literal["int", "map", "undefined"]
    description: str


@dataclass(frozen=True, slots=True)
class Event:
    """An OTLP log record with an event name.

    Attributes:
        name: its name.
        description: what it tells.
        attributes: its attributes.
        body: the fields of its body, where that is a map.
    """

    name: str
    description: str
    attributes: tuple[Attribute, ...]
    body: tuple[BodyField, ...] = ()


# --- Attributes -----------------------------------------------------------------------------------

MODEL_NAME: Final = Attribute("ml.model.name", "string", "Name of the model.")
MODEL_VERSION: Final = Attribute("ml.model.version", "string", "Version of the model.")
MODEL_VARIANT: Final = Attribute(
    "ml.model.variant", "string", "Role of this deployment of the version, such as canary, stable or shadow."
)
MODEL_FRAMEWORK: Final = Attribute(
    "ml.model.framework", "string", "Library that the model was made with, such as scikit-learn."
)
MODEL_REGISTRY_URI: Final = Attribute("ml.model.registry.uri", "string", "Where a model registry keeps the model.")
MODEL_COMMIT: Final = Attribute("ml.model.commit", "string", "Source revision that the model was built from.")
BASELINE_ID: Final = Attribute("ml.model.baseline.id", "string", "Identity of the baseline, made from its content.")

BASELINE_VERSION: Final = Attribute(
    "ml.model.baseline.version", "string", "Version of the model that the baseline was made for."
)

TEAM: Final = Attribute("team", "string", "Team that owns the model or the feature's source; alerts carry it.")
SEVERITY: Final = Attribute(
    "severity", "string", "Severity of this model's paging alerts; alerts that do not page carry `ticket`."
)
RUNBOOK_URL: Final = Attribute("runbook_url", "string", "The owner's runbook for this model.")

OBJECTIVE: Final = Attribute(
    "ml.objective",
    "string",
    "Which objective the target belongs to.",
    ("availability", "latency", "quality", "drift"),
)

FEATURE_NAME: Final = Attribute(
    "ml.feature.name",
    "string",
    "Name of the feature, the output, the derived feature or the column of event times; `output` for the output of a "
    "model without a baseline; `_OTHER` for all names together that the baseline does not know.",
)
FEATURE_ROLE: Final = Attribute(
    "ml.feature.role", "string", "What the feature is to the model.", ("input", "output", "derived")
)
FEATURE_BIN: Final = Attribute(
    "ml.feature.bin",
    "string",
    "Bin of the value: ordered numeric bins `00`, `01` ...; categories `c00`, `c01` ...; `null`; `other`. Without a "
    "baseline, bins by sign and 1-2-5 decade, whose names say what they hold: `00 up to -1000000` ... `29 0` ... "
    "`58 above 1000000`.",
)
FEATURE_BIN_RANGE: Final = Attribute(
    "ml.feature.bin.range", "string", "What the bin holds, for display: an interval or a category of the reference."
)
FEATURE_SOURCE: Final = Attribute("ml.feature.source", "string", "Table, feed or feature store the feature comes from.")
FEATURE_UNIT: Final = Attribute("ml.feature.unit", "string", "Unit of the feature's values (UCUM).")
VIOLATION_KIND: Final = Attribute(
    "ml.violation.kind",
    "string",
    "What is wrong with the value, or `unexpected` where the baseline does not know its name.",
    ("missing", "unexpected", "type", "range", "category"),
)
UNEXPECTED: Final = "unexpected"
"""The one kind of violation that no value of a known feature can have."""
VALUE_VIOLATIONS: Final = tuple(kind for kind in VIOLATION_KIND.values if kind != UNEXPECTED)
"""The kinds of violations that the values of a feature can have."""
UNEXPECTED_FEATURE: Final = "_OTHER"
"""The `ml.feature.name` of all values under unknown names together: such a name is text from outside."""
UNIVERSAL_OUTPUT: Final = "output"
"""The `ml.feature.name` of the output of a model without a baseline."""
DRIFT_METHOD: Final = Attribute(
    "ml.drift.method", "string", "Statistic the threshold is for.", ("psi", "js_divergence", "hellinger", "ks")
)

OUTCOME_RESULT: Final = Attribute(
    "ml.outcome.result",
    "string",
    "Whether the prediction was right: the class predicted, a number within the declared tolerance, the item among the "
    "ranked ones; `unjudged` where a number has no tolerance.",
    ("right", "wrong", "unjudged"),
)
OUTCOME_SEGMENT: Final = Attribute(
    "ml.outcome.segment",
    "string",
    "Bin of the feature that the model declares its segments by, as `ml.feature.bin`; absent without one.",
)
OUTCOME_PREDICTED: Final = Attribute("ml.outcome.predicted", "string", "Predicted class (capped).")
OUTCOME_ACTUAL: Final = Attribute("ml.outcome.actual", "string", "Actual class (capped).")
OUTCOME_NEGATIVE: Final = "0"
"""The class, predicted or actual, of a binary outcome that did not come true."""
OUTCOME_POSITIVE: Final = "1"
"""The class, predicted or actual, of a binary outcome that came true."""
OTHER_CLASS: Final = "_OTHER"
"""The class of all classes together that have none of their own: too many, or too long a name."""
OUTCOME_SCORE_BIN: Final = Attribute(
    "ml.outcome.score_bin",
    "string",
    "Bin of the predicted score: twenty of equal width, `00` up to 0.05 ... `19` from 0.95.",
)
OUTCOME_DIRECTION: Final = Attribute(
    "ml.outcome.direction", "string", "Whether the prediction lay over or under the actual number.", ("over", "under")
)
OUTCOME_RANK: Final = Attribute(
    "ml.outcome.rank",
    "string",
    "Place of the best relevant item among those predicted, from `1`; `none` where it is not among them.",
)
OUTCOME_REFUSAL: Final = Attribute(
    "windvane.outcome.refusal",
    "string",
    "Why an outcome or feedback was not counted: no token, a signature that no key makes, too old, predicted in the "
    "future, of another model, an actual or kind that cannot be, or an actual that came before under another value.",
    ("malformed", "signature", "expired", "future", "model", "actual", "corrected"),
)
FEEDBACK_KIND: Final = Attribute("ml.feedback.kind", "string", "Kind of feedback, such as accepted or overridden.")
PROBE_NAME: Final = Attribute("ml.probe.name", "string", "Name of the probe: of the known case that is asked.")
PROBE_RESULT: Final = Attribute(
    "ml.probe.result",
    "string",
    "Whether the answer to the known case was as expected, or not, or there was none to judge.",
    ("passed", "failed", "error"),
)
PROBE_MARK: Final = "windvane.probe.mark"
"""Name of the entry of OpenTelemetry's baggage that tells the calls of probes from traffic."""

PREDICTION_ID: Final = Attribute(
    "ml.prediction.id", "string", "Identity of the prediction: `<trace_id>-<span_id>` in lower-case hex."
)
PREDICTION_ROW_COUNT: Final = Attribute("ml.prediction.row_count", "int", "Rows in this call.")
ERROR_TYPE: Final = Attribute(
    "error.type",
    "string",
    "Qualified class name of the exception that ended the call; `cancelled` where its reader or task went away; "
    "absent on success.",
)
CANCELLED: Final = "cancelled"
"""The `error.type` of calls that nobody waited for any more: no failure of the model."""
PREDICTION_SECONDS: Final = Attribute("ml.prediction.duration", "double", "Duration of the call in seconds.")
EXCEPTION_TYPE: Final = Attribute("exception.type", "string", "As `error.type`, on the span's `exception` event.")
EXCEPTION_MESSAGE: Final = Attribute(
    "exception.message", "string", "Message of the exception that ended the call; only where the model declares it."
)
EXCEPTION_STACKTRACE: Final = Attribute(
    "exception.stacktrace", "string", "Where it was raised; only where the model declares it, on the span's event."
)
PROFILE_WINDOW_START: Final = Attribute(
    "ml.profile.window.start", "int", "Begin of the window in seconds since 1970; a multiple of its duration."
)
PROFILE_WINDOW_DURATION: Final = Attribute("ml.profile.window.duration", "int", "Duration of the window in seconds.")
PROFILE_ID: Final = Attribute(
    "ml.profile.id", "string", "Identity of the profile that one process closed: 32 random hexadecimal digits."
)
PROFILE_CHUNK_INDEX: Final = Attribute(
    "ml.profile.chunk.index",
    "int",
    "Which chunk of the profile this is, from 0; with the profile's id its name.",
)
PROFILE_CHUNK_COUNT: Final = Attribute("ml.profile.chunk.count", "int", "Chunks that the profile was cut into.")
PROFILE_CHUNK_CHECKSUM: Final = Attribute(
    "ml.profile.chunk.checksum", "string", "SHA-256 of the body in hexadecimal digits."
)
EXCEPTION_SPAN_EVENT: Final = "exception"
"""Name of OpenTelemetry's own span event for an exception."""
EVENT_NAME: Final = Attribute("event.name", "string", "Name of the event, for back ends that drop the field.")

DROP_REASON: Final = Attribute(
    "windvane.drop.reason",
    "string",
    "Why records were dropped.",
    (
        "queue_full",
        "capture_failed",
        "processing_failed",
        "unsupported_input",
        "unsupported_output",
        "event_failed",
        "profile_failed",
        "profile_dropped",
        "key_dropped",
        "internal_error",
    ),
)

PROCESS_RESULT: Final = Attribute(
    "windvane.process.result",
    "string",
    "What became of a log record: stored, of another kind, or why it was refused.",
    (
        "stored",
        "other_event",
        "attributes",
        "checksum",
        "profile",
        "window",
    ),
)
HTTP_STATUS: Final = Attribute("http.response.status_code", "int", "Status code of the HTTP answer.")

_MODEL = (MODEL_NAME, MODEL_VERSION)
_DEPLOYMENT = (*_MODEL, MODEL_VARIANT)
_FEATURE = (*_MODEL, FEATURE_NAME)
_BIN = (*_FEATURE, FEATURE_ROLE, FEATURE_BIN)

# --- Metrics --------------------------------------------------------------------------------------

PREDICTION_DURATION: Final = Metric(
    "ml.prediction.duration",
    "histogram",
    "s",
    "Duration of a prediction call.",
    (*_MODEL, MODEL_VARIANT, ERROR_TYPE),
)
PREDICTION_ROWS: Final = Metric(
    "ml.prediction.rows", "counter", "{row}", "Rows passed to the model.", (*_MODEL, MODEL_VARIANT)
)
PREDICTION_ACTIVE: Final = Metric(
    "ml.prediction.active", "updowncounter", "{prediction}", "Prediction calls under way.", _MODEL
)

FEATURE_OBSERVATIONS: Final = Metric(
    "ml.feature.observations", "counter", "{observation}", "Values of a feature seen in each bin.", _BIN
)
FEATURE_REFERENCE_OBSERVATIONS: Final = Metric(
    "ml.feature.reference.observations",
    "gauge",
    "{observation}",
    "Values of the feature in each bin of the reference.",
    (*_BIN, FEATURE_BIN_RANGE),
)
FEATURE_REFERENCE_DISPERSION: Final = Metric(
    "ml.feature.reference.dispersion",
    "gauge",
    "",
    "How many times more the reference's own blocks differ than independent rows would (at least 1).",
    _FEATURE,
)
FEATURE_REFERENCE_VIOLATIONS: Final = Metric(
    "ml.feature.reference.violations",
    "gauge",
    "{violation}",
    "Violations of each kind among the reference's own rows.",
    (*_FEATURE, VIOLATION_KIND),
)
FEATURE_IMPORTANCE: Final = Metric(
    "ml.feature.importance",
    "gauge",
    "",
    "Share of the model's decisions that rests on the feature; all features or none, summing to 1.",
    _FEATURE,
)
FEATURE_DRIFT_THRESHOLD: Final = Metric(
    "ml.feature.drift.threshold",
    "gauge",
    "",
    "Drift of this feature from which it is called large.",
    (*_FEATURE, DRIFT_METHOD),
)
MODEL_DRIFT_THRESHOLD: Final = Metric(
    "ml.model.drift.threshold",
    "gauge",
    "",
    "Drift from which any feature of the model is called large.",
    (*_MODEL, DRIFT_METHOD),
)
FEATURE_VIOLATIONS: Final = Metric(
    "ml.feature.violations",
    "counter",
    "{violation}",
    "Values that the baseline does not allow.",
    (*_FEATURE, VIOLATION_KIND),
)
FEATURE_AGE: Final = Metric(
    "ml.feature.age",
    "histogram",
    "s",
    "Time from the feature's event to the start of the call; an event up to a day after it has the age 0.",
    _FEATURE,
)
FEATURE_INFO: Final = Metric(
    "ml.feature.info",
    "gauge",
    "",
    "Where a feature comes from and who owns that source; always 1.",
    (*_FEATURE, FEATURE_SOURCE, FEATURE_UNIT, TEAM),
)

MODEL_INFO: Final = Metric(
    "ml.model.info",
    "gauge",
    "",
    "Who owns the model and what it is; always 1.",
    (*_MODEL, TEAM, SEVERITY, RUNBOOK_URL, BASELINE_ID, MODEL_FRAMEWORK, MODEL_REGISTRY_URI, MODEL_COMMIT),
)
MODEL_OBJECTIVE: Final = Metric(
    "ml.model.objective", "gauge", "", "Target share of good events, between 0 and 1.", (*_MODEL, OBJECTIVE)
)
MODEL_LATENCY_OBJECTIVE: Final = Metric(
    "ml.model.latency.objective",
    "gauge",
    "s",
    "Duration within which a call is good; a bucket bound of the duration histogram.",
    _MODEL,
)
BASELINE_TIMESTAMP: Final = Metric(
    "ml.model.baseline.timestamp",
    "gauge",
    "s",
    "When the baseline was made, in seconds since 1970.",
    (*_MODEL, BASELINE_VERSION),
)
BASELINE_AGE_OBJECTIVE: Final = Metric(
    "ml.model.baseline.age.objective", "gauge", "s", "Age of the baseline from which it counts as old.", _MODEL
)

# Outcomes are counted three times over, by the same rules: as they came true, as the calibration of the baseline
# expects them of each prediction, and as they were in the reference.

OUTCOME_COUNT: Final = Metric(
    "ml.outcome.count",
    "counter",
    "{outcome}",
    "Outcomes reported, by whether the prediction was right.",
    (*_DEPLOYMENT, OUTCOME_RESULT, OUTCOME_SEGMENT),
)
OUTCOME_SEGMENT_INFO: Final = Metric(
    "ml.outcome.segment.info",
    "gauge",
    "",
    "What a segment holds; always 1.",
    (*_MODEL, OUTCOME_SEGMENT, FEATURE_NAME, FEATURE_BIN_RANGE),
)
OUTCOME_CLASSIFIED: Final = Metric(
    "ml.outcome.classified",
    "counter",
    "{outcome}",
    "Outcomes by predicted and actual class.",
    (*_DEPLOYMENT, OUTCOME_PREDICTED, OUTCOME_ACTUAL),
)
OUTCOME_SCORED: Final = Metric(
    "ml.outcome.scored",
    "counter",
    "{outcome}",
    "Outcomes of scores by score bin and actual class.",
    (*_DEPLOYMENT, OUTCOME_SCORE_BIN, OUTCOME_ACTUAL),
)
OUTCOME_SCORE: Final = Metric(
    "ml.outcome.score",
    "counter",
    "",
    "Sum of the scores that have an outcome, by score bin.",
    (*_DEPLOYMENT, OUTCOME_SCORE_BIN),
)
OUTCOME_LOG_LOSS: Final = Metric(
    "ml.outcome.log_loss",
    "counter",
    "",
    "Sum of the log loss of scores that have an outcome, in nats.",
    _DEPLOYMENT,
)
OUTCOME_ABSOLUTE_ERROR: Final = Metric(
    "ml.outcome.absolute_error",
    "counter",
    "",
    "Sum of the absolute errors of numbers predicted, in the target's unit.",
    (*_DEPLOYMENT, OUTCOME_DIRECTION),
)
OUTCOME_SQUARED_ERROR: Final = Metric(
    "ml.outcome.squared_error",
    "counter",
    "",
    "Sum of squared errors: of numbers predicted, in the target's unit squared, or of scores.",
    _DEPLOYMENT,
)
OUTCOME_RANKED: Final = Metric(
    "ml.outcome.ranked",
    "counter",
    "{outcome}",
    "Outcomes of rankings by the place of the best relevant item.",
    (*_DEPLOYMENT, OUTCOME_RANK),
)
OUTCOME_LAG: Final = Metric(
    "ml.outcome.lag",
    "histogram",
    "s",
    "Time from a prediction to its outcome.",
    _DEPLOYMENT,
)
OUTCOME_EXPECTED_COUNT: Final = Metric(
    "ml.outcome.expected_count",
    "counter",
    "{outcome}",
    "Outcomes that the calibration expects of the predictions made, by result, in fractions.",
    (*_DEPLOYMENT, OUTCOME_RESULT),
)
OUTCOME_EXPECTED: Final = Metric(
    "ml.outcome.expected",
    "counter",
    "{outcome}",
    "Outcomes that the calibration expects by predicted and actual class, in fractions.",
    (*_DEPLOYMENT, OUTCOME_PREDICTED, OUTCOME_ACTUAL),
)
OUTCOME_EXPECTED_SCORED: Final = Metric(
    "ml.outcome.expected_scored",
    "counter",
    "{outcome}",
    "Outcomes that the calibration expects by score bin and actual class, in fractions.",
    (*_DEPLOYMENT, OUTCOME_SCORE_BIN, OUTCOME_ACTUAL),
)
OUTCOME_EXPECTED_ABSOLUTE_ERROR: Final = Metric(
    "ml.outcome.expected_absolute_error",
    "counter",
    "",
    "Sum of the absolute errors that the calibration expects of numbers predicted, in the target's unit.",
    _DEPLOYMENT,
)
OUTCOME_REFERENCE_COUNT: Final = Metric(
    "ml.outcome.reference_count",
    "gauge",
    "{outcome}",
    "Outcomes of the reference by result.",
    (*_MODEL, OUTCOME_RESULT),
)
OUTCOME_REFERENCE: Final = Metric(
    "ml.outcome.reference",
    "gauge",
    "{outcome}",
    "Outcomes of the reference by predicted and actual class.",
    (*_MODEL, OUTCOME_PREDICTED, OUTCOME_ACTUAL),
)
OUTCOME_REFERENCE_SCORED: Final = Metric(
    "ml.outcome.reference_scored",
    "gauge",
    "{outcome}",
    "Outcomes of the reference by score bin and actual class.",
    (*_MODEL, OUTCOME_SCORE_BIN, OUTCOME_ACTUAL),
)
OUTCOME_REFERENCE_ABSOLUTE_ERROR: Final = Metric(
    "ml.outcome.reference_absolute_error",
    "gauge",
    "",
    "Sum of the absolute errors in the reference, in the target's unit.",
    _MODEL,
)
OUTCOME_SCALE: Final = Metric(
    "ml.outcome.scale",
    "gauge",
    "",
    "Standard deviation of the actual numbers in the reference, in the target's unit: what errors are held against.",
    _MODEL,
)
FEEDBACK_RECEIVED: Final = Metric(
    "ml.feedback.received",
    "counter",
    "{feedback}",
    "Feedback received on predictions.",
    (*_DEPLOYMENT, FEEDBACK_KIND),
)
# A probe asks whichever version answers, unless it names one.
PROBE_RUNS: Final = Metric(
    "ml.probe.runs", "counter", "{run}", "Runs of known cases, by result.", (*_MODEL, PROBE_NAME, PROBE_RESULT)
)
PROBE_DURATION: Final = Metric(
    "ml.probe.duration", "histogram", "s", "Duration of the runs of known cases.", (*_MODEL, PROBE_NAME)
)

QUEUE_SIZE: Final = Metric(
    "windvane.queue.size", "gauge", "{row}", "Rows that wait for the worker in this process.", ()
)
RECORDS_DROPPED: Final = Metric(
    "windvane.records.dropped",
    "counter",
    "{record}",
    "Records of calls that windvane could not account for in full.",
    (*_MODEL, DROP_REASON),
)
FEATURES_LEFT_OUT: Final = Metric(
    "windvane.features.left_out",
    "gauge",
    "{feature}",
    "Features of the baseline that are not exported, since the model's series would exceed the limit.",
    _MODEL,
)
WORKER_LAG: Final = Metric(
    "windvane.worker.lag", "gauge", "s", "Age of the oldest record in the last batch when the worker took it.", ()
)
EXPORTS: Final = Metric("windvane.exports", "counter", "{export}", "Exports of distributions tried.", (ERROR_TYPE,))
OUTCOMES_REFUSED: Final = Metric(
    "windvane.outcomes.refused",
    "counter",
    "{outcome}",
    "Outcomes and feedback that this process was given and did not count.",
    (OUTCOME_REFUSAL,),
)
OUTCOME_EVENTS_DROPPED: Final = Metric(
    "windvane.outcome.events.dropped",
    "counter",
    "{event}",
    "Events of outcomes and feedback on sampled traces that were not sent: too many a second, or a failure.",
    (),
)
PROFILE_EXPORTS: Final = Metric(
    "windvane.profile.exports", "counter", "{export}", "Exports of chunks of profiles tried.", (ERROR_TYPE,)
)
PROFILE_QUEUE_SIZE: Final = Metric(
    "windvane.profile.queue.size", "gauge", "By", "Bytes of profiles that wait to be exported in this process.", ()
)

PROCESS_CHUNKS: Final = Metric(
    "windvane.process.chunks",
    "counter",
    "{chunk}",
    "Log records that the profile service has judged.",
    (PROCESS_RESULT,),
)
PROCESS_REQUESTS: Final = Metric(
    "windvane.process.requests",
    "counter",
    "{request}",
    "Requests to `windvane process` by the status of the answer.",
    (HTTP_STATUS,),
)
PROCESS_COMPACTIONS: Final = Metric(
    "windvane.process.compactions",
    "counter",
    "{compaction}",
    "Rounds of merging and removing in the store of profiles.",
    (ERROR_TYPE,),
)
PROCESS_OUTCOMES_WAITING: Final = Metric(
    "windvane.process.outcomes.waiting",
    "gauge",
    "{outcome}",
    "Outcomes in the store that wait for corrections, or for the prediction that their key names.",
    (),
)
PROCESS_STORE_SIZE: Final = Metric(
    "windvane.process.store.size", "gauge", "By", "Bytes that the store of outcomes takes.", ()
)

# --- Events ---------------------------------------------------------------------------------------

PROFILE_EVENT: Final = Event(
    "ml.profile",
    "Some columns of what one process saw in one window. The body is bytes: a whole profile of these columns in the "
    "format of whylogs, of 128 KiB at most.",
    (
        EVENT_NAME,
        *_MODEL,
        PROFILE_WINDOW_START,
        PROFILE_WINDOW_DURATION,
        PROFILE_ID,
        PROFILE_CHUNK_INDEX,
        PROFILE_CHUNK_COUNT,
        PROFILE_CHUNK_CHECKSUM,
    ),
)
EVENT_ROW: Final = BodyField("row", "int", "Position of the row in the call, from 0.")
EVENT_FEATURES: Final = BodyField(
    "features", "map", "Values, or digests, of the declared features by name; null where a value is missing."
)
EVENT_OUTPUT: Final = BodyField("output", "undefined", "What the model answered, or its digest, where declared.")
EVENT_TRUNCATED: Final = BodyField(
    "truncated", "int", "How many of the values were cut or left out; absent where all are whole."
)
PREDICTION_EVENT: Final = Event(
    "ml.prediction",
    "A sampled prediction, one event for each row. Without declared values it has no body, and one event is for the "
    "whole call.",
    (
        EVENT_NAME,
        *_MODEL,
        MODEL_VARIANT,
        PREDICTION_ID,
        PREDICTION_SECONDS,
        PREDICTION_ROW_COUNT,
        ERROR_TYPE,
        EXCEPTION_MESSAGE,
    ),
    (EVENT_ROW, EVENT_FEATURES, EVENT_OUTPUT, EVENT_TRUNCATED),
)
OUTCOME_EVENT: Final = Event(
    "ml.outcome",
    "What became of a prediction, in the trace of its call. No value is in it.",
    (EVENT_NAME, *_DEPLOYMENT, PREDICTION_ID, OUTCOME_RESULT),
)
FEEDBACK_EVENT: Final = Event(
    "ml.feedback",
    "Feedback on a prediction, in the trace of its call.",
    (EVENT_NAME, *_DEPLOYMENT, PREDICTION_ID, FEEDBACK_KIND),
)

# --- Bins -----------------------------------------------------------------------------------------

BIN_NULL: Final = "null"
"""Bin of values that are absent, None or NaN."""

BIN_OTHER: Final = "other"
"""Bin of infinite values, of categories without a bin of their own and of values of another type."""

ATTRIBUTES: Final[tuple[Attribute, ...]] = tuple(v for v in list(globals().values()) if isinstance(v, Attribute))
METRICS: Final[tuple[Metric, ...]] = tuple(v for v in list(globals().values()) if isinstance(v, Metric))
EVENTS: Final[tuple[Event, ...]] = tuple(v for v in list(globals().values()) if isinstance(v, Event))
