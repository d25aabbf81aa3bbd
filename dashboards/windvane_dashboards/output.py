"""Writes generated files, or prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["deliver"]


def deliver(files: Mapping[str, str], directory: Path | None, *, separator: str = "") -> None:
    """Write each file into the directory and name it, or print all of them.

    Args:
        files: text by file name.
        directory: made if need be; None prints.
        separator: line between two printed files.
    """
    if directory is None:
        click.echo(f"{separator}\n".join(files.values()), nl=False)
        return
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = directory / name
        path.write_text(text, encoding="utf-8")
        click.echo(path, err=True)
