"""Damaged bytes from outside are answered with a clear error, and with nothing else."""

from __future__ import annotations

import pytest
from fuzz.fuzzer import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_bytes_give_a_clear_error(seed: int) -> None:
    """A moment of what `python tests/fuzz/fuzzer.py --seconds 600` does for longer."""
    seen = fuzz(2, seed)
    assert min(seen[name] for name in ("request", "store", "baseline", "token")) > 10
    assert seen["store taken"] > 0, "too damaged to reach anything"
    assert seen["token taken"] > 0, "too damaged to reach anything"
