"""Tables as plain text, safe for any terminal whatever the names in them are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["aligned", "printable"]

_LONGEST: Final = 48
"""Characters of a name that a table shows."""


def printable(name: str) -> str:
    """Write a name on one line: control and direction characters as escapes, a long one cut."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    """Align the cells of a table.

    Args:
        rows: cells of each row, the head first; all of the same length.
        left: how many columns, from the first, begin at the left; the others hold numbers and end at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
