"""Writes every generated file of the source tree: `python -m windvane_dashboards.generate`."""

from __future__ import annotations

import sys
from pathlib import Path

from windvane_dashboards import boards, conventions, rules

__all__ = ["files", "main"]

_ROOT = Path(__file__).parents[2]


def files() -> dict[str, str]:
    """Return the text of every generated file by its path in the source tree; the same bytes every time."""
    parts = {
        "dashboards/generated/rules": rules.render(),
        "dashboards/generated/dashboards": boards.render(),
        "docs": {"conventions.md": conventions.page()},
        "docs/registry": conventions.registry(),
    }
    return {f"{folder}/{name}": text for folder, content in parts.items() for name, text in content.items()}


def main(root: Path = _ROOT) -> None:
    """Write the files below the root of the source tree, and name those that changed."""
    for name, text in files().items():
        path = root / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    if not (_ROOT / "pyproject.toml").is_file():
        sys.exit("generate: only a source tree holds generated files; `windvane rules render -o DIR` writes anywhere")
    main()
