"""The conventions as documents: a reference page and an OpenTelemetry Weaver registry.

Both are made from `windvane.semconv`, where every name stands once. The registry's format is that of
Weaver's semantic-convention files (groups of attributes, metrics and events beside a
`registry_manifest.yaml`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from windvane import semconv

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["page", "registry"]

_STABILITY: Final = "development"

_REGISTRY_NAME: Final = "windvane/schemas"
"""Weaver identifies a registry by an address and takes no URN; without a scheme it is a mere name to it."""


def page() -> str:
    """Return the reference page in Markdown."""
    return "\n".join(
        [
            "# Conventions",
            "",
            "Every metric, attribute and event that windvane emits. Generated from `windvane.semconv` by",
            "`python -m windvane_dashboards.generate`: change the module, not this page. The same as an OpenTelemetry",
            "Weaver registry: [registry/](registry/).",
            "",
            f"Version {semconv.VERSION}, schema URL `{semconv.SCHEMA_URL}`, scope `{semconv.SCOPE_NAME}`.",
            "",
            "OpenTelemetry has no conventions for non-generative inference yet; the `ml.*` names are written as a",
            "candidate. In Prometheus dots become underscores, the unit is spelled out and counters end in `_total`;",
            "histograms have `_bucket`, `_count` and `_sum`. Temporality is cumulative.",
            "",
            "## Metrics",
            "",
            *_table(
                ("Metric", "Instrument", "Unit", "In Prometheus", "Attributes", "Meaning"),
                (
                    (
                        f"`{metric.name}`",
                        metric.instrument,
                        f"`{metric.unit}`" if metric.unit else "",
                        f"`{metric.prometheus_name}`",
                        ", ".join(f"`{attribute.name}`" for attribute in metric.attributes),
                        metric.description,
                    )
                    for metric in semconv.METRICS
                ),
            ),
            "",
            "## Attributes",
            "",
            *_table(
                ("Attribute", "Type", "Label in Prometheus", "Values", "Meaning"),
                (
                    (
                        f"`{attribute.name}`",
                        attribute.type,
                        f"`{attribute.label}`",
                        ", ".join(f"`{value}`" for value in attribute.values),
                        attribute.description,
                    )
                    for attribute in semconv.ATTRIBUTES
                ),
            ),
            "",
            "## Events",
            "",
            "OTLP log records with an event name.",
            "",
            *_table(
                ("Event", "Attributes", "Body", "Meaning"),
                (
                    (
                        f"`{event.name}`",
                        ", ".join(f"`{attribute.name}`" for attribute in event.attributes),
                        " ".join(f"`{field.name}`: {field.description}" for field in event.body),
                        event.description,
                    )
                    for event in semconv.EVENTS
                ),
            ),
            "",
        ]
    )


def registry() -> dict[str, str]:
    """Return the Weaver registry: YAML text by file name."""
    manifest = [
        "name: windvane",
        f"description: {_text('Observability of machine-learning models: inference without generation.')}",
        f"semconv_version: {semconv.VERSION}",
        f"schema_base_url: {_REGISTRY_NAME}",
    ]
    groups = [
        "groups:",
        "  - id: registry.windvane",
        "    type: attribute_group",
        f"    brief: {_text('Attributes of the signals of machine-learning models.')}",
        "    attributes:",
        *(line for attribute in semconv.ATTRIBUTES for line in _attribute(attribute)),
    ]
    metrics = ["groups:", *(line for metric in semconv.METRICS for line in _metric(metric))]
    events = ["groups:", *(line for event in semconv.EVENTS for line in _event(event))]
    header = "# Generated from windvane.semconv by `python -m windvane_dashboards.generate`.\n"
    return {
        name: header + "\n".join(content) + "\n"
        for name, content in (
            ("registry_manifest.yaml", manifest),
            ("attributes.yaml", groups),
            ("metrics.yaml", metrics),
            ("events.yaml", events),
        )
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), line(("---",) * len(head)), *(line(cells) for cells in rows)]


def _text(text: str) -> str:
    """Quote a YAML scalar; JSON's quoting is YAML's."""
    return json.dumps(text, ensure_ascii=False)


def _attribute(attribute: semconv.Attribute) -> list[str]:
    out = [f"      - id: {attribute.name}"]
    if attribute.values:
        out += ["        type:", "          members:"]
        for value in attribute.values:
            out += [
                f"            - id: {value}",
                f"              value: {_text(value)}",
                f"              stability: {_STABILITY}",
            ]
    else:
        out.append(f"        type: {attribute.type}")
    return [*out, f"        stability: {_STABILITY}", f"        brief: {_text(attribute.description)}"]


def _references(attributes: Iterable[semconv.Attribute]) -> list[str]:
    out = [f"      - ref: {attribute.name}" for attribute in attributes]
    return ["    attributes:", *out] if out else []


def _metric(metric: semconv.Metric) -> list[str]:
    return [
        f"  - id: metric.{metric.name}",
        "    type: metric",
        f"    metric_name: {metric.name}",
        f"    stability: {_STABILITY}",
        f"    brief: {_text(metric.description)}",
        f"    instrument: {metric.instrument}",
        f"    unit: {_text(metric.unit)}",
        *_references(metric.attributes),
    ]


def _event(event: semconv.Event) -> list[str]:
    return [
        f"  - id: event.{event.name}",
        "    type: event",
        f"    name: {event.name}",
        f"    stability: {_STABILITY}",
        f"    brief: {_text(event.description)}",
        *_references(event.attributes),
        *_body(event),
    ]


def _body(event: semconv.Event) -> list[str]:
    out = []
    for field in event.body:
        out += [
            f"        - id: {field.name}",
            f"          type: {field.type}",
            f"          stability: {_STABILITY}",
            f"          brief: {_text(field.description)}",
            "          requirement_level: opt_in",
        ]
    if not out:
        return []
    return [
        "    body:",
        f"      id: {event.name}.body",
        "      type: map",
        f"      stability: {_STABILITY}",
        f"      brief: {_text('What was asked and answered, as far as values are declared to leave.')}",
        "      requirement_level: opt_in",
        "      fields:",
        *out,
    ]
