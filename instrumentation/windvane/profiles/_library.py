"""The package `datasketches`, imported when the first sketch needs it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from windvane.errors import ProfileError

__all__ = ["datasketches"]


@cache
def datasketches() -> Any:  # noqa: ANN401 - a module without types
    """Import the package.

    Raises:
        ProfileError: it is not installed.
    """
    try:
        return importlib.import_module("datasketches")
    except ImportError as error:
        msg = "profiles need the package datasketches: pip install 'windvane[profiles]'"
        raise ProfileError(msg) from error
