"""whylogs to compare with, and profiles to damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from whylogs_reference import HAS_WHEEL, Whylogs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def whylogs() -> Iterator[Whylogs]:
    """Start whylogs in a process of its own."""
    if not HAS_WHEEL:
        pytest.skip("whylogs has no wheel for this version of Python")
    process = Whylogs()
    yield process
    process.close()
