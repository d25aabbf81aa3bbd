"""The dashboards in the forms that Grafana and Kubernetes take."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["FORMATS"]


def _kubernetes(files: Mapping[str, str]) -> dict[str, str]:
    """A ConfigMap for each dashboard, with the label that the sidecar of Grafana's Helm chart looks for by default."""
    objects = {}
    for name, text in files.items():
        stem = name.removesuffix(".json")
        objects[f"{stem}.yaml"] = (
            "apiVersion: v1\n"
            "kind: ConfigMap\n"
            "metadata:\n"
            f"  name: {stem}\n"
            "  labels:\n"
            "    app.kubernetes.io/name: windvane\n"
            '    grafana_dashboard: "1"\n'
            "  annotations:\n"
            "    grafana_folder: windvane\n"
            "data:\n"
            f"  {name}: |\n{textwrap.indent(text, '    ')}"
        )
    return objects


FORMATS: Final[dict[str, Callable[[Mapping[str, str]], dict[str, str]]]] = {"grafana": dict, "kubernetes": _kubernetes}
"""Renderings by name: from the text of the dashboards by file name to that of the files in this form."""
