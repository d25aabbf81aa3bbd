"""Keeps the profiles of all models in a folder or an object store, so that any number of writers may add to it.

```
model=flight-delay/version=3/day=2026-11-23/
    1795453200-300-2f6e...-0.bin      part: a chunk as a process sent it
    1795453200-3600-9a41....merged    parts of an hour merged, which it lists
    1795392000-86400-07c3....merged   the same of a day
```

Nothing is ever changed: a file is written whole under a name that follows from what it holds, and removed some time
after another has taken its place. A merged file lists its parts, so that a part which arrives again, or is still there,
counts once. Where merged files overlap, since two writers merged at once, all readers choose alike: the one with more
parts, then the first by name. So no writer needs to know of another, and each may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["GRACE", "Part", "ProfileStore", "Window"]

HOUR: Final = 3600
DAY: Final = 86_400

GRACE: Final = timedelta(minutes=10)
"""How long what a merged file has replaced is kept: readers and other writers may still be at it."""

_PARTS: Final = "windvane.parts"
"""Key in the metadata of a merged file: its parts, as JSON; by profile their window, duration and chunks."""

_PART: Final = re.compile(r"(\d{1,12})-(\d{1,5})-([0-9a-f]{32})-(\d{1,5})\.bin")
_MERGED: Final = re.compile(r"(\d{1,12})-(3600|86400)-([0-9a-f]{32})\.merged")
_ATTEMPTS: Final = 5
_CACHED: Final = 100
"""Merged files whose parts are kept in mind: those of a day of many processes take some megabytes."""

Key = tuple[str, int]
"""A profile's id and the index of a chunk of it."""


class Part(NamedTuple):
    """A chunk of a profile, as a process sent it.

    Attributes:
        model: name of the model.
        version: version of the model.
        start: begin of the window, in seconds since 1970.
        duration: of the window, in seconds.
        profile_id: 32 hexadecimal digits.
        chunk: which chunk of the profile it is, from 0.
        body: a whole profile of some columns.
    """

    model: str
    version: str
    start: int
    duration: int
    profile_id: str
    chunk: int
    body: bytes


class Window(NamedTuple):
    """What the store tells apart in time: a window of parts, or the hour or day that they were merged to."""

    start: datetime
    duration: timedelta


class _File(NamedTuple):
    """A file of a day's folder.

    Attributes:
        name: its name.
        start: begin of its window, in seconds since 1970.
        duration: of its window.
        keys: the parts it holds; empty where it is the only file of its folder.
        modified: when it was written, in seconds since 1970.
    """

    name: str
    start: int
    duration: int
    keys: frozenset[Key]
    modified: float


class ProfileStore:
    """The profiles below a folder or an address that fsspec knows (`s3://bucket/profiles` with s3fs installed).

    Args:
        url: the folder or address; made where it is missing.

    Raises:
        ProfileError: fsspec does not know such addresses, or lacks a package for them.

    Example:
        >>> import tempfile
        >>> ProfileStore(tempfile.mkdtemp()).models()
        []
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        """Open it; nothing is read yet."""
        try:
            self._fs, root = fsspec.core.url_to_fs(os.fspath(url))
        except (ValueError, ImportError) as error:
            msg = f"{url}: cannot be a store of profiles: {error}"
            raise ProfileError(msg) from error
        self._root = root.rstrip("/")
        self._keys: dict[str, frozenset[Key]] = {}

    def put(self, part: Part) -> None:
        """Keep a part; when this returns, it outlives this process, and on a local disk this machine.

        The same part put twice counts once.

        Raises:
            OSError: it could not be kept.
        """
        folder = self._folder(part.model, part.version, part.start)
        self._write(folder, f"{part.start}-{part.duration}-{part.profile_id}-{part.chunk}.bin", part.body)

    def models(self) -> list[tuple[str, str]]:
        """Return name and version of each model that there are profiles of, sorted."""
        return sorted(
            (unquote(model.partition("=")[2]), unquote(version.partition("=")[2]))
            for model in self._folders(self._root, "model=")
            for version in self._folders(f"{self._root}/{model}", "version=")
        )

    def windows(
        self, model: str, version: str, begin: datetime | None = None, end: datetime | None = None
    ) -> list[Window]:
        """Return the windows that the store tells apart, of those that overlap the time from `begin` to `end`."""
        found = {(file.start, file.duration) for _, file in self._chosen(model, version, begin, end)}
        return [
            Window(datetime.fromtimestamp(start, UTC), timedelta(seconds=duration)) for start, duration in sorted(found)
        ]

    def read(
        self, model: str, version: str, begin: datetime | None = None, end: datetime | None = None
    ) -> DatasetProfile | None:
        """Merge everything of a model version from `begin` to `end`, by default of all times.

        A window that overlaps the time counts whole; what has been merged is told apart by the hour, then by the day.

        Args:
            model: name of the model.
            version: version of the model.
            begin: a time with a zone.
            end: a time with a zone.

        Returns:
            None where there is nothing.

        Raises:
            ProfileError: a file of the store is damaged; the message names it.
            OSError: the store cannot be read.
        """
        for attempt in range(_ATTEMPTS):
            files = self._chosen(model, version, begin, end)
            if not files:
                return None
            try:
                return self._merged([f"{folder}/{file.name}" for folder, file in files])
            except FileNotFoundError:  # merged meanwhile, by another process
                if attempt == _ATTEMPTS - 1:
                    raise
        return None

    def compact(self, now: datetime, *, since: datetime | None = None, lateness: timedelta = timedelta(hours=1)) -> int:
        """Merge the parts of hours, and after a day those of days, and remove what merged files hold.

        Args:
            now: the present time.
            since: days that ended before are left alone; by default none is.
            lateness: how long after the end of an hour its parts may still come; later ones are merged one by one.

        Returns:
            How many files were written.

        Raises:
            ProfileError: a file is damaged. The other folders have been done.
            OSError: the store cannot be read or written.
        """
        written = 0
        failure: ProfileError | None = None
        for folder in self._days():
            if since is not None and _day_of(folder) + timedelta(days=1) <= since:
                continue
            try:
                written += self._compact_day(folder, now, lateness)
            except ProfileError as error:
                failure = error
        if failure is not None:
            raise failure
        return written

    def delete_before(self, time: datetime) -> int:
        """Remove the days that ended before a time; return how many.

        Raises:
            OSError: the store cannot be read or written.
        """
        deleted = 0
        for folder in self._days():
            if _day_of(folder) + timedelta(days=1) <= time:
                self._fs.rm(folder, recursive=True)
                deleted += 1
        return deleted

    def probe(self) -> None:
        """Find out whether the store can be written.

        Raises:
            OSError: it cannot.
        """
        name = f".probe-{secrets.token_hex(8)}"
        self._write(self._root, name, b"")
        self._fs.rm_file(f"{self._root}/{name}")

    def _folder(self, model: str, version: str, start: int) -> str:
        day = datetime.fromtimestamp(start, UTC).date().isoformat()
        return f"{self._root}/model={quote(model, safe='')}/version={quote(version, safe='')}/day={day}"

    def _folders(self, parent: str, prefix: str) -> list[str]:
        self._fs.invalidate_cache(parent)
        try:
            entries = self._fs.ls(parent, detail=False)
        except FileNotFoundError:
            return []
        names = (entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        return sorted(name for name in names if name.startswith(prefix))

    def _days(self) -> list[str]:
        return [
            f"{self._root}/{model}/{version}/{day}"
            for model in self._folders(self._root, "model=")
            for version in self._folders(f"{self._root}/{model}", "version=")
            for day in self._folders(f"{self._root}/{model}/{version}", "day=")
        ]

    def _chosen(
        self, model: str, version: str, begin: datetime | None, end: datetime | None
    ) -> list[tuple[str, _File]]:
        """Return the files that hold each part once, of windows that overlap the time, with their folders."""
        first = begin.timestamp() if begin else float("-inf")
        last = end.timestamp() if end else float("inf")
        of_model = f"{self._root}/model={quote(model, safe='')}/version={quote(version, safe='')}"
        found: list[tuple[str, _File]] = []
        for day in self._folders(of_model, "day="):
            midnight = _day_of(day).timestamp()
            if midnight < last and midnight + DAY > first:
                folder = f"{of_model}/{day}"
                winners, rest = _choose(self._files(folder))
                found += [(folder, file) for file in winners + rest]
        return [(folder, file) for folder, file in found if file.start < last and file.start + file.duration > first]

    def _files(self, folder: str) -> list[_File]:
        self._fs.invalidate_cache(folder)
        try:
            entries = self._fs.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        files = []
        names = [entry["name"].rsplit("/", 1)[-1] for entry in entries]
        # What is alone holds nothing twice, so its parts need not be known: most days are one merged file.
        alone = sum(_PART.fullmatch(name) is not None or _MERGED.fullmatch(name) is not None for name in names) == 1
        for name, entry in zip(names, entries, strict=True):
            modified = _modified(entry)
            if match := _PART.fullmatch(name):
                keys = frozenset({(match[3], int(match[4]))})
            elif match := _MERGED.fullmatch(name):
                try:
                    keys = frozenset() if alone else self._keys_of(folder, name)
                except FileNotFoundError:  # another one took its place, and it went
                    continue
            else:
                continue
            files.append(_File(name, int(match[1]), int(match[2]), keys, modified))
        return sorted(files, key=lambda file: file.name)

    def _keys_of(self, folder: str, name: str) -> frozenset[Key]:
        path = f"{folder}/{name}"
        if path not in self._keys:  # a name stands for one set of parts for ever
            listed = _read(self._fs.cat_file(path), path).metadata.get(_PARTS, "")
            try:
                parts = json.loads(listed)
                keys = frozenset((profile_id, index) for profile_id, indexes in parts.items() for index in indexes)
            except (ValueError, AttributeError, TypeError) as error:
                msg = f"{path}: this merged profile does not list its parts; restore it or remove it"
                raise ProfileError(msg) from error
            if name.split("-")[2] != f"{_digest(keys)}.merged":
                msg = f"{path}: the name of this merged profile is not that of its parts; restore it or remove it"
                raise ProfileError(msg)
            while len(self._keys) >= _CACHED:
                self._keys.pop(next(iter(self._keys)))
            self._keys[path] = keys
        return self._keys[path]

    def _merged(self, paths: Iterable[str]) -> DatasetProfile:
        """Merge files one after the other, so that two profiles at most are in memory."""
        merged: DatasetProfile | None = None
        for path in paths:
            profile = _read(self._fs.cat_file(path), path)
            try:
                merged = profile if merged is None else merged + profile
            except ProfileError as error:
                msg = f"{path}: {error}"
                raise ProfileError(msg) from error
        if merged is None:
            msg = "there is nothing to merge"
            raise ProfileError(msg)
        metadata = {name: text for name, text in merged.metadata.items() if name != _PARTS}
        return merged.select(merged.columns, metadata=metadata)

    def _compact_day(self, folder: str, now: datetime, lateness: timedelta) -> int:
        self._remove_leftovers(folder, now)
        began = time.monotonic()
        files = self._files(folder)
        winners, rest = _choose(files)
        self._remove_replaced(folder, files, winners, now)
        chosen = sorted(winners + rest, key=lambda file: (file.start, file.name))
        midnight = int(_day_of(folder).timestamp())
        if now.timestamp() > midnight + DAY + max(lateness.total_seconds(), DAY):
            return self._merge(folder, chosen, midnight, DAY, began)
        written = 0
        hourly = [file for file in chosen if file.duration <= HOUR]
        for hour, of_hour in groupby(hourly, key=lambda file: file.start - file.start % HOUR):
            if now.timestamp() > hour + HOUR + lateness.total_seconds():
                written += self._merge(folder, list(of_hour), hour, HOUR, began)
        return written

    def _merge(self, folder: str, files: Sequence[_File], start: int, duration: int, began: float) -> int:
        if len(files) < 2:  # noqa: PLR2004 - one alone is merged already
            return 0
        keys = frozenset[Key]().union(*(file.keys for file in files))
        try:
            merged = self._merged(f"{folder}/{file.name}" for file in files)
        except FileNotFoundError:  # another writer has merged these, and was done with them long ago
            return 0
        if time.monotonic() - began > GRACE.total_seconds() / 2:
            return 0  # what was listed then may be gone by now; the next time is not so slow
        chunks: dict[str, list[int]] = {}
        for profile_id, index in sorted(keys):
            chunks.setdefault(profile_id, []).append(index)
        listed = json.dumps(chunks, separators=(",", ":"))
        written = merged.select(merged.columns, metadata={**merged.metadata, _PARTS: listed})
        self._write(folder, f"{start}-{duration}-{_digest(keys)}.merged", written.serialize())
        return 1

    def _remove_replaced(self, folder: str, files: Iterable[_File], winners: Sequence[_File], now: datetime) -> None:
        old = frozenset[Key]().union(
            *(file.keys for file in winners if file.modified + GRACE.total_seconds() < now.timestamp())
        )
        for file in files:
            if file not in winners and file.keys <= old:
                self._remove(f"{folder}/{file.name}")

    def _remove_leftovers(self, folder: str, now: datetime) -> None:
        """Remove what a writer that was killed has left half written."""
        for entry in self._fs.ls(folder, detail=True):
            name = entry["name"].rsplit("/", 1)[-1]
            if name.startswith(".") and _modified(entry) + GRACE.total_seconds() < now.timestamp():
                self._remove(entry["name"])

    def _remove(self, path: str) -> None:
        self._keys.pop(path, None)
        try:
            self._fs.rm_file(path)
        except FileNotFoundError:  # another writer was faster
            return

    def _write(self, folder: str, name: str, body: bytes) -> None:
        if isinstance(self._fs, LocalFileSystem):
            _write_local(Path(folder), name, body)
        else:
            self._fs.pipe_file(f"{folder}/{name}", body)  # an object appears whole or not at all


def _write_local(folder: Path, name: str, body: bytes) -> None:
    """Write a file that is whole and on the disk as soon as it has its name."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{secrets.token_hex(8)}"
    try:
        with unfinished.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / name)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _choose(files: Sequence[_File]) -> tuple[list[_File], list[_File]]:
    """Choose files that hold each part once.

    Returns:
        Merged files, and the parts that none of them holds.
    """
    merged = [file for file in files if file.name.endswith(".merged")]
    chosen: list[_File] = []
    held: set[Key] = set()
    for file in sorted(merged, key=lambda file: (-len(file.keys), file.name)):
        if held.isdisjoint(file.keys):
            chosen.append(file)
            held |= file.keys
    return chosen, [file for file in files if not file.name.endswith(".merged") and held.isdisjoint(file.keys)]


def _digest(keys: Iterable[Key]) -> str:
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:32]


def _day_of(folder: str) -> datetime:
    return datetime.fromisoformat(folder.rsplit("day=", 1)[1]).replace(tzinfo=UTC)


def _modified(entry: dict[str, object]) -> float:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = entry.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, str):
            return datetime.fromisoformat(value).timestamp()
    return time.time()  # unknown: as if it were new, so that nothing is removed


def _read(data: bytes, path: str) -> DatasetProfile:
    try:
        return DatasetProfile.deserialize(data)
    except ProfileError as error:
        msg = f"{path}: {error}; restore it or remove it"
        raise ProfileError(msg) from error
