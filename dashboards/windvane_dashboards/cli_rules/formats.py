"""The rules in the forms that Prometheus, Mimir and Kubernetes take; one source, the comments are kept."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMATS", "NAMESPACE"]

NAMESPACE: Final = "windvane"
"""Where the groups stand in Mimir, and the folder in Grafana."""

_GROUPS: Final = "groups:\n"


def _prometheus(files: Mapping[str, str]) -> dict[str, str]:
    """Rule files as they are; no group has more than the 20 rules that Mimir takes either."""
    return dict(files)


def _mimir(files: Mapping[str, str]) -> dict[str, str]:
    """One file, since mimirtool takes each namespace once."""
    parts = [text.partition(_GROUPS) for text in files.values()]
    heads, bodies = "".join(head for head, _, _ in parts), "".join(body for _, _, body in parts)
    return {"windvane-mimir.yml": f"{heads}namespace: {NAMESPACE}\n{_GROUPS}{bodies}"}


def _kubernetes(files: Mapping[str, str]) -> dict[str, str]:
    """A PrometheusRule object for each file."""
    objects = {}
    for name, text in files.items():
        head, _, body = text.partition(_GROUPS)
        objects[name] = (
            f"{head}apiVersion: monitoring.coreos.com/v1\n"
            "kind: PrometheusRule\n"
            "metadata:\n"
            f"  name: {name.removesuffix('.yml')}\n"
            "  labels:\n"
            "    app.kubernetes.io/name: windvane\n"
            f"spec:\n{textwrap.indent(_GROUPS + body, '  ')}"
        )
    return objects


FORMATS: Final[dict[str, Callable[[Mapping[str, str]], dict[str, str]]]] = {
    "prometheus": _prometheus,
    "mimir": _mimir,
    "kubernetes": _kubernetes,
}
"""Renderings by name: from the text of the generated files to that of the files in this form."""
