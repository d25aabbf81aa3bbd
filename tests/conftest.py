"""What all tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from windvane_processors.stack import BINARIES, ensure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def stack_binaries() -> dict[str, Path]:
    """The programs of the stack, by name; built first where they are missing."""
    return ensure(BINARIES)
