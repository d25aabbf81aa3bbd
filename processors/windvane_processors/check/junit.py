"""Writes a report as JUnit XML, which CI systems show test by test."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from windvane_processors.check.report import FeatureReport, Finding, Report

__all__ = ["junit_xml"]


def junit_xml(report: Report, *, seconds: float, timestamp: str) -> bytes:
    """Return a report as JUnit XML: one suite, one test case for each feature and unexpected column.

    Args:
        report: the report.
        seconds: how long the check took.
        timestamp: when it began, ISO 8601 without a time zone, UTC.
    """
    baseline = report.baseline
    name = f"windvane check {baseline.model_name} {baseline.model_version}"
    failures = sum(feature.failed for feature in report.features)
    failures += sum(finding.fails for finding in report.unexpected_columns.values())
    numbers = {
        "tests": str(len(report.features) + len(report.unexpected_columns)),
        "failures": str(failures),
        "errors": "0",
    }
    time = f"{seconds:.3f}"
    suites = ET.Element("testsuites", {"name": name, **numbers, "time": time})
    suite = ET.SubElement(
        suites,
        "testsuite",
        {"name": name, **numbers, "skipped": "0", "time": time, "timestamp": timestamp, "hostname": "localhost"},
    )
    properties = ET.SubElement(suite, "properties")
    for key, value in (("baseline", baseline.id), ("rows", report.rows), ("fail_on", ", ".join(report.fail_on))):
        ET.SubElement(properties, "property", {"name": key, "value": str(value)})
    group = f"windvane.{baseline.model_name}"
    for feature in report.features:
        case = _case(suite, group, feature.name, feature.findings)
        ET.SubElement(case, "system-out").text = _summary(feature)
    for column, finding in report.unexpected_columns.items():
        _case(suite, f"{group}.unexpected", column, (finding,))
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ET.Element, group: str, name: str, findings: tuple[Finding, ...]) -> ET.Element:
    case = ET.SubElement(suite, "testcase", {"classname": group, "name": _escaped(name), "time": "0"})
    failing = [finding for finding in findings if finding.fails]
    if failing:
        # Some CI systems read only the first failure of a test case.
        message = "; ".join(_escaped(finding.message) for finding in failing)
        failure = ET.SubElement(case, "failure", {"type": failing[0].kind, "message": message})
        failure.text = message
    return case


def _summary(feature: FeatureReport) -> str:
    lines = [
        f"PSI {feature.psi:.4g}, noise floor {feature.noise_floor:.4g}, Hellinger {feature.hellinger:.4g}",
        f"{feature.observations:,} values, {feature.missing_share:.2%} missing",
    ]
    lines += [_escaped(finding.message) for finding in feature.findings if not finding.fails]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Write characters that XML cannot carry, not even as references, as Python would."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
