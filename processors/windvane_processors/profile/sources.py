"""Finds profiles: in a file, on standard input, or in the store that `windvane process` writes."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from windvane._table import printable
from windvane.baseline import Baseline
from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from windvane_processors.profile_store import ProfileStore

__all__ = [
    "STDIN",
    "Selection",
    "check_absent",
    "check_selection",
    "parse_time",
    "read_profile",
    "read_reference",
    "shown",
    "write_file",
]

STDIN: Final = "-"
_MAX_BYTES: Final = 2**30
"""The largest profile, of 10,000 columns of every kind, is about as large."""

_AGO: Final = re.compile(r"(\d{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHOWN_MODELS: Final = 10


class Selection(NamedTuple):
    """What to take of a store.

    Attributes:
        model: name of the model; may be absent where the store has one.
        version: its version; likewise.
        begin: begin of the time, with a zone; None for the beginning.
        end: end of the time; None for now.
    """

    model: str | None = None
    version: str | None = None
    begin: datetime | None = None
    end: datetime | None = None


def read_profile(source: str, selection: Selection | None = None) -> DatasetProfile:
    """Read a profile.

    Args:
        source: path of a whylogs file; `-` for one on standard input; or the folder or address of a store.
        selection: what to take of a store, by default everything of its one model; a file is taken whole.

    Raises:
        ProfileError: there is no profile, or it cannot be read; the message names the source and what to do.
    """
    if _is_store(source):
        return _read_store(source, selection or Selection())
    return _parse(source, _read_bytes(source))


def read_reference(source: str, selection: Selection | None = None) -> DatasetProfile | Baseline:
    """Read what is compared with: a profile, as `read_profile`, or a baseline.

    Args:
        source: as of `read_profile`; a file that ends in `.json` is a baseline.
        selection: likewise.

    Raises:
        ProfileError: as `read_profile`.
        BaselineError: the file is no baseline, or cannot be read.
    """
    return Baseline.load(source) if source.lower().endswith(".json") else read_profile(source, selection)


def check_selection(selection: Selection, sources: Sequence[str]) -> None:
    """Refuse a selection that nothing can be chosen by.

    Raises:
        ProfileError: it is not empty, but none of the sources is a store.
    """
    if selection != Selection() and not any(map(_is_store, sources)):
        listed = ", ".join(map(shown, sources[:_SHOWN_MODELS]))
        msg = f"{listed}: a file is taken whole; leave out what chooses a model, version or time, or name a store"
        raise ProfileError(msg)


def parse_time(text: str, now: datetime) -> datetime:
    """Read a time: ISO 8601, without a zone in UTC, or so long ago as `90m`, `24h`, `7d` or `4w`.

    Raises:
        ValueError: it is neither.
    """
    if match := _AGO.fullmatch(text):
        try:
            return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError as error:
            raise ValueError(text) from error
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def check_absent(path: Path, *, force: bool) -> None:
    """Refuse to write over a file.

    Raises:
        ProfileError: it exists, and is not to be replaced.
    """
    if path.exists() and not force:
        msg = f"{shown(str(path))}: exists; name another file, or add --force to replace it"
        raise ProfileError(msg)


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file in one step: it appears whole or not at all.

    Args:
        path: the file.
        content: what to write.
        force: whether one that exists is replaced.

    Raises:
        ProfileError: it exists, or cannot be written.
    """
    check_absent(path, force=force)
    part = path.with_name(f".{path.name}.part")
    try:
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{shown(str(path))}: cannot be written: {reason}; name a file in a directory that exists"
        raise ProfileError(msg) from error


def _is_store(source: str) -> bool:
    return "://" in source or (source != STDIN and Path(source).is_dir())


def _read_bytes(source: str) -> bytes:
    if source == STDIN:
        return _read_bounded(sys.stdin.buffer, source)
    try:
        with Path(source).open("rb") as file:
            return _read_bounded(file, source)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = (
            f"{shown(source)}: cannot be read: {reason}; name a whylogs file, a profile store, or - for standard input"
        )
        raise ProfileError(msg) from error


def _read_bounded(stream: BinaryIO, source: str) -> bytes:
    content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        msg = f"{shown(source)}: is larger than {_MAX_BYTES // 2**20} MiB, so it is no profile; check the path"
        raise ProfileError(msg)
    return content


def _parse(source: str, content: bytes) -> DatasetProfile:
    try:
        return DatasetProfile.deserialize(content)
    except ProfileError as error:
        msg = f"{shown(source)}: {error}; name a file that windvane or whylogs wrote, or copy it anew"
        raise ProfileError(msg) from error


def _read_store(source: str, selection: Selection) -> DatasetProfile:
    from windvane_processors.profile_store import ProfileStore  # noqa: PLC0415 - files do not need fsspec

    try:
        store = ProfileStore(source)
        model, version = _choose_model(store, source, selection)
        profile = store.read(model, version, selection.begin, selection.end)
        if profile is None:
            msg = f"{shown(source)}: has no profile of {model} {version} in this time; {_times(store, model, version)}"
            raise ProfileError(msg)
    except OSError as error:
        msg = f"{shown(source)}: cannot be read: {error}; check the address and who may read it"
        raise ProfileError(msg) from error
    return profile


def _choose_model(store: ProfileStore, source: str, selection: Selection) -> tuple[str, str]:
    """Return name and version of the one model that the selection leaves."""
    models = store.models()
    if not models:
        msg = f"{shown(source)}: holds no profiles; name the folder or address that `windvane process` writes to"
        raise ProfileError(msg)
    left = [
        (model, version)
        for model, version in models
        if selection.model in {None, model} and selection.version in {None, version}
    ]
    if len(left) == 1:
        return left[0]
    listed = ", ".join(printable(f"{model} {version}") for model, version in (left or models)[:_SHOWN_MODELS])
    problem = "choose one with --model and --version" if left else "has no such model and version"
    more = len(left or models) - _SHOWN_MODELS
    msg = f"{shown(source)}: {problem}; there are {listed}{f' and {more} more' if more > 0 else ''}"
    raise ProfileError(msg)


def _times(store: ProfileStore, model: str, version: str) -> str:
    windows = store.windows(model, version)
    if not windows:
        return "wait until a window is over"
    first, last = windows[0].start, max(window.start + window.duration for window in windows)
    return f"there are some from {first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}"


def shown(source: str) -> str:
    """Write a source or path whole and on one line, what would steer the terminal as escapes."""
    name = "standard input" if source == STDIN else source
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
