"""What is generated and committed is fresh, and well-formed where nothing else reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from windvane import semconv
from windvane_dashboards import conventions
from windvane_dashboards.generate import files, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(files()))
def test_the_committed_file_is_what_the_generator_writes(name: str) -> None:
    """Run `python -m windvane_dashboards.generate` where this fails."""
    assert (ROOT / name).read_text(encoding="utf-8") == files()[name]


@pytest.mark.parametrize("folder", ["dashboards/generated", "docs/registry"])
def test_nothing_else_stands_among_generated_files(folder: str) -> None:
    """A file that is no longer generated is removed."""
    present = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
    assert present == {name for name in files() if name.startswith(folder)}


def test_generating_writes_only_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names that it prints are the files that it wrote."""
    main(tmp_path)
    assert set(capsys.readouterr().out.split()) == set(files())
    (tmp_path / "docs" / "conventions.md").write_text("stale")
    main(tmp_path)
    assert capsys.readouterr().out.split() == ["docs/conventions.md"]
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} == set(files())


def _registry() -> dict[str, Any]:
    return {name: yaml.safe_load(text) for name, text in conventions.registry().items()}


def test_the_page_names_every_metric_attribute_and_event() -> None:
    """The reference is whole, with the names as they stand in Prometheus."""
    page = conventions.page()
    names = [item.name for item in (*semconv.METRICS, *semconv.ATTRIBUTES, *semconv.EVENTS)]
    names += [metric.prometheus_name for metric in semconv.METRICS] + [a.label for a in semconv.ATTRIBUTES]
    assert not [name for name in names if f"`{name}`" not in page]


def test_the_registry_defines_every_attribute_that_it_refers_to() -> None:
    """Weaver resolves each `ref` to an `id`; ids are unique."""
    registry = _registry()
    defined = [attribute["id"] for group in registry["attributes.yaml"]["groups"] for attribute in group["attributes"]]
    assert defined == [attribute.name for attribute in semconv.ATTRIBUTES]
    assert len(defined) == len(set(defined))
    signals = [*registry["metrics.yaml"]["groups"], *registry["events.yaml"]["groups"]]
    referred = {attribute["ref"] for group in signals for attribute in group.get("attributes", ())}
    assert referred <= set(defined)


def test_the_registry_has_the_fields_that_weaver_requires() -> None:
    """By kind of group: name, brief, stability, and for metrics instrument and unit."""
    registry = _registry()
    assert set(registry["registry_manifest.yaml"]) == {"name", "description", "semconv_version", "schema_base_url"}
    assert registry["registry_manifest.yaml"]["semconv_version"] == semconv.VERSION
    metrics, events = registry["metrics.yaml"]["groups"], registry["events.yaml"]["groups"]
    assert [group["metric_name"] for group in metrics] == [metric.name for metric in semconv.METRICS]
    assert [group["name"] for group in events] == [event.name for event in semconv.EVENTS]
    for group in metrics:
        assert group["id"] == f"metric.{group['metric_name']}"
        assert group["instrument"] in {"counter", "gauge", "histogram", "updowncounter"}
        assert isinstance(group["unit"], str)
    for group in (*metrics, *events):
        assert group["brief"].endswith(".")
        assert group["stability"] == "development"


def test_closed_sets_of_values_are_members_in_the_registry() -> None:
    """The values of an enumeration are the constants of the code."""
    attributes = {a["id"]: a for group in _registry()["attributes.yaml"]["groups"] for a in group["attributes"]}
    for attribute in semconv.ATTRIBUTES:
        kind = attributes[attribute.name]["type"]
        if attribute.values:
            assert tuple(member["value"] for member in kind["members"]) == attribute.values
        else:
            assert kind == attribute.type
