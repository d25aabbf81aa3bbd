"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from windvane_processors.stack import BINARIES, ensure

if TYPE_CHECKING:
    from pathlib import Path

# No example is timed, since machines differ; what lands is judged by the same examples every time.
settings.register_profile("windvane", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("windvane")


@pytest.fixture(scope="session")
def stack_binaries() -> dict[str, Path]:
    """The programs of the stack, by name; built first where they are missing."""
    return ensure(BINARIES)
