"""Rule groups as plain data: read from every form they are kept in, compared, and shown as differences."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import yaml

try:  # libyaml reads a rule file in a hundredth of a second; without it that takes ten times as long
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML was built without it
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

from windvane_dashboards.server import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "GROUP_PREFIX",
    "Finding",
    "Group",
    "Rule",
    "SafeLoader",
    "checked_groups",
    "compare",
    "difference",
    "is_ours",
    "name_of",
    "parse_groups",
    "reasons",
    "seconds",
    "to_yaml",
]

Rule: TypeAlias = dict[str, Any]
Group: TypeAlias = dict[str, Any]

GROUP_PREFIX: Final = "windvane-"
"""How the name of every generated group begins."""

_RECORDED_PREFIX: Final = "ml_"
_RUNBOOK_ANNOTATION: Final = "windvane_runbook_url"
_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_DURATION: Final = re.compile(r"(\d+)(ms|[smhdwy])")


def seconds(duration: object) -> float:
    """Read a duration as Prometheus writes it; None is 0.

    Raises:
        CommandError: it is none.

    Example:
        >>> seconds("59m30s")
        3570.0
    """
    text = "0s" if duration in {None, 0, "0"} else str(duration)
    if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        msg = f"{text!r} is no duration like 5m or 1h30m"
        raise CommandError(msg)
    return float(sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text)))


def parse_groups(text: str, source: str) -> list[Group]:
    """Read rule groups from YAML: a rule file of Prometheus or Mimir, PrometheusRule objects, or several of these.

    Raises:
        CommandError: it is no YAML, or holds no rule groups.
    """
    try:
        documents = [document for document in yaml.load_all(text, SafeLoader) if document is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        msg = f"{source}{where} is no YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        raise CommandError(msg) from error
    return [group for document in documents for group in checked_groups(document, source)]


def checked_groups(document: object, source: str) -> list[Group]:
    """Return the groups of a document: a rule file, or a PrometheusRule object.

    Raises:
        CommandError: it holds no rule groups, or rules that are none.
    """
    holder = document.get("spec", document) if isinstance(document, dict) else None
    groups = holder.get("groups") if isinstance(holder, dict) else None
    if not isinstance(groups, list):
        msg = f"{source} is no rule file: it needs `groups:`, or a PrometheusRule with `spec.groups:`"
        raise CommandError(msg)
    for group in groups:
        _check(group, source)
    return groups


def _check(group: object, source: str) -> None:
    if not isinstance(group, dict) or not isinstance(group.get("name"), str):
        msg = f"{source} holds a group without a name"
        raise CommandError(msg)
    for rule in group.get("rules") or []:
        if not isinstance(rule, dict) or not isinstance(rule.get("expr"), str | int | float) or not _names(rule):
            msg = f"{source}, group {group['name']}: every rule needs `expr` and either `record` or `alert`"
            raise CommandError(msg)


def _names(rule: Rule) -> list[str]:
    return [name for key in ("alert", "record") if isinstance(name := rule.get(key), str)]


def name_of(rule: Rule) -> str:
    """Return what a rule records or what its alert is called."""
    return _names(rule)[0]


def is_ours(group: Group) -> bool:
    """Tell whether windvane made a group, in any version: by its name and by what each rule carries."""
    rules = group.get("rules") or []
    return (
        group["name"].startswith(GROUP_PREFIX)
        and bool(rules)
        and all(
            rule["record"].startswith(_RECORDED_PREFIX)
            if "record" in rule
            else _RUNBOOK_ANNOTATION in (rule.get("annotations") or {})
            for rule in rules
        )
    )


def reasons(text: str) -> list[tuple[str, str]]:
    """Return each alerting rule of a generated file, in order, with why it is there: the comment above it."""
    found: list[tuple[str, str]] = []
    comment = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("# "):
            comment += line[2:] if comment.endswith("-") else f" {line[2:]}"
            continue
        if line.startswith("- alert: "):
            found.append((line.removeprefix("- alert: "), comment.strip()))
        comment = ""
    return found


# --- Comparing ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference between what is deployed and what is generated.

    Attributes:
        status: `missing` (generated, not deployed), `changed`, `foreign` (deployed, not generated) or `failing`.
        group: name of the group.
        rule: name of the rule; empty for the whole group.
        detail: a unified diff, or what is wrong.
    """

    status: str
    group: str
    rule: str
    detail: str


def compare(expected: Iterable[Group], found: Iterable[Group], *, everything: bool) -> list[Finding]:
    """Compare deployed groups with generated ones, rule by rule; comments and layout of a file do not matter.

    Args:
        expected: what is generated.
        found: what is deployed.
        everything: whether a group of another name is foreign as such, as in files that are windvane's own. On a
            server, where others have rules too, only what is called as ours is.
    """
    expected = list(expected)
    generated = {name_of(rule) for group in expected for rule in group["rules"]}
    left = {group["name"]: group for group in expected}
    findings = []
    for group in found:
        name = group["name"]
        if name in left:
            findings += _compare_groups(left.pop(name), group)
            continue
        again = "a second time" if any(name == other["name"] for other in expected) else ""
        for rule in group.get("rules") or []:
            if everything or name.startswith(GROUP_PREFIX) or name_of(rule) in generated:
                findings.append(Finding("foreign", name, name_of(rule), again))
    findings += [Finding("missing", name, "", f"{len(group['rules'])} rules") for name, group in left.items()]
    return findings


def _compare_groups(expected: Group, found: Group) -> list[Finding]:
    name = expected["name"]
    findings = []
    if detail := difference(_frame(expected), _frame(found)):
        findings.append(Finding("changed", name, "", detail))
    there, here = _by_key(found), _by_key(expected)
    for key, rule in here.items():
        if key not in there:
            findings.append(Finding("missing", name, key[0], ""))
        elif detail := difference(_shown(rule), _shown(there[key])):
            findings.append(Finding("changed", name, key[0], detail))
    findings += [Finding("foreign", name, key[0], "") for key in there if key not in here]
    order = [key for key in there if key in here]
    if order != [key for key in here if key in there]:
        findings.append(Finding("changed", name, "", "the rules stand in another order, and each reads those above it"))
    return findings


def _by_key(group: Group) -> dict[tuple[str, int], Rule]:
    """Key rules by name and by how often the name stood above: an alert may have several rules."""
    keyed: dict[tuple[str, int], Rule] = {}
    for rule in group.get("rules") or []:
        count = 0
        while (name_of(rule), count) in keyed:
            count += 1
        keyed[name_of(rule), count] = rule
    return keyed


def difference(expected: str, found: str) -> str:
    """Return a unified diff from what is generated to what is deployed; empty where they are equal."""
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "generated", "deployed", lineterm="", n=1)
    return "\n".join(lines)


def _frame(group: Group) -> str:
    """Write what a group says besides its rules."""
    rest = {key: value for key, value in group.items() if key not in {"name", "interval", "rules"} and value}
    return _dump({"interval": f"{seconds(group.get('interval')):g}s", **rest})


def _shown(rule: Rule) -> str:
    """Write a rule in one form, whatever form it was read in."""
    kind = "alert" if "alert" in rule else "record"
    spans = {key: f"{span:g}s" for key in ("for", "keep_firing_for") if (span := seconds(rule.get(key)))}
    maps = {key: _sorted(rule[key]) for key in ("labels", "annotations") if rule.get(key)}
    known = {"alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations"}
    rest = {key: value for key, value in rule.items() if key not in known}
    return _dump({kind: name_of(rule), "expr": str(rule["expr"]).strip(), **spans, **maps, **rest})


def _sorted(texts: Mapping[str, object]) -> dict[str, str]:
    return {str(name): str(text).strip() for name, text in sorted(texts.items())}


class _Dumper(SafeDumper):
    """Writes several lines as such, so that a diff shows the line that differs."""


def _text(dumper: SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(value: Mapping[str, object] | Sequence[object]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def to_yaml(group: Group) -> bytes:
    """Write a group as the APIs take it, or a file of groups."""
    return _dump(group).encode()
