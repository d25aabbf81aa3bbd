"""Where the shipped configurations and generated files are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from windvane.errors import StackError

__all__ = ["collector_config", "generated"]


def collector_config() -> Path:
    """Return the folder of the shipped Collector, Prometheus and Alertmanager configurations."""
    return _folder("windvane_processors", "collector-config", "collector-config")


def generated() -> Path:
    """Return the folder of the generated rules and dashboards."""
    return _folder("windvane_dashboards", "generated", "dashboards/generated")


def _folder(package: str, packaged: str, in_checkout: str) -> Path:
    """A wheel carries the folder inside the package; in a checkout it stands at the top."""
    root = Path(str(files(package)))
    for folder in (root / packaged, root.parents[1] / in_checkout):
        if folder.is_dir():
            return folder
    msg = f"{in_checkout} is missing from this installation; install windvane anew"
    raise StackError(msg)
