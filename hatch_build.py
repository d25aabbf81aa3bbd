"""Puts the page of the preview into what is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface[Any]):
    """The page is built by `make preview`, not here: an installation from source needs no Node."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Include the page; an editable installation finds it where it was built."""
        if version == "editable":
            return
        page = "dashboards/preview/dist"
        if (Path(self.root) / page / "index.html").is_file():
            build_data["force_include"][page] = "windvane_dashboards/page" if self.target_name == "wheel" else page
        else:
            self.app.display_warning("without the page of the preview, which `make preview` builds")
